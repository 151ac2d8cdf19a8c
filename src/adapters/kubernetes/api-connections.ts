import { createHash } from 'node:crypto';
import type { RequestOptions } from 'node:https';
import { bufferFromFileOrString, type KubeConfig } from '@kubernetes/client-node';
import type { Dispatcher } from 'undici';
import type { Log } from '../../runtime/log.ts';
import { createDispatcher, createVerifiedDispatcher, fenced, type ResolvedOptions } from './api-dispatchers.ts';
import type { ApiWay, WayState } from './api-ways.ts';

/** The client's credential. Servers get it only after their certificate was verified. */
export interface ClientCredentials {
  readonly token?: string;
  readonly certPem?: string;
  readonly keyPem?: string;
}

/** Where the next request goes, and the headers that carry the credential. */
export interface ApiConnection {
  readonly origin: string;
  readonly dispatcher: Dispatcher;
  readonly headers: Record<string, string>;
}

/** The connections of one client, by server, credential and CA. */
export interface ApiConnections {
  /** URL of the kubeconfig's server, without a slash at its end. */
  readonly serverUrl: string;
  /** Origin of that URL. */
  readonly origin: string;
  /** Path of that URL, which every request to it begins with; empty if there is none. */
  readonly basePath: string;
  /**
   * The connections to one server, with the present credential.
   * @throws Error if the credential would go to a server whose certificate would not be verified.
   */
  connect(way: ApiWay): Promise<ApiConnection>;
  /** Asks one server whether it is ready. Uses an idle persistent connection if there is one. */
  probe(way: ApiWay, signal: AbortSignal): Promise<WayState>;
  /**
   * False if servers other than the kubeconfig's own cannot be verified. The kubeconfig of a proxy or gateway does not
   * say how to reach its servers, and a system CA does not say whose they are.
   */
  mayUseOthers(): boolean;
  /** The CA bundle of the kubeconfig, read again; undefined if it names none. */
  caPem(): string | undefined;
  /** The current credentials, read again as the kubeconfig says (token file, exec plugin, files of a key pair). */
  credentials(): Promise<ClientCredentials>;
  /** Closes all connections; running calls fail. */
  close(): Promise<void>;
}

/**
 * Uses one dispatcher per credential and CA, so that calls share connections. client-node itself creates a dispatcher,
 * and so a TLS connection, for each request.
 */
export function createApiConnections(
  kubeConfig: KubeConfig,
  options: { readonly timeoutMs: number; readonly userAgent: string; readonly log: Log },
): ApiConnections {
  const { timeoutMs, userAgent, log } = options;
  const cluster = kubeConfig.getCurrentCluster();
  if (!cluster)
    throw new Error('the kubeconfig has no current cluster: set its current-context to one that it defines');
  const serverUrl = cluster.server.replace(/\/+$/, '');
  const { origin, pathname } = new URL(serverUrl);
  const basePath = pathname === '/' ? '' : pathname;
  const connected = new Map<string, { key: string; dispatcher: Promise<Dispatcher> }>();
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

  async function connect(way: ApiWay): Promise<ApiConnection> {
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

  function mayUseOthers(): boolean {
    const now = kubeConfig.getCurrentCluster();
    return (
      caPem() !== undefined && !now?.skipTLSVerify && origin.startsWith('https:') && basePath === '' && !now?.proxyUrl
    );
  }

  async function probe(way: ApiWay, signal: AbortSignal): Promise<WayState> {
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

  async function credentials(): Promise<ClientCredentials> {
    const resolved = await resolveTlsAndAuth();
    const authorization = Object.entries(resolved.headers ?? {}).find(([k]) => k.toLowerCase() === 'authorization');
    const token = /^Bearer (.+)$/s.exec(String(authorization?.[1] ?? ''))?.[1]?.trim();
    return {
      ...(token ? { token } : {}),
      ...(resolved.cert ? { certPem: String(resolved.cert) } : {}),
      ...(resolved.key ? { keyPem: String(resolved.key) } : {}),
    };
  }

  return {
    serverUrl,
    origin,
    basePath,
    connect,
    probe,
    mayUseOthers,
    caPem,
    credentials,
    async close() {
      closed = true;
      const all = [...retiring, ...(await Promise.all([...connected.values()].map(({ dispatcher }) => dispatcher)))];
      await Promise.all(all.map((dispatcher) => dispatcher.destroy().catch(() => {})));
    },
  };
}
