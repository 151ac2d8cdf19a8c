import type { KubeConfig } from '@kubernetes/client-node';
import type { Log } from '../../runtime/log.ts';
import { type ApiCall, createApiCalls, type Query, type RawAnswer } from './api-calls.ts';
import { type ClientCredentials, createApiConnections } from './api-connections.ts';
import { ApiError } from './api-error.ts';
import type { ServerAddress } from './known-servers-file.ts';

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

/** A whole list. */
export interface ObjectList<T> {
  readonly items: readonly T[];
  readonly resourceVersion: string;
  /** Length of all pages together. */
  readonly bytes: number;
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

interface ListPage<T> {
  readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string };
  readonly items?: readonly T[] | null;
}

const metadataList = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json';

/**
 * A client over the kubeconfig's server and, once they are learned, the other servers of its cluster.
 *
 * It uses only HTTP/1.1, so that a stalled watch blocks only its own connection.
 */
export function createApiClient(kubeConfig: KubeConfig, options: ApiClientOptions): ApiClient {
  const { timeoutMs, log, userAgent = 'peerdiscovery', maxBodyBytes = 64 * 1024 * 1024 } = options;
  const connections = createApiConnections(kubeConfig, { timeoutMs, userAgent, log });
  const calls = createApiCalls(connections, { timeoutMs, maxBodyBytes, log });

  async function request<T>(call: ApiCall): Promise<T> {
    return (await calls.readJson<T>(call)).value;
  }

  return {
    serverUrl: connections.serverUrl,
    caPem: connections.caPem,
    credentials: connections.credentials,

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
        const read = await calls.readJson<ListPage<T>>({
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
          throw calls.fault({ method: 'GET', path }, 'Malformed', new Error('answer is not a list'));
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

    requestStream: (path, { query, signal } = {}) => calls.openStream({ method: 'GET', path, query, signal }),

    read: (path, { query, signal, headers } = {}) =>
      calls.readWhole({ method: 'GET', path, query, signal, headers, accept: '*/*' }),

    async readFrom(server, path, { query, signal, headers } = {}) {
      const call: ApiCall = { method: 'GET', path, query, signal, headers, accept: '*/*' };
      if (!connections.mayUseOthers()) {
        const why =
          "the kubeconfig names no CA, or it names a proxy or a path, so no server's certificate can be verified";
        throw calls.fault(call, 'ConnectionFailed', new Error(why), server);
      }
      return await calls.readWhole(call, server);
    },

    learnServers(servers) {
      if (!connections.mayUseOthers()) return;
      // The kubeconfig's own server is not an alternative.
      const others = servers.filter(({ address }) => `https://${address}` !== connections.origin);
      calls.learn(others, { shared: others.length === servers.length });
    },

    async close() {
      calls.close();
      await connections.close();
    },
  };
}
