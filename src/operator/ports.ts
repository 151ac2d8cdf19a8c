import type { PeerDiscoveryStatus } from '../api/peer-discovery.ts';
import type { PeerDocuments, ProbeResult } from '../domain/assess-peer.ts';
import type { SchemaIndex } from '../domain/compare-schemas.ts';
import type { ApiServiceObject, CustomResourceDefinitionObject } from '../domain/custom-resources.ts';
import type { LeaseObject } from '../domain/identity-lease.ts';
import type { RoutingBundle } from '../domain/routing-table.ts';
import type { NodePool, SchemaOutline } from '../domain/schema-outline.ts';
import type { ServedVersion } from '../domain/served-version.ts';
import type { CertificatePair } from '../runtime/issue-certificate.ts';
import type { AddressObjects } from './gather-addresses.ts';

/** A failure for which trying again does not help. The message says what to change. */
export class TerminalError extends Error {
  override readonly name = 'TerminalError';
  /** Reason for a condition, in one CamelCase word. */
  readonly reason: string;
  constructor(reason: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** The outcome of reading a server's own discovery: complete, or a failure. */
export type FetchResult =
  | { readonly kind: 'fetched'; readonly documents: PeerDocuments }
  | { readonly kind: 'unchanged'; readonly documents: PeerDocuments }
  | { readonly kind: 'failed'; readonly reason: string; readonly message: string };

/** Talks to kube-apiservers whose certificates it has verified. It never throws because of a server's behaviour. */
export interface PeerClient {
  probe(address: string, signal: AbortSignal): Promise<ProbeResult>;
  fetchDiscovery(address: string, previous: PeerDocuments | undefined, signal: AbortSignal): Promise<FetchResult>;
  fetchVersion(address: string, signal: AbortSignal): Promise<ServedVersion | undefined>;
  /**
   * The hashes of its OpenAPI schemas. Returns `previous` itself if nothing changed, and undefined if the server gives
   * none.
   */
  fetchSchemas(
    address: string,
    previous: SchemaIndex | undefined,
    signal: AbortSignal,
  ): Promise<SchemaIndex | undefined>;
  /**
   * The outline of a group-version's schemas (`group/version`). Undefined if the server has no such document, or one
   * with another hash.
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
  /** Closes the connections to all other addresses, and forgets everything about them. */
  keepOnly(addresses: ReadonlySet<string>): void;
  close(): void;
}

/** A local copy of a set of objects, kept current by a watch. */
export interface WatchedSet<T> {
  items(): ReadonlyMap<string, T>;
  readonly synced: boolean;
  /** When the server last reported anything about the set, in milliseconds of the clock. */
  readonly lastContactAtMs: number | undefined;
  readonly failing?: { readonly since: number; readonly message: string } | undefined;
}

/** The objects that contain addresses. */
export type AddressSets = { readonly [Name in keyof AddressObjects]: WatchedSet<AddressObjects[Name]> };

/** The objects in the API server that the operator uses, each kind by its own watch. */
export interface ClusterSets extends AddressSets {
  readonly leases: WatchedSet<LeaseObject>;
  readonly crds: WatchedSet<CustomResourceDefinitionObject>;
  readonly apiServices: WatchedSet<ApiServiceObject>;
}

/** Where one PeerDiscovery's bundles are published. A bundle is replaced as a whole. */
export interface BundleStore {
  /** Reads the published state: the highest revision in any of its objects, and the bundle if it is complete. */
  read(): Promise<{ readonly revision: number; readonly bundle?: RoutingBundle }>;
  /** Resolves to undefined if published. Otherwise another writer was first, and nothing changed. */
  publish(bundle: RoutingBundle): Promise<{ readonly overtakenBy: number | undefined } | undefined>;
  /**
   * Confirms to proxies that this revision would be published now, and answers these questions. Resolves to false,
   * without confirming, if the revision is no longer there.
   */
  confirm(revision: number, answers?: readonly string[]): Promise<boolean>;
}

/** The reason why nothing more will happen until somebody changes something. */
export interface Standstill {
  /** One CamelCase word. */
  readonly reason: string;
  readonly message: string;
}

/** Why leadership can be neither won nor kept now. */
export type ElectionTrouble = 'NamespaceMissing' | 'Forbidden' | 'Unreachable' | 'Failed';

/** An invalid spec that is newer than the one in use. */
export interface SpecRefusal extends Standstill {
  readonly generation: number;
}

/** Writes the status of one PeerDiscovery by server-side apply. */
export interface StatusWriter {
  write(status: PeerDiscoveryStatus): Promise<void>;
}

/** Records a Kubernetes Event. */
export type RecordEvent = (type: 'Normal' | 'Warning', reason: string, message: string) => void;

/** Where a CA and its certificates are stored. A write creates what is missing. */
export interface CertificateStore {
  readAuthority(namespace: string): Promise<Authority | undefined>;
  writeAuthority(namespace: string, authority: Authority): Promise<void>;
  /** Publishes the CA's certificates where clients of this namespace's servers may read them. */
  publishAuthority(namespace: string, bundle: string): Promise<void>;
  readServing(namespace: string, secret: string): Promise<CertificatePair | undefined>;
  writeServing(namespace: string, secret: string, pair: CertificatePair): Promise<void>;
  /** IP addresses and names of the control-plane Nodes. */
  readNodeAddresses(): Promise<readonly string[]>;
}

/** A CA's Secret: the pair that signs, the next pair, and the previous certificate. */
export interface Authority {
  readonly signing: CertificatePair;
  readonly next?: CertificatePair;
  readonly previous?: string;
}

/** A Secret of type `kubernetes.io/tls` to keep, and the names that its certificate contains. */
export interface WantedCertificate {
  readonly namespace: string;
  readonly secret: string;
  /** DNS names, IP addresses, or `control-plane-nodes` for the addresses of all control-plane Nodes. */
  readonly names: readonly string[];
}
