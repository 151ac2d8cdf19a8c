import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect as http2Connect } from 'node:http2';
import { connect as tcpConnect } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { expect } from 'chai';
import { connectRawHttp2, flags, frame, frameTypes, literals, requestFields } from '../../../lab/raw-http2.ts';
import { startHomeAndProxyForEach } from '../../support/home-and-proxy.ts';
import type { LoopbackPeer } from '../../support/loopback-peer.ts';
import { eventually } from '../../support/manual-clock.ts';
import type { ProxyUnderTest } from '../../support/proxy-under-test.ts';
import { createTestAuthority } from '../../support/test-certificates.ts';

describe('the end of a proxy', function () {
  this.timeout(30_000);
  const authority = createTestAuthority('peers');
  let home: LoopbackPeer;
  let proxy: ProxyUnderTest;
  startHomeAndProxyForEach(authority, (started) => {
    ({ home, proxy } = started);
  });
  const drain = (watchGraceMs: number) => proxy.proxy.server.drain({ watchGraceMs, deadlineMs: 10_000 });

  it('lets a request finish, and takes no new connection', async () => {
    let held: ServerResponse | undefined;
    home.answer = (_request, response) => {
      held = response;
    };
    const answer = proxy.get('/api/v1/pods');
    await eventually(() => held !== undefined);
    const drained = drain(0);
    const refused = await proxy.get('/version').then(
      () => 'served',
      (error: Error & { code: string }) => error.code,
    );
    expect(refused).to.equal('ECONNREFUSED');
    held?.end('late');
    const { status, body, headers } = await answer;
    expect([status, body, headers.connection]).to.deep.equal([200, 'late', 'close']);
    await drained;
  });

  it('does not wait for a connection that has not begun TLS', async () => {
    const silent = tcpConnect(proxy.port, '127.0.0.1');
    silent.resume();
    await once(silent, 'connect');
    const closed = once(silent, 'close');
    // A complete request follows it, so the server has surely accepted both.
    await proxy.get('/version');
    await Promise.all([drain(0), closed]);
    expect(silent.destroyed).to.equal(true);
  });

  it('is not needed for a new certificate: running connections go on, and new ones get it', async () => {
    let watch: ServerResponse | undefined;
    home.answer = (_request, response) => {
      watch = response;
      response.write('one\n');
    };
    const session = http2Connect(`https://localhost:${proxy.port}`, { ca: authority.caPem });
    const stream = session.request({ ':path': '/api/v1/pods?watch=1' });
    let received = '';
    stream.on('data', (chunk) => (received += String(chunk)));
    await eventually(() => received === 'one\n');
    const fresh = authority.issue({ commonName: 'renewed', dnsNames: ['localhost'] });
    proxy.proxy.server.replaceTls({ cert: fresh.certPem, key: fresh.keyPem, clientCa: undefined });
    const socket = tlsConnect({ host: '127.0.0.1', port: proxy.port, ca: authority.caPem, servername: 'localhost' });
    await once(socket, 'secureConnect');
    expect(socket.getPeerX509Certificate()?.subject).to.equal('CN=renewed');
    socket.destroy();
    watch?.end('two\n');
    await once(stream, 'end');
    expect(received).to.equal('one\ntwo\n');
    session.destroy();
  });

  it('ends watches whole, over HTTP/1.1 and HTTP/2, within their time', async () => {
    home.answer = (_request, response) => response.write('{"type":"ADDED"}\n');
    const session = http2Connect(`https://localhost:${proxy.port}`, { ca: authority.caPem });
    const stream = session.request({ ':path': '/api/v1/pods?watch=1' });
    const socket = tlsConnect({ host: '127.0.0.1', port: proxy.port, ca: authority.caPem, servername: 'localhost' });
    let received = '';
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString();
    });
    socket.once('secureConnect', () => socket.write('GET /api/v1/pods?watch=1 HTTP/1.1\r\nHost: a\r\n\r\n'));
    await once(stream, 'response');
    await eventually(() => received.includes('ADDED'));
    stream.resume();
    const [ended] = [once(stream, 'end'), once(session, 'close'), once(socket, 'close')];
    await drain(300);
    await ended;
    expect(stream.rstCode).to.equal(0);
    expect(received).to.match(/\r\n0\r\n\r\n$/);
  });

  it('serves requests over HTTP/2 that were on their way at its first GOAWAY, and none after the second', async () => {
    const held: ServerResponse[] = [];
    home.answer = (_request, response) => {
      held.push(response);
    };
    const client = await connectRawHttp2(proxy.port, authority.caPem);
    const whole = flags.endHeaders | flags.endStream;
    const ask = (stream: number) => client.write(frame(frameTypes.headers, whole, stream, literals(requestFields())));
    const goodbyes = () =>
      client.seen
        .filter(({ type }) => type === frameTypes.goaway)
        .map(({ payload }) => [payload.readUInt32BE(0), payload.readUInt32BE(4)]);
    ask(1);
    await eventually(() => held.length === 1);
    const drained = drain(0);
    await eventually(() => goodbyes().length === 1);
    ask(3);
    await eventually(() => held.length === 2);
    const ping = client.seen.find(({ type, flags: bits }) => type === frameTypes.ping && bits === 0);
    client.write(frame(frameTypes.ping, flags.ack, 0, ping?.payload));
    await eventually(() => goodbyes().length === 2);
    expect(goodbyes()).to.deep.equal([
      [2 ** 31 - 1, 0],
      [3, 0],
    ]);
    // Sent before the second GOAWAY arrived: ignored, with all its frames.
    ask(5);
    client.write(frame(frameTypes.windowUpdate, 0, 5, Buffer.from([0, 0, 0, 1])));
    client.write(frame(frameTypes.reset, 0, 5, Buffer.from([0, 0, 0, 8])));
    for (const response of held) response.end('late');
    await client.closed;
    await drained;
    const ended = client.seen.filter(({ flags: bits, type }) => type < 2 && (bits & flags.endStream) !== 0);
    expect(ended.map(({ stream }) => stream)).to.have.members([1, 3]);
    expect(home.seen).to.have.length(2);
  });

  it('names the last request after a second if the client answers no ping', async () => {
    const client = await connectRawHttp2(proxy.port, authority.caPem);
    await eventually(() => client.seen.length > 0);
    const drained = drain(0);
    await client.closed;
    await drained;
    const last = client.seen
      .filter(({ type }) => type === frameTypes.goaway)
      .map(({ payload }) => payload.readUInt32BE(0));
    expect(last).to.deep.equal([2 ** 31 - 1, 0]);
  });
});
