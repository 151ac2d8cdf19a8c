import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { KubeConfig } from '@kubernetes/client-node';
import { expect } from 'chai';
import { createApiClient } from '../../../src/adapters/kubernetes/api-client.ts';
import { createAddressPolicy } from '../../../src/adapters/peers/address-policy.ts';
import { createPeerConnector } from '../../../src/adapters/peers/connect-peer.ts';
import { inspectServer } from '../../../src/adapters/peers/inspect-server.ts';
import { openPeerSession } from '../../../src/adapters/peers/peer-session.ts';
import { createPeerTls } from '../../../src/adapters/peers/peer-tls.ts';
import { silentLog } from '../../../src/runtime/log.ts';
import { makeTrustCases, type TrustCase } from '../../support/trust-cases.ts';

const serverName = 'kubernetes.default.svc';
const timeoutMs = 5_000;

/** Resolves if the connection was made, and rejects if not. */
type Connect = (port: number, caPem: string) => Promise<void>;

async function fromApiClient(port: number, caPem: string): Promise<void> {
  const kubeConfig = new KubeConfig();
  kubeConfig.loadFromOptions({
    clusters: [{ name: 'c', server: `https://127.0.0.1:${port}`, caData: Buffer.from(caPem).toString('base64') }],
    users: [{ name: 'u', token: 'secret' }],
    contexts: [{ name: 'x', cluster: 'c', user: 'u' }],
    currentContext: 'x',
  });
  const client = createApiClient(kubeConfig, { timeoutMs, log: silentLog });
  try {
    await client.read('/livez');
  } finally {
    await client.close();
  }
}

async function fromOperator(port: number, caPem: string): Promise<void> {
  const session = openPeerSession({
    target: { host: '127.0.0.1', port },
    serverName,
    identity: { caPem, certPem: undefined, keyPem: undefined },
    timeoutMs,
    onConnectionLost: () => {},
  });
  try {
    const signal = AbortSignal.timeout(timeoutMs);
    await session.get({ path: '/livez', headers: {}, read: [200], budget: { bytes: 1_000 }, signal });
  } finally {
    session.destroy();
  }
}

async function fromProxy(port: number, caPem: string): Promise<void> {
  const material = createPeerTls({ ca: caPem, frontProxy: undefined }).material('anonymous');
  if (material === undefined) throw new Error('no material');
  const connector = createPeerConnector(createAddressPolicy(['127.0.0.0/8']), timeoutMs);
  const target = { id: 'peer', address: `127.0.0.1:${port}`, serverName, pinned: true };
  (await connector.connect(target, material, 'http/1.1')).destroy();
}

async function fromPlugin(port: number, caPem: string): Promise<void> {
  const address = `127.0.0.1:${port}`;
  const inspection = await inspectServer({ address, serverName, caPem, timeoutMs, now: () => 0 });
  if (inspection.kind !== 'verified') throw new Error(inspection.message);
}

describe('the trust that a CA file gives, as in Go', function () {
  this.timeout(60_000);
  let cases: TrustCase[] = [];
  const servers: Server[] = [];
  const ports = new Map<TrustCase, number>();
  /** Paths of the requests that servers have seen. */
  const seen = new Map<number, string[]>();

  before(async () => {
    cases = makeTrustCases();
    for (const trustCase of cases) {
      const { chainPem, keyPem } = trustCase;
      const server = createServer({ cert: chainPem, key: keyPem }, ({ url = '' }, response) => {
        seen.set(port, [...(seen.get(port) ?? []), url]);
        response.end('{}');
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const { port } = server.address() as AddressInfo;
      servers.push(server);
      ports.set(trustCase, port);
    }
  });

  after(() => {
    for (const server of servers) {
      server.closeAllConnections();
      server.close();
    }
  });

  const clients: [string, Connect][] = [
    ['the API client', fromApiClient],
    ["the operator's connection to a peer", fromOperator],
    ["the proxy's connection to a peer", fromProxy],
    ["the plugin's inspection", fromPlugin],
  ];
  for (const [name, connect] of clients)
    it(`holds for ${name}, and no request reaches a server that is not trusted`, async () => {
      const verdicts: Record<string, boolean> = {};
      for (const trustCase of cases) {
        const port = ports.get(trustCase) ?? 0;
        seen.delete(port);
        verdicts[trustCase.title] = await connect(port, trustCase.caPem).then(
          () => true,
          () => false,
        );
        if (!trustCase.trusted) expect(seen.get(port), trustCase.title).to.equal(undefined);
      }
      expect(verdicts).to.deep.equal(Object.fromEntries(cases.map(({ title, trusted }) => [title, trusted])));
    });
});
