import { expect } from 'chai';
import {
  legacyApiVersions,
  legacyGroup,
  legacyGroupList,
  legacyResourceList,
} from '../../src/domain/discovery-legacy-lists.ts';
import { encodeDiscoveryProtobuf, encodeLegacyProtobuf } from '../../src/domain/discovery-protobuf.ts';
import { wrapUnknown } from '../../src/domain/protobuf-unknown.ts';
import { bytesField, message, numberField, type Part } from '../../src/domain/protobuf-writer.ts';
import { buildGroup, buildResource, buildVersion } from '../support/discovery-builders.ts';

const latin1 = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1');

describe('discovery as protobuf', () => {
  it('wraps a legacy list as kube-apiserver does', () => {
    expect(latin1(encodeLegacyProtobuf(legacyApiVersions([buildGroup('', buildVersion('v1'))])))).to.equal(
      'k8s\0\n\x0f\n\0\x12\x0bAPIVersions\x12\x04\n\x02v1\x1a\0"\0',
    );
  });

  it('writes non-pointer fields even when they are empty', () => {
    const resource = buildResource('things', {
      responseKind: { group: '', version: '', kind: 'Thing' },
      verbs: ['get'],
    });
    expect(latin1(encodeLegacyProtobuf(legacyResourceList('g', buildVersion('v1', resource))))).to.equal(
      'k8s\0\n\x15\n\x02v1\x12\x0fAPIResourceList\x12(\n\x04g/v1\x12 \n\x06things\x10\x01\x1a\x05Thing"\x05\n\x03get2\0B\0J\0R\0\x1a\0"\0',
    );
  });

  it('names the version of aggregated discovery in the envelope only', () => {
    const groups = [buildGroup('g', buildVersion('v1'))];
    const [v2, beta] = (['v2', 'v2beta1'] as const).map((version) => latin1(encodeDiscoveryProtobuf(groups, version)));
    expect(v2).to.contain('\x16apidiscovery.k8s.io/v2\x12');
    expect(beta).to.contain('\x1bapidiscovery.k8s.io/v2beta1\x12');
    expect(v2?.slice(v2.indexOf('List'))).to.equal(beta?.slice(beta.indexOf('List')));
  });

  /** The fields 1, 2 and so on of a message, one for each value. */
  const numbered = (...values: readonly (string | Part)[]) =>
    message(...values.map((value, at) => bytesField(at + 1, value)));

  it('writes every field of aggregated discovery under its number', () => {
    const deployments = buildResource('deployments', {
      responseKind: { group: 'apps', version: 'v1', kind: 'Deployment' },
      ...{ scope: 'Namespaced', singularResource: 'deployment', verbs: ['get', 'list'] },
      ...{ shortNames: ['deploy', 'dep'], categories: ['all'] },
      subresources: [
        {
          subresource: 'scale',
          responseKind: { group: 'autoscaling', version: 'v1', kind: 'Scale' },
          acceptedTypes: [
            { group: 'autoscaling', version: 'v1', kind: 'Scale' },
            { group: '', version: 'v2', kind: 'Other' },
          ],
          verbs: ['get', 'update'],
        },
        { subresource: 'bare', verbs: null },
      ],
    });
    const scale = numbered('autoscaling', 'v1', 'Scale');
    const subresources = [
      message(
        ...[bytesField(1, 'scale'), bytesField(2, scale), bytesField(3, scale)],
        ...[bytesField(3, numbered('', 'v2', 'Other')), bytesField(4, 'get'), bytesField(4, 'update')],
      ),
      message(bytesField(1, 'bare')),
    ];
    const resource = message(
      numbered('deployments', numbered('apps', 'v1', 'Deployment'), 'Namespaced', 'deployment', 'get'),
      ...[bytesField(5, 'list'), bytesField(6, 'deploy'), bytesField(6, 'dep'), bytesField(7, 'all')],
      ...subresources.map((written) => bytesField(8, written)),
    );
    const bare = message(bytesField(1, 'bare'), bytesField(3, 'Namespaced'), bytesField(4, ''));
    const versions = [
      message(bytesField(1, 'v1'), bytesField(2, resource), bytesField(2, bare), bytesField(3, 'Current')),
      message(bytesField(1, 'v2'), bytesField(3, '')),
    ];
    const metadataOf = (name: string) =>
      message(numbered(name, '', '', '', '', ''), numberField(7, 0), bytesField(8, ''));
    const list = message(
      bytesField(1, numbered('', '', '')),
      bytesField(2, message(bytesField(1, metadataOf('apps')), ...versions.map((written) => bytesField(2, written)))),
      bytesField(2, message(bytesField(1, metadataOf('empty.io')))),
    );
    const groups = [
      buildGroup('apps', buildVersion('v1', deployments, buildResource('bare', { verbs: null })), { version: 'v2' }),
      { name: 'empty.io' },
    ];
    expect(latin1(encodeDiscoveryProtobuf(groups, 'v2'))).to.equal(
      latin1(wrapUnknown('apidiscovery.k8s.io/v2', 'APIGroupDiscoveryList', list)),
    );
  });

  it('writes every field of legacy groups under its number', () => {
    const autoscaling = buildGroup('autoscaling', buildVersion('v2'), buildVersion('v1'));
    const group = numbered('autoscaling', numbered('autoscaling/v2', 'v2'));
    const whole = message(
      group,
      bytesField(2, numbered('autoscaling/v1', 'v1')),
      bytesField(3, numbered('autoscaling/v2', 'v2')),
    );
    const document = legacyGroup(autoscaling);
    if (document === undefined) throw new Error('the group has versions');
    expect(latin1(encodeLegacyProtobuf(document))).to.equal(latin1(wrapUnknown('v1', 'APIGroup', whole)));
    expect(latin1(encodeLegacyProtobuf(legacyGroupList([autoscaling, buildGroup('b', buildVersion('v1'))])))).to.equal(
      latin1(
        wrapUnknown(
          'v1',
          'APIGroupList',
          message(bytesField(1, whole), bytesField(1, numbered('b', numbered('b/v1', 'v1'), numbered('b/v1', 'v1')))),
        ),
      ),
    );
  });

  it('writes every field of a legacy resource under its number', () => {
    const nodes = buildResource('nodes', {
      responseKind: { group: 'g', version: 'v9', kind: 'Node' },
      ...{ scope: 'Cluster', singularResource: 'node', verbs: ['get', 'list'] },
      ...{ shortNames: ['no', 'n'], categories: ['all'] },
    });
    const silent = buildResource('silent', { responseKind: { group: '', version: '', kind: 'X' }, verbs: null });
    const list = message(
      bytesField(1, 'v1'),
      bytesField(
        2,
        message(
          ...[bytesField(1, 'nodes'), numberField(2, 0), bytesField(3, 'Node')],
          bytesField(4, message(bytesField(1, 'get'), bytesField(1, 'list'))),
          ...[bytesField(5, 'no'), bytesField(5, 'n'), bytesField(6, 'node'), bytesField(7, 'all')],
          ...[bytesField(8, 'g'), bytesField(9, 'v9'), bytesField(10, '')],
        ),
      ),
      bytesField(
        2,
        message(
          ...[bytesField(1, 'silent'), numberField(2, 1), bytesField(3, 'X'), bytesField(6, '')],
          ...[bytesField(8, ''), bytesField(9, ''), bytesField(10, '')],
        ),
      ),
    );
    expect(latin1(encodeLegacyProtobuf(legacyResourceList('', buildVersion('v1', nodes, silent))))).to.equal(
      latin1(wrapUnknown('', 'APIResourceList', list)),
    );
  });
});
