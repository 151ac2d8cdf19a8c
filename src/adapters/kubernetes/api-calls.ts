import type { Dispatcher } from 'undici';
import { systemClock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import { messageOf } from '../../runtime/message-of.ts';
import { withoutNodeAdvice } from '../../runtime/without-node-advice.ts';
import type { ApiConnections } from './api-connections.ts';
import type { FencedOptions } from './api-dispatchers.ts';
import { ApiError } from './api-error.ts';
import { type ApiWay, createApiWays } from './api-ways.ts';
import { readBounded, readRefusal } from './read-api-answer.ts';

/** Query parameters; an undefined one is left out. */
export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

/** One request. */
export interface ApiCall {
  readonly method: Dispatcher.HttpMethod;
  readonly path: string;
  readonly query?: Query | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly accept?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly contentType?: string;
  readonly maxBytes?: number;
  readonly body?: unknown;
  readonly beforeSending?: (() => void) | undefined;
}

/** An answer with status 2xx. */
export interface RawAnswer {
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

/** Sends requests under a time limit, to the server in use. A failure is an `ApiError`, or the abort of the caller. */
export interface ApiCalls {
  /** The whole answer. A `pinned` call goes to that server and to no other. */
  readWhole(call: ApiCall, pinned?: ApiWay): Promise<RawAnswer>;
  /** The answer to a call, parsed, and its length. */
  readJson<T>(call: ApiCall): Promise<{ readonly value: T; readonly bytes: number }>;
  /** The pieces of an answer of unknown length. Resolves on a 2xx status. The caller must detect silence. */
  openStream(call: ApiCall): Promise<AsyncIterable<Uint8Array>>;
  /** The error of a call that got no whole answer. */
  fault(call: ApiCall, reason: string, cause: unknown, way?: ApiWay): ApiError;
  /** Replaces the other servers that calls may go to. */
  learn(ways: readonly ApiWay[], address: { readonly shared: boolean }): void;
  /** Probes no server any more. */
  close(): void;
}

/** A running call, and the server that it was sent to. */
interface Owed {
  readonly way: ApiWay;
  readonly abort: AbortController;
  /** True for a watch, which its caller resumes elsewhere. */
  readonly stream: boolean;
}

/** The options of all calls. */
export interface ApiCallsOptions {
  /** Time limit of a whole call, and of a stream's wait for its status. */
  readonly timeoutMs: number;
  /** Longest answer that is read. */
  readonly maxBodyBytes: number;
  readonly log: Log;
}

/** When the server in use falls silent or is not ready, calls go to another, and those that wait for it fail. */
export function createApiCalls(
  connections: ApiConnections,
  { timeoutMs, maxBodyBytes, log }: ApiCallsOptions,
): ApiCalls {
  const { serverUrl, basePath } = connections;
  const owed = new Set<Owed>();
  const ways = createApiWays({
    probe: connections.probe,
    owed: () => owed.size > 0,
    onChange: (from, to, silent) => {
      for (const { way, abort, stream } of [...owed])
        if (way.address === from.address && (silent || stream))
          abort.abort(new Error(`${from.address ?? serverUrl} is replaced by ${to.address ?? serverUrl}`));
    },
    clock: systemClock,
    random: Math.random,
    log,
  });

  function fault(call: ApiCall, reason: string, cause: unknown, way?: ApiWay): ApiError {
    const text = withoutNodeAdvice(messageOf(cause));
    const server = way?.address === undefined ? serverUrl : `https://${way.address}`;
    return new ApiError(
      `${call.method} ${server}${call.path}: ${text}`,
      { code: 0, reason, method: call.method, path: call.path },
      { cause },
    );
  }

  async function send(
    call: ApiCall,
    way: ApiWay,
    signal: AbortSignal,
    streaming: boolean,
  ): Promise<Dispatcher.ResponseData> {
    const { origin: target, dispatcher, headers } = await connections.connect(way);
    Object.assign(headers, call.headers);
    headers.accept = call.accept ?? 'application/json';
    if (call.contentType) headers['content-type'] = call.contentType;
    const options: FencedOptions = {
      origin: target,
      path: basePath + call.path + formatQuery(call.query),
      method: call.method,
      headers,
      signal,
      headersTimeout: timeoutMs,
      bodyTimeout: streaming ? 0 : timeoutMs,
      ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
      beforeSending: call.beforeSending,
    };
    const response = await dispatcher.request(options);
    // A body that was abandoned early also emits an error, to which nobody else listens.
    response.body.on('error', () => {});
    if (response.statusCode >= 200 && response.statusCode < 300) return response;
    throw await readRefusal(call, response);
  }

  async function readWhole(call: ApiCall, pinned?: ApiWay): Promise<RawAnswer> {
    const work = async (signal: AbortSignal, way: ApiWay) => {
      const { headers, body: stream } = await send(call, way, signal, false);
      const maxBytes = Math.min(maxBodyBytes, call.maxBytes ?? maxBodyBytes);
      const body = await readBounded(stream, maxBytes);
      if (body === undefined) {
        throw fault(call, 'BodyTooLarge', new Error(`answer is longer than ${maxBytes} bytes`), pinned);
      }
      return { headers, body };
    };
    return await guarded(call, work, pinned);
  }

  async function readJson<T>(call: ApiCall): Promise<{ readonly value: T; readonly bytes: number }> {
    const { body } = await readWhole(call);
    try {
      return { value: JSON.parse(body.toString('utf8')) as T, bytes: body.length };
    } catch (error) {
      throw fault(call, 'Malformed', error);
    }
  }

  /** Records that a server owes an answer, so that its silence is noticed. Call the result when it no longer does. */
  function owe(way: ApiWay, abort: AbortController, stream: boolean): () => void {
    const entry = { way, abort, stream };
    owed.add(entry);
    ways.watch();
    return () => void owed.delete(entry);
  }

  /** Runs `work` under the timeout and the caller's signal, and classifies every failure. */
  async function guarded<R>(
    call: ApiCall,
    work: (signal: AbortSignal, way: ApiWay) => Promise<R>,
    pinned?: ApiWay,
  ): Promise<R> {
    call.signal?.throwIfAborted();
    const controller = new AbortController();
    const way = pinned ?? ways.current;
    // A request to one given server must not go to another.
    const paid = pinned === undefined ? owe(way, controller, false) : () => {};
    let late = false;
    const forwardAbort = () => controller.abort(call.signal?.reason);
    call.signal?.addEventListener('abort', forwardAbort, { once: true });
    const timer = setTimeout(() => {
      late = true;
      controller.abort(new Error(`no answer in ${timeoutMs} ms`));
    }, timeoutMs);
    try {
      return await work(controller.signal, way);
    } catch (error) {
      call.signal?.throwIfAborted();
      if (error instanceof ApiError) throw error;
      if (!controller.signal.aborted && pinned === undefined) void ways.suspect();
      throw fault(call, late ? 'Timeout' : 'ConnectionFailed', error, pinned);
    } finally {
      paid();
      clearTimeout(timer);
      call.signal?.removeEventListener('abort', forwardAbort);
    }
  }

  async function openStream(call: ApiCall): Promise<AsyncIterable<Uint8Array>> {
    const { signal } = call;
    // The dispatcher's own signal must outlive `guarded`, whose listeners end with the headers.
    const stream = new AbortController();
    const abort = () => stream.abort(signal?.reason);
    signal?.addEventListener('abort', abort, { once: true });
    const { body, paid } = await guarded(call, async (headersSignal, way) => {
      headersSignal.addEventListener('abort', () => stream.abort(headersSignal.reason), { once: true });
      const { body } = await send(call, way, stream.signal, true);
      return { body, paid: owe(way, stream, true) };
    }).catch((error: unknown) => {
      signal?.removeEventListener('abort', abort);
      throw error;
    });
    return (async function* chunks() {
      try {
        for await (const chunk of body) yield chunk as Uint8Array;
      } catch (error) {
        signal?.throwIfAborted();
        if (!stream.signal.aborted) void ways.suspect();
        throw fault(call, 'ConnectionFailed', stream.signal.aborted ? stream.signal.reason : error);
      } finally {
        paid();
        signal?.removeEventListener('abort', abort);
        body.destroy();
      }
    })();
  }

  return { readWhole, readJson, openStream, fault, learn: ways.learn, close: ways.close };
}

function formatQuery(query: Query | undefined): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined) parameters.append(name, String(value));
  }
  const text = parameters.toString();
  return text && `?${text}`;
}
