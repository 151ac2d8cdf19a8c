import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import { createAddressPolicy } from '../../../src/adapters/peers/address-policy.ts';
import { createPeerConnector } from '../../../src/adapters/peers/connect-peer.ts';
import { inspectServer } from '../../../src/adapters/peers/inspect-server.ts';
import { createPeerTls } from '../../../src/adapters/peers/peer-tls.ts';
import { createTestAuthority } from '../../support/test-certificates.ts';

const timeoutMs = 5_000;

describe('inspectServer', function () {
  this.timeout(30_000);
  const authority = createTestAuthority('a CA');
  const servers: Server[] = [];

  async function serve(dnsNames: readonly string[], withoutNames = false): Promise<string> {
    const { certPem, keyPem } = authority.issue({ commonName: 'kubernetes.default.svc', dnsNames, withoutNames });
    const server = createServer({ cert: certPem, key: keyPem }, (_request, response) => response.end('ok'));
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  async function inspected(address: string, serverName: string): Promise<string> {
    const found = await inspectServer({ address, serverName, caPem: authority.caPem, timeoutMs, now: () => 0 });
    return found.kind === 'verified' ? 'verified' : found.message;
  }

  async function connected(address: string, serverName: string): Promise<string> {
    const material = createPeerTls({ ca: authority.caPem, frontProxy: undefined }).material('anonymous');
    if (material === undefined) throw new Error('no material');
    const connector = createPeerConnector(createAddressPolicy(['127.0.0.0/8']), timeoutMs);
    try {
      (await connector.connect({ id: 'peer', address, serverName, pinned: true }, material, 'http/1.1')).destroy();
      return 'verified';
    } catch (error) {
      return (error as Error).message.replace(`${address}: `, '');
    }
  }

  after(() => {
    for (const server of servers) {
      server.closeAllConnections();
      server.close();
    }
  });

  it('judges the name in a certificate exactly as a connection of the proxy does', async () => {
    const named = await serve(['kubernetes.default.svc', '*.cluster.test']);
    const nameless = await serve([], true);
    const verdicts: string[] = [];
    for (const address of [named, nameless])
      for (const serverName of ['kubernetes.default.svc', '127.0.0.1', '127.0.0.2', 'a.cluster.test', 'other']) {
        const verdict = await inspected(address, serverName);
        expect(verdict, serverName).to.equal(await connected(address, serverName));
        verdicts.push(verdict.replace(/ [(].*/, ''));
      }
    expect(verdicts).to.deep.equal([
      ...['verified', 'verified', 'not for 127.0.0.2', 'not for a.cluster.test', 'not for other'],
      ...['not for kubernetes.default.svc', 'not for 127.0.0.1', 'not for 127.0.0.2', 'not for a.cluster.test'],
      'not for other',
    ]);
  });
});
