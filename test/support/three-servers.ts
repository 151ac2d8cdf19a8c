import { readFileSync } from 'node:fs';
import { ensureControlPlane } from '../../lab/build/build-control-plane.ts';
import { type MixedPlane, startMixedPlane } from '../../lab/plane/mixed-plane.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import { createWireClient, type WireClient } from './wire-client.ts';

/** A resource of `resource.k8s.io/v1`, which every server except `old-1` serves. */
export const claims = '/apis/resource.k8s.io/v1/resourceclaims';

/** Real kube-apiservers with operator and proxy. All can be restarted one after another. */
export interface ThreeServers {
  readonly mixed: MixedPlane;
  /** The authorities of all servers and of the proxy, PEM. */
  readonly ca: string;
  /** The administrator's requests to the proxy. */
  readonly client: WireClient;
  /** The status of a GET through the proxy; 0 without an answer. */
  status(path: string): Promise<number>;
  /** Resolves when the operator reports that all three are ready. */
  allReady(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * Starts `old-1`, which is home and emulates 1.33, `new-1` and `new-2`. Resolves when all are ready and requests are
 * routed.
 */
export async function startThreeServers(flags: readonly string[] = []): Promise<ThreeServers> {
  const log = (message: string) => void process.stdout.write(`      … ${message}\n`);
  await ensureControlPlane({ versions: ['1.36'], log });
  const mixed = await startMixedPlane({
    servers: [
      { name: 'old-1', version: '1.36', emulatedVersion: '1.33', flags },
      { name: 'new-1', version: '1.36', flags },
      { name: 'new-2', version: '1.36', flags },
    ],
    home: 'old-1',
    log,
  });
  const ca = readFileSync(mixed.plane.caFile, 'utf8');
  const client = createWireClient({ url: mixed.proxyUrl, ca, token: mixed.plane.tokens.admin });
  const status = (path: string) =>
    client.http1({ path }).then(
      (answer) => answer.status,
      () => 0,
    );
  const allReady = async () => {
    await waitUntil('three ready peers', async () => {
      const { stdout } = await mixed.kubectl('proxy', ['get', 'peerdiscovery', 'cluster', '-o', 'json']);
      const peers: { state: string }[] = stdout === '' ? [] : (JSON.parse(stdout).status?.peers ?? []);
      return peers.length === 3 && peers.every(({ state }) => state === 'Ready');
    });
  };
  const stop = async () => {
    client.close();
    await mixed.stop();
  };
  mixed.startOperator();
  mixed.startProxy();
  try {
    await waitUntil('a routed answer', async () => (await status(claims)) === 200);
    await allReady();
  } catch (error) {
    const tails = mixed.plane.logTails(25);
    await stop();
    throw new Error(`the three servers did not become ready\n${tails}`, { cause: error });
  }
  return { mixed, ca, client, status, allReady, stop };
}
