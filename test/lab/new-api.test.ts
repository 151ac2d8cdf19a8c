import { createPublicKey, verify } from 'node:crypto';
import { expect } from 'chai';
import { nodeMinors } from '../../lab/cluster/build-programs.ts';
import { newApiOf } from '../../lab/cluster/new-api.ts';

describe('The API that is new in a version', () => {
  it('is known for every minor to which a cluster is upgraded', () => {
    for (const minor of nodeMinors.slice(1)) expect(newApiOf(`v${minor}.0`).list).to.match(/^\/apis\//);
    expect(() => newApiOf('v1.33.13')).to.throw('no API is known to be new in v1.33.13');
  });

  it('is new in one minor only', () => {
    const apis = nodeMinors.slice(1).map((minor) => newApiOf(`v${minor}.0`));
    expect(new Set(apis.map(({ resource }) => resource)).size).to.equal(apis.length);
    expect(new Set(apis.map(({ list }) => list)).size).to.equal(apis.length);
  });

  it('gets a PodCertificateRequest with the proof that kube-apiserver checks', () => {
    const { podUID, pkixPublicKey, proofOfPossession } = newApiOf('v1.35.4').object.spec as Record<string, string>;
    const key = createPublicKey({ key: Buffer.from(pkixPublicKey ?? '', 'base64'), format: 'der', type: 'spki' });
    expect(verify(null, Buffer.from(podUID ?? ''), key, Buffer.from(proofOfPossession ?? '', 'base64'))).to.equal(true);
  });
});
