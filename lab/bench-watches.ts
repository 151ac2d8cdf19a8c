import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type ClientHttp2Session, connect as http2Connect } from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import { residentKiB } from './bench-load.ts';

/** Watches to open against a front. */
export interface WatchLoad {
  readonly url: string;
  readonly caFile: string;
  readonly protocol: 'h1' | 'h2';
  /** Opened before the memory is looked at, since a heap grows by steps that are no single watch's. */
  readonly first: number;
  readonly further: number;
}

const path = '/api/v1/namespaces/default/configmaps?watch=1';
const streamsPerSession = 100;
const settleMs = 3_000;
const openMs = 120_000;

/** Opens idle watches until each has had its first event; gives what each further one takes of the front's memory. */
export async function measureWatches(load: WatchLoad, pids: readonly number[]): Promise<number> {
  const closeFirst = await inTime(open(load, load.first));
  await sleep(settleMs);
  const before = residentKiB(pids);
  const closeFurther = await inTime(open(load, load.further));
  await sleep(settleMs);
  const each = (residentKiB(pids) - before) / load.further;
  closeFirst();
  closeFurther();
  return each;
}

/** A front that holds a first event back would be waited for for ever. */
async function inTime<Result>(opening: Promise<Result>): Promise<Result> {
  const late = sleep(openMs, undefined, { ref: false }).then(() => {
    throw new Error(`the first event of a watch has not come within ${openMs / 1_000} s`);
  });
  return Promise.race([opening, late]);
}

async function open(load: WatchLoad, count: number): Promise<() => void> {
  const ends: (() => void)[] = [];
  const ca = readFileSync(load.caFile);
  if (load.protocol === 'h2')
    for (let left = count; left > 0; left -= streamsPerSession) {
      const session = http2Connect(load.url, { ca, servername: 'localhost' });
      ends.push(() => session.destroy());
      await openStreams(session, Math.min(left, streamsPerSession));
    }
  else
    for (let at = 0; at < count; at += 50)
      await Promise.all(Array.from({ length: Math.min(50, count - at) }, () => openSocket(load.url, ca, ends)));
  return () => {
    for (const end of ends) end();
  };
}

async function openStreams(session: ClientHttp2Session, count: number): Promise<void> {
  session.on('error', () => {});
  await Promise.all(
    Array.from({ length: count }, async () => {
      const stream = session.request({ ':path': path, authorization: `Bearer ${'t'.repeat(800)}` });
      stream.on('error', () => {});
      await once(stream, 'data');
    }),
  );
}

async function openSocket(url: string, ca: Buffer, ends: (() => void)[]): Promise<void> {
  const socket: TLSSocket = tlsConnect({
    port: Number(new URL(url).port),
    host: '127.0.0.1',
    ca,
    servername: 'localhost',
  });
  socket.on('error', () => {});
  ends.push(() => socket.destroy());
  await once(socket, 'secureConnect');
  socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${'t'.repeat(800)}\r\n\r\n`);
  await new Promise<void>((resolve) => {
    let text = '';
    // Not awaited piece by piece: two of them may come at once.
    socket.on('data', (piece: Buffer) => {
      text = (text + piece.toString('latin1')).slice(-2_000);
      if (text.includes('ADDED')) resolve();
    });
  });
}
