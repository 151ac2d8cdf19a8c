/**
 * The definition of a group-version: the server's own code, a CustomResourceDefinition, or an aggregated APIService.
 */
export type Origin = 'BuiltIn' | 'CustomResource' | 'Aggregated';

/** `Route` sends requests to capable peers; `Observe` sends all of them home and changes nothing for clients. */
export type Mode = 'Observe' | 'Route';

/**
 * What proxies do with a request that writes an object whose fields differ between servers: `Preserve` sends it to a
 * server that knows all fields, `Ignore` sends it home.
 */
export type FieldSkew = 'Preserve' | 'Ignore';

/**
 * The operator's verdict on a peer.
 *
 * - `Ready`: `/readyz` is ok and the discovery document is fresh.
 * - `NotReady`: alive, but starting or draining; it gets no new work.
 * - `Stale`: alive, but its discovery document is older than `staleAfter`.
 * - `Unreachable`: does not answer; its last good document is kept until `goneAfter`.
 * - `Unresolved`: its Lease is renewed, but no address is known.
 * - `Refused`: its address is forbidden or its certificate does not verify; no credential was sent.
 * - `Gone`: away for longer than `goneAfter`; nothing of it is kept.
 */
export type PeerState = 'Ready' | 'NotReady' | 'Stale' | 'Unreachable' | 'Unresolved' | 'Refused' | 'Gone';

/** True if a peer in this state may get new work. Draining and starting servers get none. */
export function takesWork(state: PeerState): boolean {
  return state === 'Ready' || state === 'Stale';
}

/** One kube-apiserver of the table. */
export interface TablePeer {
  /** Name of its identity Lease, or its address if its identity could not be proved. */
  readonly id: string;
  readonly hostname?: string;
  /** `host:port`; IPv6 hosts in brackets. Absent while unresolved. */
  readonly address?: string;
  /** `gitVersion` of the server, for people. */
  readonly version?: string;
  /** The version that the server emulates, such as `1.33`; absent if it serves the version of its program. */
  readonly emulatedVersion?: string;
  /** True if it has been away or has moved since it reported its version, so that it may have another one now. */
  readonly inDoubt?: boolean;
  readonly state: PeerState;
}

/** A reason why a live server may serve a resource that the table does not list. */
export interface Doubt {
  readonly peer: string;
  readonly reason: string;
  readonly message: string;
}

/** The peers of a resource or subresource: indexes into the table's `peers`, ascending. */
export type PeerSet = readonly number[];

/** The scope of objects: in namespaces, or in the cluster. */
export type Scope = 'Namespaced' | 'Cluster';

/** The ConfigMap of a table's head. Its shards are in others, whose names begin with this one and a hyphen. */
export interface TableLocation {
  readonly namespace: string;
  readonly name: string;
}

/** Servers that may write a resource whose fields not all servers know. */
export interface FieldWriters {
  /** They know all fields. */
  readonly writers: PeerSet;
  /** They may drop a field in the request. They write while no writer can. */
  readonly standIns: PeerSet;
}

/** One resource of a group-version. */
export interface TableResource {
  readonly resource: string;
  /** Absent if servers disagree, or report another scope. */
  readonly scope?: Scope;
  readonly peers: PeerSet;
  /**
   * The peers of `peers` that know all fields, if not all do; absent if all are alike. Empty if none knows all: then a
   * stand-in may drop stored fields, too.
   */
  readonly writers?: PeerSet;
  /**
   * The peers of `peers` that keep every stored field, but may drop one in the request. They write while no writer can.
   * Absent without `writers`.
   */
  readonly standIns?: PeerSet;
  /** Subresource name to the peers that serve it. */
  readonly subresources: Readonly<Record<string, PeerSet>>;
  /**
   * The writers of a subresource, if they differ from those of the resource: its body has another kind, or the server
   * also writes other objects. If nothing can be lost, all of its peers are writers.
   */
  readonly subresourceWriters?: Readonly<Record<string, FieldWriters>>;
}

/** One group-version of the table. */
export interface TableGroupVersion {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly origin: Origin;
  readonly resources: readonly TableResource[];
}

/**
 * Everything that a proxy needs to send a request to a server that can serve it.
 *
 * It is data, not authority: a proxy itself verifies every server's certificate and address.
 */
export interface RoutingTable {
  readonly apiVersion: 'peerdiscovery.dev/v1alpha1';
  readonly kind: 'RoutingTable';
  /** Name of its PeerDiscovery. */
  readonly owner: string;
  /** Where the operator stores it. Absent in a table of an older operator. */
  readonly location?: TableLocation;
  readonly mode: Mode;
  /** Absent in a table of an operator that does not compare fields. */
  readonly fieldSkew?: FieldSkew;
  /** Grows by one with every published change, even over restarts of the operator. */
  readonly revision: number;
  /** Name that every peer's certificate must have. */
  readonly serverName: string;
  /** True if every live peer's discovery is fresh, so that absence from the table means that no server serves it. */
  readonly complete: boolean;
  /** Empty if and only if `complete`. */
  readonly doubts: readonly Doubt[];
  readonly peers: readonly TablePeer[];
  readonly groupVersions: readonly TableGroupVersion[];
}

/** The unit of publication: the table and the unified documents of the same moment. */
export interface RoutingBundle {
  readonly table: RoutingTable;
  /**
   * Unified `/apis` as aggregated discovery v2, compact JSON exactly as kube-apiserver serves it, newline at its end.
   */
  readonly apis: string;
  /** ETag of `apis`: upper-case hex SHA-512, without quotes. */
  readonly apisEtag: string;
  /** Unified `/api` (the core group), in the same form. */
  readonly api: string;
  readonly apiEtag: string;
}
