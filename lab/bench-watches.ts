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
  readonly count: number;
}

const path = '/api/v1/namespaces/default/configmaps?watch=1';
const streamsPerSession = 100;
const settleMs = 3_000;

/** Opens idle watches until each has had its first event; gives what each takes of the front's resident memory. */
export async function measureWatches(load: WatchLoad, pids: readonly number[]): Promise<number> {
  const warm = await open({ ...load, count: streamsPerSession });
  await sleep(settleMs);
  const before = residentKiB(pids);
  const close = await open(load);
  await sleep(settleMs);
  const each = (residentKiB(pids) - before) / load.count;
  warm();
  close();
  return each;
}

async function open(load: WatchLoad): Promise<() => void> {
  const ends: (() => void)[] = [];
  const ca = readFileSync(load.caFile);
  if (load.protocol === 'h2')
    for (let left = load.count; left > 0; left -= streamsPerSession) {
      const session = http2Connect(load.url, { ca, servername: 'localhost' });
      ends.push(() => session.destroy());
      await openStreams(session, Math.min(left, streamsPerSession));
    }
  else
    for (let at = 0; at < load.count; at += 50)
      await Promise.all(Array.from({ length: Math.min(50, load.count - at) }, () => openSocket(load.url, ca, ends)));
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
  let text = '';
  while (!text.includes('ADDED')) text += String((await once(socket, 'data'))[0]);
}
