// biome-ignore-all lint/style/noExcessiveLinesPerFile: the closures of one client, see `createApiClient`.
import { createHash } from 'node:crypto';
import type { AgentOptions, RequestOptions } from 'node:https';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { bufferFromFileOrString, type KubeConfig } from '@kubernetes/client-node';
import { Agent, buildConnector, DecoratorHandler, type Dispatcher, ProxyAgent } from 'undici';
import { parseAddress } from '../../domain/address.ts';
import { systemClock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import { type AnchorOptions, anchorSets, tryEach } from '../../runtime/trust-anchors.ts';
import { withoutNodeAdvice } from '../../runtime/without-node-advice.ts';
import { openVerifiedConnection } from '../peers/verified-connection.ts';
import { type ApiWay, createApiWays, type WayState } from './api-ways.ts';
import type { ServerAddress } from './known-servers-file.ts';

/** Query parameters; an undefined one is left out. */
export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

/** The object of a 404: one object, or the whole resource that the server does not serve. */
export type Missing = 'Object' | 'Resource';

/** The fields of a Kubernetes `Status` that are of use here. */
export interface StatusBody {
  readonly kind?: string;
  readonly code?: number;
  readonly reason?: string;
  readonly message?: string;
  readonly details?: { readonly name?: string; readonly kind?: string; readonly retryAfterSeconds?: number };
}

/** The data of an `ApiError`. */
export interface ApiErrorFields {
  readonly code: number;
  readonly reason: string;
  readonly method: string;
  readonly path: string;
  readonly retryAfterMs?: number | undefined;
  readonly status?: StatusBody | undefined;
}

/**
 * A request that the API server refused, or that got no complete answer. Distinguish them by `code` and `reason`, never
 * by text.
 */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  /** HTTP status code; 0 if there was no whole answer. */
  readonly code: number;
  /** The `reason` of the Status; else `ConnectionFailed`, `Timeout`, `BodyTooLarge`, `Malformed` or the status text. */
  readonly reason: string;
  readonly method: string;
  readonly path: string;
  /** The delay that the server asked for, if it did. */
  readonly retryAfterMs: number | undefined;
  readonly status: StatusBody | undefined;

  constructor(message: string, fields: ApiErrorFields, options?: ErrorOptions) {
    super(message, options);
    this.code = fields.code;
    this.reason = fields.reason;
    this.method = fields.method;
    this.path = fields.path;
    this.retryAfterMs = fields.retryAfterMs;
    this.status = fields.status;
  }

  /**
   * The missing object, for a 404. kube-apiserver names the object in its Status, and sends plain text for an unknown
   * path.
   */
  get missing(): Missing | undefined {
    if (this.code !== 404) return undefined;
    return this.status?.details?.name ? 'Object' : 'Resource';
  }
}

/** Options of every call. */
export interface CallOptions {
  readonly query?: Query | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called when a write is about to go onto its connection; if it throws, nothing is sent. */
  readonly beforeSending?: (() => void) | undefined;
}

/** Options of a list. */
export interface ListOptions extends CallOptions {
  /** Number of objects per page. */
  readonly pageSize?: number | undefined;
  /** Ask for `metadata` only, as PartialObjectMetadata. */
  readonly metadataOnly?: boolean | undefined;
  /** Maximum length of all pages together. Beyond it the list fails with `BodyTooLarge`. */
  readonly maxBytes?: number | undefined;
}

/** Options of a server-side apply. */
export interface ApplyOptions extends CallOptions {
  readonly fieldManager: string;
  /** Take over fields of other managers; false if absent. */
  readonly force?: boolean | undefined;
  readonly subresource?: string | undefined;
}

