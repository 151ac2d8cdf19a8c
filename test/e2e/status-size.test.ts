import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { type MixedPlane, startMixedPlane } from '../../lab/plane/mixed-plane.ts';
import type { PeerDiscovery } from '../../src/api/peer-discovery.ts';
import { deriveStatus } from '../../src/operator/derive-status.ts';
import { largestFleet } from '../support/largest-fleet.ts';

describe('the largest status on a real kube-apiserver', function () {
  this.timeout(300_000);
  let mixed: MixedPlane;
  let folder: string;

  before(async () => {
    const log = (message: string) => void process.stdout.write(`      … ${message}\n`);
    folder = await mkdtemp(join(tmpdir(), 'status-size-'));
    mixed = await startMixedPlane({ servers: [{ name: 'only', version: '1.36' }], home: 'only', log });
  });

  after(async () => {
    await mixed?.stop();
    if (folder !== undefined) await rm(folder, { recursive: true });
  });

  it('is accepted by server-side apply, twice, and read back whole', async () => {
    const now = Date.now();
    const input = largestFleet(now);
    const status = deriveStatus(input, undefined, now, (at) => at);
    const object = { apiVersion: 'peerdiscovery.dev/v1alpha1', kind: 'PeerDiscovery', metadata: { name: 'largest' } };
    const apply = async (value: object, ...args: string[]) => {
      const file = join(folder, 'object.json');
      await writeFile(file, JSON.stringify(value));
      const { code, stderr } = await mixed.kubectl('only', ['apply', '--server-side', '-f', file, ...args]);
      expect(code, stderr.slice(0, 2_000)).to.equal(0);
    };
    await apply({ ...object, spec: {} });
    await apply({ ...object, status }, '--subresource=status', '--field-manager=peerdiscovery-operator');
    const next = { ...status, revision: 2 };
    await apply({ ...object, status: next }, '--subresource=status', '--field-manager=peerdiscovery-operator');
    const { stdout } = await mixed.kubectl('only', ['get', 'peerdiscovery', 'largest', '-o', 'json']);
    expect((JSON.parse(stdout) as PeerDiscovery).status).to.deep.equal(JSON.parse(JSON.stringify(next)));
  });
});
