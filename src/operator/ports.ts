import type { PeerDiscoveryStatus } from '../api/peer-discovery.ts';
import type { PeerDocuments, ProbeResult } from '../domain/assess-peer.ts';
import type { SchemaIndex } from '../domain/compare-schemas.ts';
import type { ApiServiceObject, CustomResourceDefinitionObject } from '../domain/custom-resources.ts';
import type { LeaseObject } from '../domain/identity-lease.ts';
import type { RoutingBundle } from '../domain/routing-table.ts';
import type { NodePool, SchemaOutline } from '../domain/schema-outline.ts';
import type { ServedVersion } from '../domain/served-version.ts';
import type { CertificatePair } from '../runtime/issue-certificate.ts';
import type { EndpointSliceObject, NodeObject, PodObject } from './gather-addresses.ts';

/** A failure that trying again does not mend: somebody has to change something, and the message says what. */
export class TerminalError extends Error {
  override readonly name = 'TerminalError';
  /** For a condition, in one CamelCase word. */
  readonly reason: string;
  constructor(reason: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** Outcome of reading a server's own discovery: whole, or not at all. */
export type FetchResult =
  | { readonly kind: 'fetched'; readonly documents: PeerDocuments }
  | { readonly kind: 'unchanged'; readonly documents: PeerDocuments }
  | { readonly kind: 'failed'; readonly reason: string; readonly message: string };

/** Talks to kube-apiservers whose certificates it has verified; it never throws for what a server does. */
export interface PeerClient {
  probe(address: string, signal: AbortSignal): Promise<ProbeResult>;
  fetchDiscovery(address: string, previous: PeerDocuments | undefined, signal: AbortSignal): Promise<FetchResult>;
  fetchVersion(address: string, signal: AbortSignal): Promise<ServedVersion | undefined>;
  /**
   * The hashes of its OpenAPI schemas; `previous` itself if it says that nothing changed, undefined if it gives none.
   */
  fetchSchemas(
    address: string,
    previous: SchemaIndex | undefined,
    signal: AbortSignal,
  ): Promise<SchemaIndex | undefined>;
  /**
   * What tells the fields of a group-version (`group/version`) apart; undefined if the server gives no such document,
   * or another one than that of this hash.
   */
  fetchOutline(
    address: string,
    groupVersion: string,
    hash: string,
    pool: NodePool,
    signal: AbortSignal,
  ): Promise<SchemaOutline | undefined>;
  /** True if the server itself merges its peers' discovery (upstream's Mixed Version Proxy). */
  detectPeerAggregation(address: string, documents: PeerDocuments, signal: AbortSignal): Promise<boolean | undefined>;
  /** Closes the connections to all other addresses, and forgets what it knew of those. */
  keepOnly(addresses: ReadonlySet<string>): void;
  close(): void;
}

/** A local copy of a set of objects that a watch keeps up to date. */
export interface WatchedSet<T> {
  items(): ReadonlyMap<string, T>;
  readonly synced: boolean;
  /** When the server last said anything of the set, in milliseconds of the clock. */
  readonly lastContactAtMs: number | undefined;
  readonly failing?: { readonly since: number; readonly message: string } | undefined;
}

/** What the API server that the operator uses says, each by a watch of its own. */
export interface ClusterSets {
  readonly leases: WatchedSet<LeaseObject>;
  readonly pods: WatchedSet<PodObject>;
  readonly nodes: WatchedSet<NodeObject>;
  readonly endpointSlices: WatchedSet<EndpointSliceObject>;
  readonly crds: WatchedSet<CustomResourceDefinitionObject>;
  readonly apiServices: WatchedSet<ApiServiceObject>;
}

/** Where the bundles of one PeerDiscovery are published; a bundle is swapped whole. */
export interface BundleStore {
  /**
   * What is published now: the highest revision that anything there tells of, and the bundle if it can be read whole.
   */
  read(): Promise<{ readonly revision: number; readonly bundle?: RoutingBundle }>;
  /** Undefined if published; else another writer was first, and nothing was changed. */
  publish(bundle: RoutingBundle): Promise<{ readonly overtakenBy: number | undefined } | undefined>;
  /**
   * Tells proxies that this revision would be published now, and which of their questions that answers; false, and
   * tells nobody, if it is no longer what is there.
   */
  confirm(revision: number, answers?: readonly string[]): Promise<boolean>;
}

/** Writes the status of one PeerDiscovery by server-side apply. */
export interface StatusWriter {
  write(status: PeerDiscoveryStatus): Promise<void>;
}

/** Says something to people, as a Kubernetes Event. */
export type RecordEvent = (type: 'Normal' | 'Warning', reason: string, message: string) => void;

/** Where a CA, and the certificates that it signs, are kept; a write makes what is missing. */
export interface CertificateStore {
  readAuthority(namespace: string): Promise<Authority | undefined>;
  writeAuthority(namespace: string, authority: Authority): Promise<void>;
  /** Puts the CA's certificates where clients of this namespace's servers may read them. */
  publishAuthority(namespace: string, bundle: string): Promise<void>;
  readServing(namespace: string, secret: string): Promise<CertificatePair | undefined>;
  writeServing(namespace: string, secret: string, pair: CertificatePair): Promise<void>;
  /** IP addresses and names of the control-plane Nodes. */
  readNodeAddresses(): Promise<readonly string[]>;
}

/** A CA's Secret: the pair that signs, the one that will, and the certificate of the one that did. */
export interface Authority {
  readonly signing: CertificatePair;
  readonly next?: CertificatePair;
  readonly previous?: string;
}
