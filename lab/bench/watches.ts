import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import {
  type ClientHttp2Session,
  connect as http2Connect,
  type IncomingHttpHeaders,
  type IncomingHttpStatusHeader,
} from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import { residentKiB } from './load.ts';

/** Options for opening watches. */
interface WatchAccess {
  readonly url: string;
  readonly caFile: string;
  readonly protocol: 'h1' | 'h2';
  /** The bearer token; by default the bench's own. */
  readonly token?: string;
  readonly path?: string;
  /** Called for each watch that ends. */
  readonly onEnd?: () => void;
}

/** Watches to open against a front. */
export interface WatchLoad extends WatchAccess {
  /** Watches to open before the first memory reading, because a heap grows in steps larger than one watch. */
  readonly first: number;
  readonly further: number;
}

const benchPath = '/api/v1/namespaces/default/configmaps?watch=1';
const benchToken = 't'.repeat(800);
const streamsPerSession = 100;
const settleMs = 3_000;
const openMs = 120_000;

/** Opens idle watches until each has had its first event. Returns the memory of the front per further watch. */
export async function measureWatches(load: WatchLoad, pids: readonly number[]): Promise<number> {
  const closeFirst = await inTime(openWatches(load, load.first));
  await sleep(settleMs);
  const before = residentKiB(pids);
  const closeFurther = await inTime(openWatches(load, load.further));
  await sleep(settleMs);
  const each = (residentKiB(pids) - before) / load.further;
  closeFirst();
  closeFurther();
  return each;
}

/** Limits the wait for the first event, in case a front holds it back. */
async function inTime<Result>(opening: Promise<Result>): Promise<Result> {
  const late = sleep(openMs, undefined, { ref: false }).then(() => {
    throw new Error(`the first event of a watch did not arrive within ${openMs / 1_000} s`);
  });
  return Promise.race([opening, late]);
}

/** Opens this many watches, and waits until each has had an event. Returns a function that ends them. */
export async function openWatches(access: WatchAccess, count: number): Promise<() => void> {
  const ends: (() => void)[] = [];
  const ca = readFileSync(access.caFile);
  if (access.protocol === 'h2')
    for (let left = count; left > 0; left -= streamsPerSession) {
      const session = http2Connect(access.url, { ca, servername: 'localhost' });
      ends.push(() => session.destroy());
      await openStreams(session, access, Math.min(left, streamsPerSession));
    }
  else
    for (let at = 0; at < count; at += 50)
      await Promise.all(Array.from({ length: Math.min(50, count - at) }, () => openSocket(access, ca, ends)));
  return () => {
    for (const end of ends) end();
  };
}

async function openStreams(session: ClientHttp2Session, access: WatchAccess, count: number): Promise<void> {
  const { path = benchPath, token = benchToken, onEnd = () => {} } = access;
  session.on('error', () => {});
  await Promise.all(
    Array.from({ length: count }, async () => {
      const stream = session.request({ ':path': path, authorization: `Bearer ${token}` });
      stream.on('error', () => {});
      stream.once('close', onEnd);
      const [{ ':status': status }] = (await once(stream, 'response')) as [
        IncomingHttpHeaders & IncomingHttpStatusHeader,
      ];
      if (status !== 200) throw new Error(`a watch was answered with ${status}`);
      await once(stream, 'data');
    }),
  );
}

async function openSocket(access: WatchAccess, ca: Buffer, ends: (() => void)[]): Promise<void> {
  const { url, path = benchPath, token = benchToken, onEnd = () => {} } = access;
  const { hostname, port } = new URL(url);
  const socket: TLSSocket = tlsConnect({ port: Number(port), host: hostname, ca, servername: 'localhost' });
  socket.on('error', () => {});
  socket.once('close', onEnd);
  ends.push(() => socket.destroy());
  await once(socket, 'secureConnect');
  socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${token}\r\n\r\n`);
  await new Promise<void>((resolve) => {
    let text = '';
    // The response is not read piece by piece, because two events may arrive at once.
    socket.on('data', (piece: Buffer) => {
      text = (text + piece.toString('latin1')).slice(-2_000);
      if (text.includes('ADDED')) resolve();
    });
  });
}
