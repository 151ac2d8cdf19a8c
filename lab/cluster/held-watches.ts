import { type ClientHttp2Session, connect } from 'node:http2';
import { Agent, request } from 'node:https';
import type { Readable } from 'node:stream';
import { setTimeout } from 'node:timers/promises';
import type { HeldFigures } from './client-figures.ts';
import type { Credentials } from './clients.ts';
import { lastWords } from './run-program.ts';

/** Where the watches of one side go. */
export interface HeldTarget {
  readonly host: string;
  readonly port: number;
  /** A name in the certificate of every endpoint. */
  readonly serverName: string;
  readonly credentials: Credentials;
  /** The path of the watched objects. */
  readonly path: string;
}

/** Clients that each hold one connection and one watch, and resume a watch that ends, as an informer does. */
export interface HeldWatches {
  /** `names` are all objects; a client that has not seen one of them has missed it. */
  figures(
    names: readonly string[],
  ): Pick<HeldFigures, 'watches' | 'requests' | 'failed' | 'failures' | 'relisted' | 'missed'>;
  stop(): Promise<void>;
}

/** How one client sends its requests. */
interface Sender {
  /** Rejects if there was no answer. */
  get(path: string): Promise<Answer>;
  close(): void;
}

interface Answer {
  readonly status: number;
  readonly body: Readable;
}

interface Counts {
  requests: number;
  failed: number;
  relisted: number;
  readonly failures: string[];
}

interface Line {
  readonly type: string;
  readonly object: {
    readonly code?: number;
    readonly metadata?: { readonly name?: string; readonly resourceVersion?: string };
  };
}

interface List {
  readonly metadata: { readonly resourceVersion: string };
  readonly items: readonly { readonly metadata: { readonly name: string } }[];
}

const maxFailures = 5;
/** A list or the head of a watch that takes longer has failed. */
const answerMs = 20_000;

/** Starts this many clients: every other one uses HTTP/2, the rest HTTP/1.1. */
export function startHeldWatches(target: HeldTarget, watches: number): HeldWatches {
  const stop = new AbortController();
  const counts: Counts = { requests: 0, failed: 0, relisted: 0, failures: [] };
  const startedAt = Date.now();
  const fail = (reason: string) => {
    if (stop.signal.aborted) return;
    counts.failed += 1;
    if (counts.failures.length < maxFailures)
      counts.failures.push(`${((Date.now() - startedAt) / 1_000).toFixed(0)} s: ${lastWords(reason)}`);
  };
  const clients = Array.from({ length: watches }, (_, index) => {
    const sender = index % 2 === 0 ? http2Sender(target) : http1Sender(target);
    const seen = new Set<string>();
    return { sender, seen, ended: hold(sender, target.path, seen, { counts, fail, signal: stop.signal }) };
  });
  return {
    figures: (names) => ({
      watches,
      ...counts,
      failures: [...counts.failures],
      missed: clients.reduce((sum, { seen }) => sum + names.filter((name) => !seen.has(name)).length, 0),
    }),
    stop: async () => {
      stop.abort();
      for (const { sender } of clients) sender.close();
      await Promise.race([Promise.all(clients.map(({ ended }) => ended)), setTimeout(answerMs)]);
    },
  };
}

