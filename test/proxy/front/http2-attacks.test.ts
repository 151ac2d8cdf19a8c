import { once } from 'node:events';
import { connect as http2Connect } from 'node:http2';
import { expect } from 'chai';
import {
  connectRawHttp2,
  flags,
  frame,
  frameTypes,
  literals,
  type RawHttp2,
  requestFields,
} from '../../../lab/raw-http2.ts';
import { startHomeAndProxyForEach } from '../../support/home-and-proxy.ts';
import type { LoopbackPeer } from '../../support/loopback-peer.ts';
import { eventually } from '../../support/manual-clock.ts';
import type { ProxyUnderTest } from '../../support/proxy-under-test.ts';
import { createTestAuthority } from '../../support/test-certificates.ts';

const { data, headers, priority, reset, settings, ping, goaway, windowUpdate, continuation } = frameTypes;
const enhanceYourCalm = 0xb;
const compressionError = 0x9;
const whole = flags.endHeaders | flags.endStream;

describe('attacks over HTTP/2', function () {
  this.timeout(30_000);
  const authority = createTestAuthority('peers');
  let home: LoopbackPeer;
  let proxy: ProxyUnderTest;
  let client: RawHttp2;
  const limits = { maxHeaderBytes: 64 * 1024, maxHeaderFields: 200, maxStreamsPerConnection: 100 };
  startHomeAndProxyForEach(
    authority,
    (started) => {
      ({ home, proxy } = started);
    },
    { limits },
  );
  beforeEach(async () => {
    client = await connectRawHttp2(proxy.port, authority.caPem);
  });
  afterEach(() => {
    client.destroy();
  });

  /** Sends a hand-made request, with a body if there is one, and waits until the server ends it. */
  async function send(fields: Parameters<typeof literals>[0], body?: Buffer, trailers?: Buffer): Promise<void> {
    client.write(frame(headers, body === undefined ? whole : flags.endHeaders, 1, literals(fields)));
    if (body !== undefined) client.write(frame(data, trailers === undefined ? flags.endStream : 0, 1, body));
    if (trailers !== undefined) client.write(frame(headers, whole, 1, trailers));
    const ended = ({ type, flags: bits, stream }: { type: number; flags: number; stream: number }) =>
      type === goaway || (stream === 1 && (type === reset || (bits & flags.endStream) !== 0));
    await eventually(() => client.isClosed() || client.seen.some(ended), 10_000);
  }

  const smuggled: Readonly<Record<string, readonly (readonly [string, string])[]>> = {
    'a line feed in a value': [['x', 'a\r\nX-Remote-User: root']],
    'a NUL in a value': [['x', 'a\0b']],
    'a name with a colon': [['x-remote-user: root\r\nx', 'a']],
    'a name in capitals': [['X-Remote-User', 'root']],
    'a second request in the path': [[':path', '/ HTTP/1.1\r\nX-Remote-User: root\r\n\r\n']],
    'a space in the path': [[':path', '/version HTTP/1.1']],
    'a second request in the method': [[':method', 'GET / HTTP/1.1\r\nx:']],
    'a line feed in the authority': [[':authority', 'a\r\nX-Remote-User: root']],
    'Transfer-Encoding': [['transfer-encoding', 'chunked']],
    'a Connection field': [['connection', 'x-secret']],
    'a Content-Length of less than comes': [['content-length', '1']],
    'a Content-Length of more than comes': [['content-length', '900']],
    'two of Content-Length': [
      ['content-length', '5'],
      ['content-length', '6'],
    ],
    'a pseudo field that is none': [[':x', 'a']],
    'a Host of another name': [['host', 'b']],
    'an absolute path': [[':path', 'https://b/version']],
    'no path': [[':path', '']],
    'a WebSocket by extended CONNECT': [
      [':method', 'CONNECT'],
      [':protocol', 'websocket'],
    ],
    'a tunnel by CONNECT': [[':method', 'CONNECT']],
  };
  for (const [name, fields] of Object.entries(smuggled))
    it(`lets no server see ${name}`, async () => {
      await send(requestFields(fields), Buffer.from('hello'));
      for (const { rawHeaders, url } of home.seen) {
        // A body that is too short is cut while the server waits for the rest.
        expect(name).to.match(/Content-Length of more/);
        expect([url, ...rawHeaders].join('\n')).not.to.match(/x-remote-user|\0/i);
        expect(rawHeaders.filter((_text, at) => at % 2 === 0)).not.to.include('x');
      }
      if (home.seen.length > 0) return;
      // 0x88 is an indexed `:status: 200`.
      const answered = client.seen.find(({ type, stream }) => type === headers && stream === 1);
      expect(answered?.payload[0]).not.to.equal(0x88);
    });

  it('ignores identity fields in the trailers of a request', async () => {
    await send(requestFields([[':method', 'POST']]), Buffer.from('hello'), literals([['x-remote-user', 'root']]));
    expect(home.seen).to.have.length(1);
    expect(home.seen[0]?.rawHeaders.join('\n')).not.to.match(/x-remote-user/i);
  });

  it('refuses more header fields than are allowed', async () => {
    const answered = () => client.seen.find(({ type }) => type === headers)?.payload.toString('latin1');
    await send(requestFields(Array.from({ length: 300 }, () => ['x', 'a'] as const)));
    expect(answered()).to.contain('431');
    expect(await metric('peerdiscovery_proxy_limited_total{limit="header_fields"}')).to.equal(1);
    client.destroy();
    client = await connectRawHttp2(proxy.port, authority.caPem);
    // In frames of the permitted size; the limit is 64 KiB.
    const long = literals(requestFields(Array.from({ length: 600 }, (_, at) => [`x${at}`, 'a'.repeat(100)] as const)));
    client.write(frame(headers, flags.endStream, 1, long.subarray(0, 16_000)));
    for (let at = 16_000; at < long.length; at += 16_000)
      client.write(
        frame(continuation, at + 16_000 < long.length ? 0 : flags.endHeaders, 1, long.subarray(at, at + 16_000)),
      );
    await eventually(() => answered() !== undefined);
    expect(answered()).to.contain('431');
    expect(home.seen).to.have.length(0);
  });

  /** Writes until the server closes the connection. The number of bytes that it accepted is its limit. */
  async function flood(next: (at: number) => Buffer, most: number): Promise<number> {
    let at = 0;
    while (at < most && !client.isClosed()) {
      client.write(next(at++));
      if (at % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await client.closed;
    return at;
  }
  const metric = async (name: string) =>
    Number(
      new RegExp(`^${name.replace(/[{}"]/g, '\\$&')} (\\S+)$`, 'm').exec(await proxy.proxy.metrics.text())?.[1] ?? 0,
    );

  it('ends a connection that resets its requests as fast as it sends them, and forgets them', async () => {
    home.answer = () => {};
    const head = literals(requestFields());
    const cancel = Buffer.from([0, 0, 0, 8]);
    await flood(
      (at) => Buffer.concat([frame(headers, whole, 2 * at + 1, head), frame(reset, 0, 2 * at + 1, cancel)]),
      100_000,
    );
    await eventually(() => proxy.proxy.inFlight() === 0, 10_000);
    expect(await metric('peerdiscovery_proxy_limited_total{limit="http2_session"}')).to.equal(1);
    home.answer = (_request, response) => response.end('home');
    // Its half-open connections may have made the server look lost for a moment.
    while ((await proxy.get('/version')).status !== 200) await new Promise((resolve) => setImmediate(resolve));
  });

  it('ends a head with too many CONTINUATION frames', async () => {
    const part = literals([['x', 'a'.repeat(100)]]);
    client.write(frame(headers, flags.endStream, 1, literals(requestFields())));
    expect(await flood(() => frame(continuation, 0, 1, part), 100_000)).to.be.below(100_000);
    expect(home.seen).to.have.length(0);
  });

  it('ends a connection that floods it with SETTINGS or PING and reads no answer', async () => {
    for (const filler of [frame(settings, 0, 0), frame(ping, 0, 0, Buffer.alloc(8))]) {
      client.destroy();
      client = await connectRawHttp2(proxy.port, authority.caPem);
      let at = 0;
      const before = process.memoryUsage().rss;
      while (at++ < 20_000 && !client.isClosed()) {
        client.write(filler);
        if (at % 200 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      expect(process.memoryUsage().rss - before).to.be.below(64 * 1024 * 1024);
    }
    expect((await proxy.get('/version')).status).to.equal(200);
  });

  const update = (id: number) => frame(windowUpdate, 0, id, Buffer.from([0, 0, 0, 1]));
  const endless: Readonly<Record<string, (at: number) => Buffer>> = {
    'WINDOW_UPDATE of the connection': () => update(0),
    'WINDOW_UPDATE of a stream': () => update(1),
    'WINDOW_UPDATE of a stream that has ended': () => update(3),
    PRIORITY: () => frame(priority, 0, 1, Buffer.from([0, 0, 0, 3, 1])),
    'frames that nobody knows': () => frame(0x55, 0, 0, Buffer.alloc(8)),
    'DATA of nothing': () => frame(data, 0, 1),
    'DATA of a byte': () => frame(data, 0, 1, Buffer.from('a')),
    'DATA of a byte and padding': () => frame(data, 8, 1, Buffer.from([1, 97, 0])),
    'SETTINGS that it answers': () => frame(settings, 0, 0),
    'answers to SETTINGS': () => frame(settings, flags.ack, 0),
    'answers to PING': () => frame(ping, flags.ack, 0, Buffer.alloc(8)),
  };
  for (const [name, next] of Object.entries(endless))
    it(`ends a connection that sends ${name} without end, and says why`, async () => {
      home.answer = (request) => request.resume();
      client.write(frame(headers, flags.endHeaders, 1, literals(requestFields([[':method', 'POST']]))));
      client.write(frame(headers, whole, 3, literals(requestFields([[':path', '/%zz']]))));
      await eventually(() =>
        client.seen.some(({ stream, flags: bits }) => stream === 3 && (bits & flags.endStream) !== 0),
      );
      expect(await flood((at) => Buffer.concat(Array.from({ length: 100 }, () => next(at))), 3_000)).to.be.below(3_000);
      expect(client.seen.find(({ type }) => type === goaway)?.payload.readUInt32BE(4)).to.equal(enhanceYourCalm);
    });

  it('serves a client that opens its windows in small steps as it reads', async () => {
    home.answer = (_request, response) => response.end(Buffer.alloc(4 * 1024 * 1024));
    client.write(frame(headers, whole, 1, literals(requestFields())));
    let [frames, opened] = [0, 0];
    const isDone = () =>
      client.seen.some(({ stream, flags: bits, type }) => stream === 1 && type === data && (bits & 1) !== 0);
    await eventually(() => {
      for (; frames < client.seen.length; frames++) {
        const { type, payload } = client.seen[frames] ?? { type: -1, payload: Buffer.alloc(0) };
        if (type !== data) continue;
        for (let left = payload.length; left > 0; left -= 2_048, opened += 2) {
          const more = Buffer.alloc(4);
          more.writeUInt32BE(Math.min(left, 2_048));
          client.write(Buffer.concat([frame(windowUpdate, 0, 0, more), frame(windowUpdate, 0, 1, more)]));
        }
      }
      return isDone() || client.isClosed();
    }, 20_000);
    expect([isDone(), opened > 4_000]).to.deep.equal([true, true]);
  });

  it('ends a connection that resizes its table again and again in one field block', async () => {
    const resized = Buffer.concat([Buffer.alloc(10_000, 0x20), literals(requestFields())]);
    client.write(frame(headers, whole, 1, resized));
    await client.closed;
    expect(client.seen.find(({ type }) => type === goaway)?.payload.readUInt32BE(4)).to.equal(compressionError);
    expect(home.seen).to.have.length(0);
  });

  it('runs no more streams of one connection at once than it announced', async () => {
    home.answer = () => {};
    const head = literals(requestFields());
    for (let at = 0; at < 400; at++) client.write(frame(headers, whole, 2 * at + 1, head));
    await eventually(() => client.seen.some(({ type }) => type === reset || type === goaway), 10_000);
    expect(proxy.proxy.inFlight()).to.be.at.most(100);
  });

  it('asks for a body that waits for 100 Continue, over HTTP/2 too', async () => {
    const session = http2Connect(`https://localhost:${proxy.port}`, { ca: authority.caPem });
    const stream = session.request({ ':path': '/version', ':method': 'POST', expect: '100-continue' });
    await once(stream, 'continue');
    stream.end('body');
    const [answer] = (await once(stream, 'response')) as [Record<string, unknown>];
    expect(answer[':status']).to.equal(200);
    session.destroy();
  });
});
