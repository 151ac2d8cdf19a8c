import type { AddressInfo } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { expect } from 'chai';
import { createAddressPolicy } from '../../../src/adapters/peers/address-policy.ts';
import { createPeerTls, type PeerTls } from '../../../src/adapters/peers/peer-tls.ts';
import { createPeerTransport } from '../../../src/adapters/peers/peer-transport.ts';
import type { Fault } from '../../../src/http/client/dispatch.ts';
import type { ConnectAs, PeerTransport } from '../../../src/proxy/ports.ts';
import { createTestAuthority } from '../../support/test-certificates.ts';

/** What the server saw of one TLS connection. */
interface SeenConnection {
  readonly commonName: string | undefined;
  readonly resumed: boolean;
  requests: number;
}

describe('connections with the front-proxy certificate', function () {
  this.timeout(20_000);
  const authority = createTestAuthority('peers');
  const stranger = createTestAuthority('strangers');
  const frontProxyAuthority = createTestAuthority('front-proxy-ca');
  const pair = (commonName: string) => {
    const { certPem, keyPem } = frontProxyAuthority.issue({ commonName, usage: 'clientAuth' });
    return { cert: certPem, key: keyPem };
  };
  const [first, second] = [pair('front-proxy-client'), pair('front-proxy-client-2')];
  const serving = authority.issue({ commonName: 'server', dnsNames: ['kubernetes.default.svc'] });
  const wrong = stranger.issue({ commonName: 'server', dnsNames: ['kubernetes.default.svc'] });
  let server: Server;
  let connections: SeenConnection[];
  let tls: PeerTls;
  let transport: PeerTransport;

  async function start({ certPem, keyPem }: { certPem: string; keyPem: string }, maxVersion?: 'TLSv1.2') {
    connections = [];
    server = createServer(
      {
        cert: certPem,
        key: keyPem,
        ca: frontProxyAuthority.caPem,
        requestCert: true,
        rejectUnauthorized: false,
        ...(maxVersion !== undefined && { maxVersion }),
      },
      (socket: TLSSocket) => {
        const subject = socket.getPeerX509Certificate()?.subject;
        const seen = { commonName: subject?.replace('CN=', ''), resumed: socket.isSessionReused(), requests: 0 };
        connections.push(seen);
        socket.on('error', () => {});
        socket.on('data', () => {
          seen.requests++;
          socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
        });
      },
    );
    server.on('tlsClientError', () => {});
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  }
  const send = (connectAs: ConnectAs, rawHeaders: readonly string[] = []) =>
    new Promise<Fault | number>((resolve) => {
      const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
      let status = 0;
      transport.dispatch(
        { id: 'p', address, serverName: 'kubernetes.default.svc', pinned: true },
        { method: 'GET', path: '/', rawHeaders, body: null, longRunning: false, upgrade: undefined, connectAs },
        {
          onHead: (code) => {
            status = code;
          },
          onData: () => {},
          onEnd: () => resolve(status),
          onFault: resolve,
          onUpgrade: () => {},
        },
      );
    });
  const used = () => connections.filter(({ requests }) => requests > 0);

  beforeEach(() => {
    tls = createPeerTls({ ca: authority.caPem, frontProxy: first });
    transport = createPeerTransport({ tls, addressPolicy: createAddressPolicy([]) });
  });
  afterEach(async () => {
    await transport.close();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  });

  it('are never shared with anonymous requests, and neither are their TLS sessions', async () => {
    await start(serving);
    for (const connectAs of ['anonymous', 'frontProxy', 'anonymous', 'frontProxy'] as const)
      expect(await send(connectAs)).to.equal(200);
    expect(used().map(({ commonName, requests }) => [commonName, requests])).to.deep.equal([
      [undefined, 2],
      ['front-proxy-client', 2],
    ]);
    await transport.close();
    transport = createPeerTransport({ tls, addressPolicy: createAddressPolicy([]) });
    await send('anonymous');
    await send('frontProxy');
    expect(
      used()
        .slice(2)
        .map(({ commonName }) => commonName),
    ).to.deep.equal([undefined, 'front-proxy-client']);
  });

  it('carry no token, whatever other connections carried before', async () => {
    await start(serving);
    const token = ['authorization', 'Bearer a'];
    expect(await send('anonymous', token)).to.equal(200);
    const fault = await send('frontProxy', token);
    expect(fault).to.include({ kind: 'request', sent: false });
    expect(used()).to.have.length(1);
  });

  it('are not made to a server whose certificate does not verify', async () => {
    // Under TLS 1.2, the server sees the client's whole handshake before the client checks the server's name.
    await start(wrong, 'TLSv1.2');
    expect(await send('frontProxy')).to.include({ kind: 'certificate', sent: false });
    // The server sees the client certificate only after the client has left.
    await new Promise<void>((resolve) => server.close(() => resolve()));
    expect(connections.map(({ commonName }) => commonName)).not.to.include('front-proxy-client');
  });

  it('are not made without a front-proxy certificate', async () => {
    await start(serving);
    tls.replace({ ca: authority.caPem, frontProxy: undefined });
    expect(await send('frontProxy')).to.include({ kind: 'request', sent: false });
    expect(connections).to.have.length(0);
  });

  it('are reopened after the certificate has been replaced', async () => {
    await start(serving);
    await send('frontProxy');
    tls.replace({ ca: authority.caPem, frontProxy: second });
    await send('frontProxy');
    expect(used().map(({ commonName }) => commonName)).to.deep.equal(['front-proxy-client', 'front-proxy-client-2']);
  });

  it('keep the last good certificate when the new one cannot be used', async () => {
    await start(serving);
    expect(() => tls.replace({ ca: authority.caPem, frontProxy: { cert: first.cert, key: second.key } })).to.throw();
    expect(() => tls.replace({ ca: authority.caPem, frontProxy: { cert: 'nothing', key: 'nothing' } })).to.throw();
    expect(await send('frontProxy')).to.equal(200);
    expect(used()[0]?.commonName).to.equal('front-proxy-client');
  });
});