/** A list, a watch from there, the next watch from the last event, and a new list when that is too old. */
async function hold(
  sender: Sender,
  path: string,
  seen: Set<string>,
  { counts, fail, signal }: { counts: Counts; fail: (reason: string) => void; signal: AbortSignal },
): Promise<void> {
  let version: string | undefined;
  const take = (text: string) => {
    const { type, object } = JSON.parse(text) as Line;
    if (type === 'ERROR') {
      version = undefined;
      counts.relisted += 1;
      if (object.code !== 410) fail(text);
      return;
    }
    version = object.metadata?.resourceVersion ?? version;
    if (type === 'ADDED') seen.add(object.metadata?.name ?? '');
  };
  const list = async () => {
    const { status, body } = await sender.get(path);
    const text = await readAll(body);
    if (status !== 200) return fail(`list: ${status} ${text}`);
    const { metadata, items } = JSON.parse(text) as List;
    for (const item of items) seen.add(item.metadata.name);
    version = metadata.resourceVersion;
  };
  const watch = async () => {
    // client-go chooses a time between five and ten minutes.
    const timeout = Math.floor(300 * (1 + Math.random()));
    const query = `watch=1&allowWatchBookmarks=true&timeoutSeconds=${timeout}&resourceVersion=${version}`;
    const { status, body } = await sender.get(`${path}?${query}`);
    if (status === 200) return readLines(body, take);
    const text = await readAll(body);
    if (status !== 410) return fail(`watch: ${status} ${text}`);
    version = undefined;
    counts.relisted += 1;
  };
  while (!signal.aborted) {
    counts.requests += 1;
    await (version === undefined ? list() : watch()).catch((error: Error) => fail(error.message));
    // client-go waits about this long before it resumes.
    await setTimeout(500 + Math.random() * 500, undefined, { signal }).catch(() => {});
  }
}

/** Resolves at the end of a watch, however it ends: clients resume it. */
async function readLines(body: Readable, onLine: (line: string) => void): Promise<void> {
  let rest = '';
  try {
    for await (const chunk of body.setEncoding('utf8')) {
      const lines = `${rest}${chunk}`.split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line !== '') onLine(line);
    }
  } catch {
    // The server or its connection is gone.
  }
}

async function readAll(body: Readable): Promise<string> {
  let text = '';
  for await (const chunk of body.setEncoding('utf8')) text += chunk;
  return text;
}

/** One kept connection. As in Go, a request whose kept connection turns out to be closed is sent again on a new one. */
function http1Sender({ host, port, serverName, credentials: { ca, cert, key } }: HeldTarget): Sender {
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ca, cert, key, servername: serverName });
  const get = (path: string): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const sent = request({
        agent,
        host,
        port,
        path,
        servername: serverName,
        headers: { accept: 'application/json' },
      });
      let isAnswered = false;
      const timer = globalThis.setTimeout(() => sent.destroy(new Error('no answer')), answerMs);
      sent.once('response', (body) => {
        isAnswered = true;
        clearTimeout(timer);
        resolve({ status: body.statusCode ?? 0, body });
      });
      sent.on('error', (error) => {
        clearTimeout(timer);
        if (isAnswered) return;
        if (sent.reusedSocket && error.message !== 'no answer') get(path).then(resolve, reject);
        else reject(error);
      });
      sent.end();
    });
  return { get, close: () => agent.destroy() };
}

/** One kept session, until the endpoint ends it by GOAWAY or otherwise. */
function http2Sender({ host, port, serverName, credentials: { ca, cert, key } }: HeldTarget): Sender {
  let session: ClientHttp2Session | undefined;
  const isKept = (kept: ClientHttp2Session | undefined) => kept !== undefined && !kept.closed && !kept.destroyed;
  const open = () => {
    const opened = connect(`https://${host}:${port}`, { ca, cert, key, servername: serverName });
    opened.on('error', () => {});
    opened.once('goaway', () => opened.close());
    return opened;
  };
  const get = (path: string): Promise<Answer> => {
    const isReused = isKept(session);
    const used = session !== undefined && isReused ? session : open();
    session = used;
    return new Promise((resolve, reject) => {
      const stream = used.request({ ':path': path, accept: 'application/json' });
      let isOver = false;
      const end = (act: () => void) => {
        if (isOver) return;
        isOver = true;
        clearTimeout(timer);
        act();
      };
      const timer = globalThis.setTimeout(() => {
        end(() => reject(new Error('no answer')));
        used.destroy();
      }, answerMs);
      const fail = (reason: string) =>
        end(() => {
          used.destroy();
          if (isReused) get(path).then(resolve, reject);
          else reject(new Error(reason));
        });
      stream.once('response', (headers) => end(() => resolve({ status: Number(headers[':status']), body: stream })));
      stream.on('error', (error) => fail(error.message));
      stream.once('close', () => fail('the stream closed without an answer'));
    });
  };
  return { get, close: () => session?.destroy() };
}
