import { expect } from 'chai';
import fc from 'fast-check';
import { encodeDiscoveryList } from '../../src/domain/encode-discovery.ts';
import { InvalidDiscoveryError, parseDiscoveryList } from '../../src/domain/parse-discovery.ts';
import { nastyDocumentSets } from '../support/discovery-builders.ts';

const withResource = (resource: unknown) => ({
  items: [{ metadata: { name: 'apps' }, versions: [{ version: 'v1', resources: [resource] }] }],
});
const parseResource = (resource: unknown) =>
  parseDiscoveryList(withResource(resource))[0]?.versions?.[0]?.resources?.[0];

describe('parseDiscoveryList', () => {
  it("reads kube-apiserver's own documents", () => {
    const resource = {
      resource: 'deployments',
      responseKind: { group: 'apps', version: 'v1', kind: 'Deployment' },
      scope: 'Namespaced',
      singularResource: 'deployment',
      verbs: ['get', 'list'],
      shortNames: ['deploy'],
      categories: ['all'],
      subresources: [
        {
          subresource: 'scale',
          responseKind: { group: 'autoscaling', version: 'v1', kind: 'Scale' },
          acceptedTypes: [{ group: 'autoscaling', version: 'v1', kind: 'Scale' }],
          verbs: ['get'],
        },
      ],
    };
    const list = {
      kind: 'APIGroupDiscoveryList',
      apiVersion: 'apidiscovery.k8s.io/v2beta1',
      metadata: {},
      items: [
        {
          metadata: { name: 'apps', creationTimestamp: null },
          versions: [{ version: 'v1', resources: [resource], freshness: 'Current' }],
        },
      ],
    };
    expect(parseDiscoveryList(list)).to.deep.equal([
      { name: 'apps', versions: [{ version: 'v1', resources: [resource], freshness: 'Current' }] },
    ]);
  });

  it('keeps the kind and version that a group states for itself', () => {
    const stated = { kind: 'APIGroupDiscovery', apiVersion: 'apidiscovery.k8s.io/v2' };
    expect(parseDiscoveryList({ items: [{ ...stated, metadata: { name: 'apps' } }] })).to.deep.equal([
      { name: 'apps', ...stated },
    ]);
  });

  it('reads a group without a name as the core group', () => {
    const core = [{ name: '' }];
    expect(parseDiscoveryList({ items: [{}] })).to.deep.equal(core);
    expect(parseDiscoveryList({ items: [{ metadata: null }] })).to.deep.equal(core);
    expect(parseDiscoveryList({ items: [{ metadata: { creationTimestamp: null } }] })).to.deep.equal(core);
    expect(parseDiscoveryList({ items: [null] })).to.deep.equal(core);
  });

  it('reads a document without items, or with null, as empty', () => {
    expect(parseDiscoveryList({})).to.deep.equal([]);
    expect(parseDiscoveryList({ items: null })).to.deep.equal([]);
    expect(parseDiscoveryList({ items: [] })).to.deep.equal([]);
  });

  it('distinguishes an empty list from one that is null or absent', () => {
    const bare = { resource: 'r', scope: '', singularResource: '', verbs: null };
    expect(parseResource({ resource: 'r' })).to.deep.equal(bare);
    const nulls = { verbs: null, shortNames: null, categories: null, subresources: null, responseKind: null };
    expect(parseResource({ resource: 'r', scope: null, ...nulls })).to.deep.equal(bare);
    const empty = { verbs: [], shortNames: [], categories: [], subresources: [] };
    expect(parseResource({ resource: 'r', ...empty })).to.deep.equal({ ...bare, ...empty });
    const [none, noneAtAll] = parseDiscoveryList({ items: [{ versions: [] }, { versions: null }] });
    expect([none, noneAtAll]).to.deep.equal([{ name: '', versions: [] }, { name: '' }]);
  });

  it('fills missing parts of a kind and of a list entry, as Go does', () => {
    expect(parseResource({ responseKind: {}, verbs: [null, 'get'] })).to.deep.include({
      resource: '',
      responseKind: { group: '', version: '', kind: '' },
      verbs: ['', 'get'],
    });
    const subresources = [{ acceptedTypes: [null] }];
    expect(parseResource({ subresources })?.subresources).to.deep.equal([
      { subresource: '', acceptedTypes: [{ group: '', version: '', kind: '' }], verbs: null },
    ]);
  });

  it('drops unknown fields and those whose name has another case', () => {
    expect(parseResource({ resource: 'r', Scope: 'Cluster', storageVersionHash: 'x' })).to.deep.equal({
      resource: 'r',
      scope: '',
      singularResource: '',
      verbs: null,
    });
  });

  it('reads an unpaired surrogate as U+FFFD, in names and in lists', () => {
    expect(parseResource({ resource: 'a\ud800', verbs: ['\udc00b'] })).to.deep.include({
      resource: 'a\ufffd',
      verbs: ['\ufffdb'],
    });
  });

  it('is not confused by keys with a meaning in JavaScript', () => {
    const text =
      '{"__proto__":{"items":[{}]},"items":[{"__proto__":{"kind":"x"},"constructor":1,"metadata":{"name":"__proto__"}}]}';
    expect(parseDiscoveryList(JSON.parse(text))).to.deep.equal([{ name: '__proto__' }]);
    expect(({} as Record<string, unknown>).kind).to.equal(undefined);
  });

  const faults: [string, unknown, string][] = [
    ['a document that is null', null, 'document: expected an object, got null'],
    ['a document that is a list', [], 'document: expected an object, got a list'],
    ['items that are no list', { items: {} }, 'items: expected a list, got object'],
    ['a group that is text', { items: [{}, 'apps'] }, 'items[1]: expected an object, got string'],
    ['metadata that is a list', { items: [{ metadata: [] }] }, 'items[0].metadata: expected an object, got a list'],
    [
      'a name that is a number',
      { items: [{ metadata: { name: 1 } }] },
      'items[0].metadata.name: expected a string, got number',
    ],
    [
      'verbs that are a number',
      withResource({ verbs: 1 }),
      'items[0].versions[0].resources[0].verbs: expected a list of strings, got number',
    ],
    [
      'a verb that is no text',
      withResource({ verbs: ['get', true] }),
      'items[0].versions[0].resources[0].verbs[1]: expected a string, got boolean',
    ],
    [
      'a kind that is text',
      withResource({ responseKind: 'Pod' }),
      'items[0].versions[0].resources[0].responseKind: expected an object, got string',
    ],
    [
      'an accepted type whose kind is a number',
      withResource({ subresources: [{ acceptedTypes: [{ kind: 2 }] }] }),
      'items[0].versions[0].resources[0].subresources[0].acceptedTypes[0].kind: expected a string, got number',
    ],
  ];
  for (const [what, value, message] of faults)
    it(`refuses ${what} and says where it is`, () => {
      expect(() => parseDiscoveryList(value)).to.throw(InvalidDiscoveryError, message);
    });

  it('refuses a document that is larger than allowed, counting groups, versions, resources and subresources', () => {
    const list = withResource({ subresources: [{}, {}] });
    expect(parseDiscoveryList(list, { maxResources: 5 })).to.have.length(1);
    expect(() => parseDiscoveryList(list, { maxResources: 4 })).to.throw(
      InvalidDiscoveryError,
      'items[0].versions[0].resources[0].subresources[1]: the document has more than 4 groups, versions, resources',
    );
    expect(() => parseDiscoveryList({ items: new Array(100_001).fill(null) })).to.throw(
      InvalidDiscoveryError,
      '100000',
    );
  });

  it('reads back the output of the encoder', () => {
    fc.assert(
      fc.property(nastyDocumentSets(), ({ local, servers }) => {
        const text = encodeDiscoveryList(parseDiscoveryList(servers[local]), { typeMeta: true });
        expect(encodeDiscoveryList(parseDiscoveryList(JSON.parse(text)), { typeMeta: true })).to.equal(text);
      }),
      { numRuns: 200 },
    );
  });

  it('answers any JSON with a list or an InvalidDiscoveryError', () => {
    const value = fc.oneof(
      fc.jsonValue(),
      fc.jsonValue().map((items) => ({ items })),
      fc.jsonValue().map((item) => ({ items: [item] })),
    );
    fc.assert(
      fc.property(value, (given) => {
        try {
          expect(parseDiscoveryList(given)).to.be.an('array');
        } catch (error) {
          expect(error).to.be.instanceOf(InvalidDiscoveryError);
        }
      }),
      { numRuns: 300 },
    );
  });
});
