import type { PeerDiscovery } from '../api/peer-discovery.ts';
import type { RoutingBundle } from '../domain/routing-table.ts';

/** An error that ends a command; `cure` tells the user what to do. */
export class PluginError extends Error {
  override readonly name = 'PluginError';
  readonly cure: string;
  /** True if the API server denies this user access. */
  readonly refused: boolean;
  constructor(message: string, cure: string, options: ErrorOptions & { readonly refused?: boolean } = {}) {
    super(message, options);
    this.cure = cure;
    this.refused = options.refused ?? false;
  }
}

/** The facts that a TLS connection without a credential shows about a kube-apiserver. */
export type ServerInspection =
  | {
      readonly kind: 'verified';
      readonly notAfter: number;
      /** Its clock minus this machine's, in milliseconds. Its `Date` header has whole seconds. */
      readonly skewMs: number | undefined;
    }
  | { readonly kind: 'refused'; readonly message: string }
  | { readonly kind: 'unreachable'; readonly message: string };

/** A question about a user's rights, in the terms of a SubjectAccessReview. */
export interface AccessQuestion {
  /** A ServiceAccount as `namespace:name`; the user of the kubeconfig if absent. */
  readonly serviceAccount?: string;
  readonly verb: string;
  readonly group?: string;
  readonly resource?: string;
  readonly subresource?: string;
  readonly namespace?: string;
  /** Set for one object; for list and watch, by a field selector. */
  readonly name?: string;
  readonly nonResourcePath?: string;
}

/** The operator's status page, or the page's data. */
export interface StatusPage {
  readonly contentType: string;
  /** The `Content-Security-Policy` for showing it. */
  readonly policy: string;
  readonly body: Uint8Array;
}

/** The cluster that a command works on. Every failure except "not found" is a `PluginError`. */
export interface Cluster {
  readonly serverUrl: string;
  /** Undefined if the object, or the whole resource, does not exist. */
  get<T>(path: string): Promise<T | undefined>;
  list<T>(path: string, labelSelector?: string): Promise<readonly T[]>;
  text(path: string): Promise<string>;
  /**
   * This server's answer to the user of the kubeconfig. It sends the credential only after verifying the server's
   * certificate.
   */
  textOf(server: { readonly address: string; readonly serverName: string }, path: string): Promise<string>;
  may(question: AccessQuestion): Promise<boolean>;
  readBundle(location: {
    readonly namespace: string;
    readonly name: string;
  }): Promise<{ readonly ok: true; readonly bundle: RoutingBundle } | { readonly ok: false; readonly reason: string }>;
  /**
   * Calls back with the present object and after every change, until the signal aborts. The object is undefined while
   * there is none.
   */
  watchObject(name: string, onChange: (object: PeerDiscovery | undefined) => void, signal: AbortSignal): Promise<void>;
  /** Returns a reader of the operator's status page in a namespace; `search` is the query of the URL. */
  statusPage(namespace: string): (search: string) => Promise<StatusPage>;
  inspectServer(address: string, serverName: string, caPem: string | undefined): Promise<ServerInspection>;
  close(): Promise<void>;
}

/** The outside world of the commands. */
export interface PluginContext {
  connect(options: { readonly kubeconfig: string | undefined; readonly context: string | undefined }): Cluster;
  /** `-` is standard input. */
  readFile(path: string): Promise<string>;
  /** The same, line by line, for files that do not fit into memory. */
  readLines(path: string): AsyncIterable<string>;
  /** Serves a page on this machine only, until the signal aborts. Resolves to its address. Port 0 picks a free one. */
  serveDashboard(read: (search: string) => Promise<StatusPage>, port: number): Promise<string>;
  stdout(text: string): void;
  stderr(text: string): void;
  readonly color: boolean;
  /** Columns of the terminal; undefined if standard output is not one. */
  readonly columns: number | undefined;
  /** Version of this program. */
  readonly version: string;
  now(): number;
  readonly signal: AbortSignal;
}
