import { readFileSync } from 'node:fs';
import { ensureControlPlane, type Minor } from '../../lab/build/build-control-plane.ts';
import { type MixedPlane, type MixedPlaneOptions, startMixedPlane } from '../../lab/plane/mixed-plane.ts';
import type { PeerDiscovery } from '../../src/api/peer-discovery.ts';
import { createWireClient, type WireClient } from './wire-client.ts';

/** Servers that know different fields, with the operator, a proxy, and clients that see every field. */
export interface FieldsPlane {
  readonly mixed: MixedPlane;
  /** The administrator's client of the proxy. */
  readonly proxy: WireClient;
  /** The administrator's client of a server. */
  clientOf(server: string): WireClient;
  /** The status of PeerDiscovery `cluster`, read at a server or the proxy. */
  status(at: string): Promise<PeerDiscovery['status']>;
  /** What the status says of the fields of a resource. */
  differencesOf(resource: string, at: string): Promise<FieldDifference | undefined>;
  /** Closes the clients, and stops everything. */
  stop(): Promise<void>;
}

type FieldDifference = NonNullable<NonNullable<PeerDiscovery['status']>['fieldDifferences']>[number];

interface FieldsPlaneOptions extends Pick<MixedPlaneOptions, 'servers' | 'home'> {
  /** Versions that a server is restarted as. */
  readonly later?: readonly Minor[];
}

export async function startFieldsPlane({ later = [], ...options }: FieldsPlaneOptions): Promise<FieldsPlane> {
  const log = (message: string) => void process.stdout.write(`      … ${message}\n`);
  const versions: readonly Minor[] = [...new Set([...options.servers.map(({ version }) => version), ...later])];
  await ensureControlPlane({ versions, log });
  const mixed = await startMixedPlane({ ...options, log });
  const ca = readFileSync(mixed.plane.caFile, 'utf8');
  const clients: WireClient[] = [];
  const clientOfUrl = (url: string) => {
    const client = createWireClient({ url, ca, token: mixed.plane.tokens.admin });
    clients.push(client);
    return client;
  };
  const status = async (at: string) => {
    const { stdout } = await mixed.kubectl(at, ['get', 'peerdiscovery', 'cluster', '-o', 'json']);
    return stdout === '' ? undefined : (JSON.parse(stdout) as PeerDiscovery).status;
  };
  mixed.startOperator();
  mixed.startProxy();
  return {
    mixed,
    proxy: clientOfUrl(mixed.proxyUrl),
    clientOf: (server) => clientOfUrl(mixed.plane.server(server).url),
    status,
    differencesOf: async (name, at) => (await status(at))?.fieldDifferences?.find(({ resource }) => resource === name),
    stop: async () => {
      for (const client of clients) client.close();
      await mixed.stop();
    },
  };
}