/** Options of a read. */
export interface ReadOptions extends CallOptions {
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** An answer with status 2xx. */
export interface RawAnswer {
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

/** A whole list. */
export interface ObjectList<T> {
  readonly items: readonly T[];
  readonly resourceVersion: string;
  /** Length of all pages together. */
  readonly bytes: number;
}

/** The client's credential. Servers get it only after their certificate was verified. */
export interface ClientCredentials {
  readonly token?: string;
  readonly certPem?: string;
  readonly keyPem?: string;
}

/** Raw, typed access to one API server over connections that are kept alive. */
export interface ApiClient {
  /** URL of the API server, without a slash at its end. */
  readonly serverUrl: string;
  /**
   * The object, or undefined if it does not exist; an unknown resource is an `ApiError` whose `missing` is `Resource`.
   */
  get<T>(path: string, options?: CallOptions): Promise<T | undefined>;
  /** All pages of one consistent list. */
  list<T>(path: string, options?: ListOptions): Promise<ObjectList<T>>;
  create<T>(path: string, object: unknown, options?: CallOptions): Promise<T>;
  /** Server-side apply. */
  apply<T>(path: string, object: unknown, options: ApplyOptions): Promise<T>;
  /** JSON merge patch (RFC 7396). */
  patchMerge<T>(path: string, patch: unknown, options?: CallOptions): Promise<T>;
  replace<T>(path: string, object: unknown, options?: CallOptions): Promise<T>;
  /** False if there was nothing to delete. */
  delete(path: string, options?: CallOptions): Promise<boolean>;
  /** An answer of unknown length. Resolves on a 2xx status. The caller must detect silence. */
  requestStream(path: string, options?: CallOptions): Promise<AsyncIterable<Uint8Array>>;
  /** Any answer, unchanged, to a request with more headers. */
  read(path: string, options?: ReadOptions): Promise<RawAnswer>;
  /**
   * Any answer of one given server. The credential is sent only after the server's certificate was verified by the
   * kubeconfig's CA and the server name. If the kubeconfig names no CA, or names a proxy or a path, nothing is sent.
   */
  readFrom(server: ServerAddress, path: string, options?: ReadOptions): Promise<RawAnswer>;
  /** The current credentials, read again as the kubeconfig says (token file, exec plugin, files of a key pair). */
  credentials(): Promise<ClientCredentials>;
  /** The CA bundle of the kubeconfig, read again; undefined if it names none. */
  caPem(): string | undefined;
  /**
   * Sets other kube-apiservers of the same cluster, which are used when the present one falls silent or is not ready. A
   * server gets a credential only after its certificate was verified by the kubeconfig's CA and the server name. If the
   * kubeconfig names no CA, or names a proxy or a path, no other server is used.
   */
  learnServers(servers: readonly ServerAddress[]): void;
  /** Closes all connections; running calls fail. */
  close(): Promise<void>;
}

/** The options of the client. */
export interface ApiClientOptions {
  /** Time limit of a whole call, and of a stream's wait for its status. */
  readonly timeoutMs: number;
  readonly log: Log;
  readonly userAgent?: string;
  /** Longest answer that is read. */
  readonly maxBodyBytes?: number;
}

/** The result of client-node for a request: TLS options and headers. */
type ResolvedOptions = AgentOptions & Pick<RequestOptions, 'headers' | 'auth'>;

/** A running call, and the server that it was sent to. */
interface Owed {
  readonly way: ApiWay;
  readonly abort: AbortController;
  /** True for a watch, which its caller resumes elsewhere. */
  readonly stream: boolean;
}

interface Connection {
  readonly origin: string;
  readonly dispatcher: Dispatcher;
  readonly headers: Record<string, string>;
}

interface Call {
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

// kube-apiserver closes idle HTTP/1.1 connections after 90 s. This client closes them earlier, so that no request meets
// a closing socket.
const keepAliveMs = 60_000;
const metadataList = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json';

/**
 * A client that uses one dispatcher per credential and CA, so that calls share connections. client-node itself creates
 * a dispatcher, and so a TLS connection, for each request.
 *
 * It uses only HTTP/1.1, so that a stalled watch blocks only its own connection.
 */
// biome-ignore lint/complexity/noExcessiveLinesPerFunction: its closures share connections, credentials and ways.
export function createApiClient(kubeConfig: KubeConfig, options: ApiClientOptions): ApiClient {
  const { timeoutMs, log, userAgent = 'peerdiscovery', maxBodyBytes = 64 * 1024 * 1024 } = options;
  const cluster = kubeConfig.getCurrentCluster();
  if (!cluster)
    throw new Error('the kubeconfig has no current cluster: set its current-context to one that it defines');
  const serverUrl = cluster.server.replace(/\/+$/, '');
  const { origin, pathname } = new URL(serverUrl);
  const basePath = pathname === '/' ? '' : pathname;
  const connected = new Map<string, { key: string; dispatcher: Promise<Dispatcher> }>();
  const owed = new Set<Owed>();
  const ways = createApiWays({
    probe: probeWay,
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
  const retiring = new Set<Dispatcher>();
  let resolving: Promise<ResolvedOptions> | undefined;
  let closed = false;

  /** Shared by simultaneous calls, so that they run an exec plugin once. */
  function resolveTlsAndAuth(): Promise<ResolvedOptions> {
    resolving ??= (async () => {
      try {
        const applied: RequestOptions = { headers: {} };
        await kubeConfig.applyToHTTPSOptions(applied);
        const { agent: _unused, timeout: _none, ...resolved } = applied;
        // client-node omits the CA for a context without a user.
        const ca = resolved.ca ?? caPem();
        return (ca === undefined ? resolved : { ...resolved, ca }) as ResolvedOptions;
      } finally {
        resolving = undefined;
      }
    })();
    return resolving;
  }

  async function connect(way: ApiWay): Promise<Connection> {
    const resolved = await resolveTlsAndAuth();
    const headers: Record<string, string> = { 'user-agent': userAgent };
    for (const [name, value] of Object.entries(resolved.headers ?? {})) {
      if (value !== undefined) headers[name.toLowerCase()] = String(value);
    }
    if (resolved.auth) headers.authorization = `Basic ${Buffer.from(resolved.auth).toString('base64')}`;
    const unverified = resolved.rejectUnauthorized === false || serverUrl.startsWith('http:');
    if (unverified && (headers.authorization !== undefined || resolved.key !== undefined)) {
      throw new Error(
        `credentials are not sent to ${serverUrl}, whose certificate would not be verified: use https and ` +
          'certificate-authority instead of insecure-skip-tls-verify in the kubeconfig',
      );
    }
    return {
      origin: way.address === undefined ? origin : `https://${way.address}`,
      dispatcher: await dispatcherFor(resolved, way),
      headers,
    };
  }

  async function dispatcherFor(resolved: ResolvedOptions, way: ApiWay): Promise<Dispatcher> {
    if (closed) throw new Error('the API client is closed');
    const hash = createHash('sha256');
    for (const part of [resolved.ca, resolved.cert, resolved.key, resolved.pfx, resolved.passphrase]) {
      hash.update(String(part ?? '')).update('\0');
    }
    const key = hash.digest('hex');
    const place = `${way.address ?? ''} ${way.serverName ?? ''}`;
    const before = connected.get(place);
    if (before?.key === key) return await before.dispatcher;
    // Remembered before it is ready, so that simultaneous calls share it.
    const made =
      way.address === undefined
        ? createDispatcher(kubeConfig, resolved, timeoutMs)
        : Promise.resolve(createVerifiedDispatcher(way, resolved, timeoutMs));
    const dispatcher: Promise<Dispatcher> = made.then((unfenced) => unfenced.compose(fenced));
    connected.set(place, { key, dispatcher });
    if (before) {
      log.info('credentials or CA of the API server changed; connecting anew', { server: way.address ?? serverUrl });
      retire(await before.dispatcher);
    }
    return await dispatcher;
  }

  /** Running streams end by themselves within minutes. New calls use the new connection. */
  function retire(dispatcher: Dispatcher) {
    retiring.add(dispatcher);
    // Waits one turn, so that a call which has just received it can still begin.
    setImmediate(() => {
      dispatcher
        .close()
        .catch(() => {})
        .finally(() => retiring.delete(dispatcher));
    });
  }

  /**
   * The kubeconfig of a proxy or gateway does not say how to reach its servers, and a system CA does not say whose they
   * are.
   */
  function mayUseOthers(): boolean {
    const now = kubeConfig.getCurrentCluster();
    return (
      caPem() !== undefined && !now?.skipTLSVerify && origin.startsWith('https:') && basePath === '' && !now?.proxyUrl
    );
  }

  /** Uses an idle persistent connection if there is one. A watch occupies its own connection. */
  async function probeWay(way: ApiWay, signal: AbortSignal): Promise<WayState> {
    const to = await connect(way);
    const { statusCode, body } = await to.dispatcher.request({
      origin: to.origin,
      path: `${way.address === undefined ? basePath : ''}/readyz`,
      method: 'GET',
      headers: to.headers,
      signal,
    });
    body.on('error', () => {});
    await body.dump();
    if (statusCode === 401 || statusCode === 403) return 'Refusing';
    return statusCode === 200 ? 'Ready' : 'Failing';
  }

  function caPem(): string | undefined {
    const now = kubeConfig.getCurrentCluster();
    return bufferFromFileOrString(now?.caFile, now?.caData)?.toString('utf8');
  }

  function fault(call: Call, reason: string, cause: unknown, way?: ApiWay): ApiError {
    const text = withoutNodeAdvice(cause instanceof Error ? cause.message : String(cause));
    const server = way?.address === undefined ? serverUrl : `https://${way.address}`;
    return new ApiError(
      `${call.method} ${server}${call.path}: ${text}`,
      { code: 0, reason, method: call.method, path: call.path },
      { cause },
    );
  }

  async function send(
    call: Call,
    way: ApiWay,
    signal: AbortSignal,
    streaming: boolean,
  ): Promise<Dispatcher.ResponseData> {
    const { origin: target, dispatcher, headers } = await connect(way);
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
    throw await readError(call, response);
  }

  async function readWhole(call: Call, pinned?: ApiWay): Promise<RawAnswer> {
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

  async function request<T>(call: Call): Promise<T> {
    return (await readJson<T>(call)).value;
  }

  async function readJson<T>(call: Call): Promise<{ readonly value: T; readonly bytes: number }> {
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
    call: Call,
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

  return {
    serverUrl,
    caPem,

    async get<T>(path: string, { query, signal }: CallOptions = {}) {
      try {
        return await request<T>({ method: 'GET', path, query, signal });
      } catch (error) {
        if (error instanceof ApiError && error.missing === 'Object') return undefined;
        throw error;
      }
    },

    async list<T>(path: string, { query, signal, pageSize = 500, metadataOnly, maxBytes }: ListOptions = {}) {
      const items: T[] = [];
      let bytes = 0;
      let token: string | undefined;
      for (;;) {
        const read = await readJson<ListPage<T>>({
          method: 'GET',
          path,
          query: { ...query, limit: pageSize, continue: token },
          signal,
          accept: metadataOnly ? metadataList : undefined,
          ...(maxBytes !== undefined && { maxBytes: maxBytes - bytes }),
        });
        const page: ListPage<T> = read.value;
        bytes += read.bytes;
        if (!page?.metadata || !(page.items == null || Array.isArray(page.items))) {
          throw fault({ method: 'GET', path }, 'Malformed', new Error('answer is not a list'));
        }
        for (const item of page.items ?? []) items.push(item);
        token = page.metadata.continue || undefined;
        if (!token) return { items, resourceVersion: page.metadata.resourceVersion ?? '', bytes };
      }
    },

    create: <T>(path: string, object: unknown, { query, signal, beforeSending }: CallOptions = {}) =>
      request<T>({ method: 'POST', path, query, signal, beforeSending, contentType: 'application/json', body: object }),

    apply: <T>(path: string, object: unknown, applyOptions: ApplyOptions) =>
      request<T>({
        method: 'PATCH',
        path: applyOptions.subresource ? `${path}/${applyOptions.subresource}` : path,
        query: {
          ...applyOptions.query,
          fieldManager: applyOptions.fieldManager,
          force: applyOptions.force ? true : undefined,
        },
        signal: applyOptions.signal,
        beforeSending: applyOptions.beforeSending,
        // JSON is valid YAML, and the only media type that every version accepts.
        contentType: 'application/apply-patch+yaml',
        body: object,
      }),

    patchMerge: <T>(path: string, patch: unknown, { query, signal, beforeSending }: CallOptions = {}) =>
      request<T>({
        method: 'PATCH',
        path,
        query,
        signal,
        beforeSending,
        contentType: 'application/merge-patch+json',
        body: patch,
      }),

    replace: <T>(path: string, object: unknown, { query, signal, beforeSending }: CallOptions = {}) =>
      request<T>({ method: 'PUT', path, query, signal, beforeSending, contentType: 'application/json', body: object }),

    async delete(path: string, { query, signal, beforeSending }: CallOptions = {}) {
      try {
        await request({ method: 'DELETE', path, query, signal, beforeSending });
        return true;
      } catch (error) {
        if (error instanceof ApiError && error.code === 404) return false;
        throw error;
      }
    },

    async requestStream(path: string, { query, signal }: CallOptions = {}) {
      const call: Call = { method: 'GET', path, query, signal };
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
    },

    read: (path, { query, signal, headers } = {}) =>
      readWhole({ method: 'GET', path, query, signal, headers, accept: '*/*' }),

    async readFrom(server, path, { query, signal, headers } = {}) {
      const call: Call = { method: 'GET', path, query, signal, headers, accept: '*/*' };
      if (!mayUseOthers()) {
        const why =
          "the kubeconfig names no CA, or it names a proxy or a path, so no server's certificate can be verified";
        throw fault(call, 'ConnectionFailed', new Error(why), server);
      }
      return await readWhole(call, server);
    },

    async credentials() {
      const resolved = await resolveTlsAndAuth();
      const authorization = Object.entries(resolved.headers ?? {}).find(([k]) => k.toLowerCase() === 'authorization');
      const token = /^Bearer (.+)$/s.exec(String(authorization?.[1] ?? ''))?.[1]?.trim();
      return {
        ...(token ? { token } : {}),
        ...(resolved.cert ? { certPem: String(resolved.cert) } : {}),
        ...(resolved.key ? { keyPem: String(resolved.key) } : {}),
      };
    },

    learnServers(servers) {
      if (!mayUseOthers()) return;
      // The kubeconfig's own server is not an alternative.
      const others = servers.filter(({ address }) => `https://${address}` !== origin);
      ways.learn(others, { shared: others.length === servers.length });
    },

    async close() {
      closed = true;
      ways.close();
      const all = [...retiring, ...(await Promise.all([...connected.values()].map(({ dispatcher }) => dispatcher)))];
      await Promise.all(all.map((dispatcher) => dispatcher.destroy().catch(() => {})));
    },
  };
}

/** A request that may have lost its right to be sent before a connection was there. */
interface FencedOptions extends Dispatcher.RequestOptions {
  readonly beforeSending: (() => void) | undefined;
}

/**
 * Lets a request begin only if its `beforeSending` does not throw at that moment, however long it waited for a
 * connection.
 */
const fenced: Dispatcher.DispatcherComposeInterceptor = (dispatch) => (options, handler) => {
  const { beforeSending } = options as Partial<FencedOptions>;
  return dispatch(options, beforeSending === undefined ? handler : new CheckingHandler(handler, beforeSending));
};

class CheckingHandler extends DecoratorHandler {
  readonly #handler: Dispatcher.DispatchHandler;
  readonly #check: () => void;

  constructor(handler: Dispatcher.DispatchHandler, check: () => void) {
    super(handler);
    this.#handler = handler;
    this.#check = check;
  }

  onRequestStart(controller: Dispatcher.DispatchController, context: unknown): void {
    this.#check();
    this.#handler.onRequestStart?.(controller, context);
  }
}

interface ListPage<T> {
  readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string };
  readonly items?: readonly T[] | null;
}

async function createDispatcher(
  kubeConfig: KubeConfig,
  resolved: ResolvedOptions,
  timeoutMs: number,
): Promise<Dispatcher> {
  const planned = kubeConfig.createDispatcherOptions(kubeConfig.getCurrentCluster(), resolved);
  const common = {
    allowH2: false,
    keepAliveTimeout: keepAliveMs,
    keepAliveMaxTimeout: keepAliveMs,
    connectTimeout: timeoutMs,
  };
  const encrypted = kubeConfig.getCurrentCluster()?.server.startsWith('https:') === true;
  const sets = encrypted && resolved.ca !== undefined ? anchorSets(String(resolved.ca)) : undefined;
  const connect = { keepAlive: true, keepAliveInitialDelay: 30_000, allowH2: false };
  switch (planned.type) {
    case 'proxy':
      return new ProxyAgent({
        ...common,
        uri: planned.uri,
        // `allowH2` is an option of undici's connector that its type for `requestTls` leaves out.
        requestTls: { ...planned.requestTls, ...sets?.[0], allowH2: false } as buildConnector.BuildOptions,
        connect,
      });
    case 'socks':
      return await dispatcherOfClientNode(kubeConfig);
    case 'agent':
      return new Agent({
        ...common,
        connect: connectBy(sets, { ...connect, ...planned.connect, timeout: timeoutMs } as buildConnector.BuildOptions),
      });
    case 'none':
      return new Agent({ ...common, connect });
  }
}

/**
 * Connects with the anchors of the kubeconfig's CA; without a CA, Node's own are trusted, as kubectl trusts the
 * system's.
 */
function connectBy(
  sets: ReturnType<typeof anchorSets> | undefined,
  options: buildConnector.BuildOptions,
): buildConnector.connector {
  if (sets === undefined) return buildConnector(options);
  const [first, ...others] = sets;
  const make = (anchors: AnchorOptions) => buildConnector({ ...options, ...anchors } as buildConnector.BuildOptions);
  const connectors = tryEach([make(first), ...others.map(make)]);
  return (target, callback) => {
    const open = (connect: buildConnector.connector) =>
      new Promise<Parameters<buildConnector.Callback>[1] & object>((resolve, reject) => {
        // On failure undici passes the error alone.
        connect(target, (...[error, socket]) => (error === null && socket ? resolve(socket) : reject(error)));
      });
    connectors(`${target.hostname}:${target.port}`, open).then(
      (socket) => callback(null, socket),
      (error: Error) => callback(error, null),
    );
  };
}

/**
 * Connects to a learned server. Its certificate is verified before the first byte of a request, and before a client
 * certificate is shown.
 */
function createVerifiedDispatcher(
  way: ApiWay,
  { ca, cert, key, passphrase }: ResolvedOptions,
  timeoutMs: number,
): Dispatcher {
  const { host, port } = parseAddress(way.address ?? '') ?? { host: '', port: 0 };
  const [first, ...rest] = anchorSets(String(ca));
  const by = (identity: SecureContextOptions) => {
    const make = (anchors: AnchorOptions) => createSecureContext({ ...anchors, ...identity });
    return tryEach([make(first), ...rest.map(make)]);
  };
  const anonymous = by({});
  const identified = key === undefined ? undefined : by({ cert, key: key as string, passphrase });
  const { serverName = '' } = way;
  return new Agent({
    // Without it, undici lets requests wait for the first connection's protocol.
    allowH2: false,
    keepAliveTimeout: keepAliveMs,
    keepAliveMaxTimeout: keepAliveMs,
    connect: (_options, done) => {
      openVerifiedConnection({ host, port, serverName, anonymous, identified, timeoutMs }).then(
        (socket) => done(null, socket),
        (error: Error) => done(error, null),
      );
    },
  });
}

/** SOCKS needs client-node's own connector, which is available only inside a dispatcher. */
async function dispatcherOfClientNode(kubeConfig: KubeConfig): Promise<Dispatcher> {
  let made: Dispatcher | undefined;
  const context = {
    setHeaderParam() {},
    setDispatcher(dispatcher: Dispatcher) {
      made = dispatcher;
    },
  };
  await kubeConfig.applySecurityAuthentication(
    context as unknown as Parameters<KubeConfig['applySecurityAuthentication']>[0],
  );
  if (!made) throw new Error('the SOCKS proxy of the kubeconfig cannot be used');
  return made;
}

function formatQuery(query: Query | undefined): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined) parameters.append(name, String(value));
  }
  const text = parameters.toString();
  return text && `?${text}`;
}

/** The whole body, or undefined if it is longer than `maxBytes`. */
async function readBounded(body: AsyncIterable<Uint8Array>, maxBytes: number): Promise<Buffer | undefined> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body) {
    length += chunk.length;
    if (length > maxBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}

async function readError(call: Call, response: Dispatcher.ResponseData): Promise<ApiError> {
  const body = await readBounded(response.body, 1024 * 1024).catch(() => undefined);
  const status = parseStatus(body);
  const text = status?.message ?? body?.toString('utf8', 0, 300).trim() ?? '';
  const code = response.statusCode;
  return new ApiError(`${call.method} ${call.path}: ${code} ${text.slice(0, 2000)}`, {
    code,
    reason: status?.reason || response.statusText || 'Unknown',
    method: call.method,
    path: call.path,
    retryAfterMs: parseRetryAfterMs(response.headers['retry-after'], status),
    status,
  });
}

function parseStatus(body: Buffer | undefined): StatusBody | undefined {
  try {
    const value: unknown = JSON.parse(body?.toString('utf8') ?? '');
    if (typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'Status') {
      return value as StatusBody;
    }
  } catch {
    // Plain text, as for unknown paths.
  }
  return undefined;
}

function parseRetryAfterMs(header: string | string[] | undefined, status: StatusBody | undefined): number | undefined {
  // Only the seconds form of RFC 9110, section 10.2.3: kube-apiserver sends no other.
  const text = Array.isArray(header) ? header[0] : header;
  const seconds = text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : status?.details?.retryAfterSeconds;
  return typeof seconds === 'number' && seconds >= 0 ? seconds * 1000 : undefined;
}
