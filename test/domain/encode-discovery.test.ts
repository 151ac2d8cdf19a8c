import { expect } from 'chai';
import { encodeDiscoveryList } from '../../src/domain/encode-discovery.ts';
import { buildGroup, buildResource, buildVersion } from '../support/discovery-builders.ts';

const hashed = { typeMeta: false };

describe('encodeDiscoveryList', () => {
  it('writes the fields in the order of their Go type', () => {
    const everything = {
      apiVersion: 'a/v1',
      kind: 'K',
      versions: [
        {
          freshness: 'Current',
          resources: [
            {
              subresources: [
                {
                  verbs: ['get'],
                  acceptedTypes: [{ kind: 'C', version: 'B', group: 'A' }],
                  responseKind: { kind: 'C', version: 'B', group: 'A' },
                  subresource: 'status',
                },
              ],
              categories: ['all'],
              shortNames: ['r'],
              verbs: ['get'],
              singularResource: 'res',
              scope: 'Cluster',
              responseKind: { kind: 'C', version: 'B', group: 'A' },
              resource: 'ress',
            },
          ],
          version: 'v1',
        },
      ],
      name: 'g',
    };
    expect(encodeDiscoveryList([everything], hashed)).to.equal(
      '{"metadata":{},"items":[{"kind":"K","apiVersion":"a/v1","metadata":{"name":"g"},"versions":[{"version":"v1",' +
        '"resources":[{"resource":"ress","responseKind":{"group":"A","version":"B","kind":"C"},"scope":"Cluster",' +
        '"singularResource":"res","verbs":["get"],"shortNames":["r"],"categories":["all"],"subresources":[' +
        '{"subresource":"status","responseKind":{"group":"A","version":"B","kind":"C"},"acceptedTypes":[' +
        '{"group":"A","version":"B","kind":"C"}],"verbs":["get"]}]}],"freshness":"Current"}]}]}',
    );
  });

  it('omits empty fields exactly as Go does', () => {
    const resource = {
      resource: '',
      scope: '',
      singularResource: '',
      shortNames: [],
      categories: [],
      subresources: [],
    };
    const group = {
      name: '',
      kind: '',
      apiVersion: '',
      versions: [
        { version: '', resources: [], freshness: '' },
        {
          version: 'v1',
          resources: [
            { ...resource, verbs: null },
            { ...resource, verbs: [] },
          ],
        },
      ],
    };
    const empty = '{"resource":"","scope":"","singularResource":"","verbs":';
    expect(encodeDiscoveryList([group, { name: '', versions: [] }], hashed)).to.equal(
      `{"metadata":{},"items":[{"metadata":{},"versions":[{"version":""},{"version":"v1","resources":[${empty}null},${empty}[]}]}]},{"metadata":{}}]}`,
    );
  });

  it('gives the served body kind, apiVersion and a newline', () => {
    expect(encodeDiscoveryList([], { typeMeta: true })).to.equal(
      '{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","metadata":{},"items":[]}\n',
    );
    expect(encodeDiscoveryList([], hashed)).to.equal('{"metadata":{},"items":[]}');
  });

  it('escapes text as Go does', () => {
    const resource = buildResource('<>&\u2028\u2029"\\/\b\f\n\r\t\u0001\u001f\u007fé\ufffd\u{1f600}', { verbs: null });
    expect(encodeDiscoveryList([buildGroup('g', buildVersion('v1', resource))], hashed)).to.contain(
      '"\\u003c\\u003e\\u0026\\u2028\\u2029\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\u007fé\ufffd\u{1f600}"',
    );
  });

  it('writes U+FFFD for an unpaired surrogate', () => {
    expect(encodeDiscoveryList([{ name: 'a\ud800' }], hashed)).to.contain('"a\ufffd"');
  });

  it('does not take text that looks like an escape for one', () => {
    const written = (name: string) => encodeDiscoveryList([{ name }], hashed);
    expect(written('\\ud800')).to.contain('"\\\\ud800"');
    expect(written('\\\ud800')).to.contain('"\\\\\ufffd"');
    expect(written('\\\\ud800<')).to.contain('"\\\\\\\\ud800\\u003c"');
    expect(written('\ud83d\ude00\ude00')).to.contain('"\u{1f600}\ufffd"');
  });
});
