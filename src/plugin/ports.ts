import type { PeerDiscovery } from '../api/peer-discovery.ts';
import type { RoutingBundle } from '../domain/routing-table.ts';

/** Something that a command cannot go on without; `cure` tells the user what to do about it. */
export class PluginError extends Error {
  override readonly name = 'PluginError';
  readonly cure: string;
  /** True if the API server does not let this user do it. */
  readonly refused: boolean;
  constructor(message: string, cure: string, options: ErrorOptions & { readonly refused?: boolean } = {}) {
    super(message, options);
    this.cure = cure;
    this.refused = options.refused ?? false;
  }
}

/** What a TLS connection to a kube-apiserver shows to somebody who sends no credential. */
export type ServerInspection =
  | {
      readonly kind: 'verified';
      readonly notAfter: number;
      /** Its clock minus ours, in milliseconds; its `Date` header has whole seconds. */
      readonly skewMs: number | undefined;
    }
  | { readonly kind: 'refused'; readonly message: string }
  | { readonly kind: 'unreachable'; readonly message: string };

/** Asks whether somebody may do something, in the terms of a SubjectAccessReview. */
export interface AccessQuestion {
  /** A ServiceAccount as `namespace:name`; the user of the kubeconfig if absent. */
  readonly serviceAccount?: string;
  readonly verb: string;
  readonly group?: string;
  readonly resource?: string;
  readonly subresource?: string;
  readonly namespace?: string;
  /** Of one object; for list and watch, as picked by a field selector. */
  readonly name?: string;
  readonly nonResourcePath?: string;
}

/** The operator's status page, or its data. */
export interface StatusPage {
  readonly contentType: string;
  /** The `Content-Security-Policy` that it is to be shown under. */
  readonly policy: string;
  readonly body: Uint8Array;
}

/** The cluster that a command is about. Every failure but "not there" is a `PluginError`. */
export interface Cluster {
  readonly serverUrl: string;
  /** Undefined if the object, or the whole resource, does not exist. */
  get<T>(path: string): Promise<T | undefined>;
  list<T>(path: string, labelSelector?: string): Promise<readonly T[]>;
  text(path: string): Promise<string>;
  /**
   * What one certain server answers, as the user of the kubeconfig; the credential goes to it once its certificate was
   * verified.
   */
  textOf(server: { readonly address: string; readonly serverName: string }, path: string): Promise<string>;
  may(question: AccessQuestion): Promise<boolean>;
  readBundle(location: {
    readonly namespace: string;
    readonly name: string;
  }): Promise<{ readonly ok: true; readonly bundle: RoutingBundle } | { readonly ok: false; readonly reason: string }>;
  /** Calls back with the object now and after every change, undefined while there is none, until the signal aborts. */
  watchObject(name: string, onChange: (object: PeerDiscovery | undefined) => void, signal: AbortSignal): Promise<void>;
  /** Reads the status page of the operator in a namespace, by the query of its URL. */
  statusPage(namespace: string): (search: string) => Promise<StatusPage>;
  inspectServer(address: string, serverName: string, caPem: string | undefined): Promise<ServerInspection>;
  close(): Promise<void>;
}

/** What the commands touch of the world. */
export interface PluginContext {
  connect(options: { readonly kubeconfig: string | undefined; readonly context: string | undefined }): Cluster;
  /** `-` is standard input. */
  readFile(path: string): Promise<string>;
  /** The same line by line, for files that do not fit into memory. */
  readLines(path: string): AsyncIterable<string>;
  /** Shows a page to this machine alone until the signal aborts; resolves to its address. Port 0 takes a free one. */
  serveDashboard(read: (search: string) => Promise<StatusPage>, port: number): Promise<string>;
  stdout(text: string): void;
  stderr(text: string): void;
  readonly color: boolean;
  /** Columns of the terminal; undefined where standard output is none. */
  readonly columns: number | undefined;
  /** Version of this program. */
  readonly version: string;
  now(): number;
  readonly signal: AbortSignal;
}
