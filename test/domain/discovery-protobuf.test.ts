import { expect } from 'chai';
import { legacyApiVersions, legacyResourceList } from '../../src/domain/discovery-legacy-lists.ts';
import { encodeDiscoveryProtobuf, encodeLegacyProtobuf } from '../../src/domain/discovery-protobuf.ts';
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
});
