import { connect as http2Connect } from 'node:http2';
import { request as httpsRequest } from 'node:https';
import type { Readable } from 'node:stream';
import { createWireClient, type WireRequest } from './wire-client.ts';

/** How a client reaches a proxy. */
export interface Access {
  readonly url: string;
  readonly ca: string;
  readonly token: string;
  readonly protocol: 'http1' | 'http2';
}

/** One request of a steady client, and its result. */
export interface Ended {
  readonly what: string;
  /** 0 without a complete answer. */
  readonly status: number;
  /** The error; empty if there was none. */
  readonly text: string;
  readonly tookMs: number;
  /** By the client's clock. */
  readonly at: number;
  /** The name of the object to create. */
  readonly name: string;
}

/** Clients that send the next request shortly after the last one has ended. */
export interface SteadyClient {
  readonly ended: readonly Ended[];
  /** Resolves when the open requests have ended. */
  stop(): Promise<void>;
}

const pauseMs = 200;

/** Each entry of `requests` is one client's request, sent again and again. It gets a new name each time. */
export function startSteadyClient(
  access: Access & { readonly name: string },
  requests: Readonly<Record<string, (name: string) => WireRequest>>,
  now: () => number = Date.now,
): SteadyClient {
  const stopping = new AbortController();
  const ended: Ended[] = [];
  const goOn = async (what: string, make: (name: string) => WireRequest) => {
    const client = createWireClient(access);
    for (let turn = 0; !stopping.signal.aborted; turn++) {
      const name = `${access.name}-${turn}`;
      const at = now();
      const { status, text } = await client[access.protocol](make(name)).then(
        (answer) => ({ status: answer.status, text: answer.status < 400 ? '' : answer.body.toString().trim() }),
        (error: Error) => ({ status: 0, text: error.message }),
      );
      ended.push({ what, status, text, tookMs: now() - at, at, name });
      await pause(stopping.signal);
    }
    client.close();
  };
  const running = Object.entries(requests).map(([what, make]) => goOn(what, make));
  return {
    ended,
    async stop() {
      stopping.abort();
      await Promise.all(running);
    },
  };
}

/** A client that watches, and resumes an ended watch where it was. */
export interface SteadyWatcher {
  /** Names of added objects, and when it learned of each. */
  readonly added: ReadonlyMap<string, number>;
  /** Names that it got twice. */
  readonly repeated: readonly string[];
  /** Statuses of the opened watches; 0 without an answer. */
  readonly opened: readonly number[];
  stop(): Promise<void>;
}

/** Watches the objects at `path` from `resourceVersion` on, as client-go's reflector does after its list. */
export function startSteadyWatcher(
  access: Access,
  path: string,
  resourceVersion: string,
  now: () => number = Date.now,
): SteadyWatcher {
  const stopping = new AbortController();
  const added = new Map<string, number>();
  const repeated: string[] = [];
  const opened: number[] = [];
  let version = resourceVersion;
  const take = (line: string) => {
    const { type, object } = JSON.parse(line) as WatchLine;
    version = object.metadata.resourceVersion ?? version;
    if (type !== 'ADDED') return;
    const { name = '' } = object.metadata;
    if (added.has(name)) repeated.push(name);
    added.set(name, now());
  };
  const goOn = async () => {
    while (!stopping.signal.aborted) {
      const target = `${path}?watch=1&allowWatchBookmarks=true&resourceVersion=${version}`;
      const open = access.protocol === 'http1' ? openOverHttp1 : openOverHttp2;
      await readLines(open(access, target, stopping.signal), (status) => opened.push(status), take);
      await pause(stopping.signal);
    }
  };
  const running = goOn();
  return {
    added,
    repeated,
    opened,
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

interface WatchLine {
  readonly type: string;
  readonly object: { readonly metadata: { readonly name?: string; readonly resourceVersion?: string } };
}

interface Answer {
  readonly status: number;
  readonly body: Readable;
}

function openOverHttp1({ url, ca, token }: Access, path: string, signal: AbortSignal): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = { Authorization: `Bearer ${token}` };
    const request = httpsRequest(`${url}${path}`, { ca, agent: false, headers, signal }, (response) =>
      resolve({ status: response.statusCode ?? 0, body: response }),
    );
    request.on('error', reject);
    request.end();
  });
}

function openOverHttp2({ url, ca, token }: Access, path: string, signal: AbortSignal): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const session = http2Connect(url, { ca });
    session.on('error', reject);
    const stream = session.request({ ':path': path, authorization: `Bearer ${token}` }, { signal });
    stream.on('error', reject);
    stream.once('close', () => session.destroy());
    stream.once('response', (headers) => resolve({ status: Number(headers[':status']), body: stream }));
  });
}

/** Resolves when the answer has ended, in whatever way. */
async function readLines(
  opening: Promise<Answer>,
  onStatus: (status: number) => void,
  onLine: (line: string) => void,
): Promise<void> {
  let status = 0;
  try {
    const answer = await opening;
    ({ status } = answer);
    onStatus(status);
    let rest = '';
    for await (const chunk of answer.body) {
      const lines = `${rest}${chunk}`.split('\n');
      rest = lines.pop() ?? '';
      if (status === 200) for (const line of lines) onLine(line);
    }
  } catch {
    // Resumes a watch that breaks.
    if (status === 0) onStatus(0);
  }
}

function pause(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, pauseMs);
    if (signal.aborted) done();
    else signal.addEventListener('abort', done);
  });
}
