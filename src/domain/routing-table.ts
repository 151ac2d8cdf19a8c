/** Who defines a group-version: the server's own code, a CustomResourceDefinition, or an aggregated APIService. */
export type Origin = 'BuiltIn' | 'CustomResource' | 'Aggregated';

/** `Route` sends requests to capable peers; `Observe` sends all of them home and changes nothing for clients. */
export type Mode = 'Observe' | 'Route';

/**
 * What proxies do with a request that writes an object of which servers know different fields: `Preserve` sends it to
 * one that knows them all, `Ignore` sends it home.
 */
export type FieldSkew = 'Preserve' | 'Ignore';

/**
 * What the operator knows of a peer.
 *
 * - `Ready`: `/readyz` is ok and the discovery document is fresh.
 * - `NotReady`: alive but starting or draining; it gets no new work.
 * - `Stale`: alive, but its discovery document is older than `staleAfter`.
 * - `Unreachable`: does not answer; its last good document is kept until `goneAfter`.
 * - `Unresolved`: its Lease is renewed but no address is known.
 * - `Refused`: its address is forbidden or its certificate does not verify; no credential was sent.
 * - `Gone`: dead for longer than `goneAfter`; nothing of it is kept.
 */
export type PeerState = 'Ready' | 'NotReady' | 'Stale' | 'Unreachable' | 'Unresolved' | 'Refused' | 'Gone';

/** One kube-apiserver of the table. */
export interface TablePeer {
  /** Name of its identity Lease, or its address if its identity could not be proved. */
  readonly id: string;
  readonly hostname?: string;
  /** `host:port`; IPv6 hosts in brackets. Absent while unresolved. */
  readonly address?: string;
  /** `gitVersion` of the server, for people. */
  readonly version?: string;
  /** The version that the server emulates, such as `1.33`; absent where it serves that of its program. */
  readonly emulatedVersion?: string;
  /** True if it has been away or has moved since it said which version it is, so that it may be another one now. */
  readonly inDoubt?: boolean;
  readonly state: PeerState;
}

/** Why the table cannot rule out that some live server serves a resource that it does not list. */
export interface Doubt {
  readonly peer: string;
  readonly reason: string;
  readonly message: string;
}

/** Who serves a resource or subresource: indexes into the table's `peers`, ascending. */
export type PeerSet = readonly number[];

/** Where objects are: in namespaces, or beside them. */
export type Scope = 'Namespaced' | 'Cluster';

/** The ConfigMap of a table; its shards are in others, whose names begin with this one and a hyphen. */
export interface TableLocation {
  readonly namespace: string;
  readonly name: string;
}

/** Servers that may write what not all of them know in the same way. */
export interface FieldWriters {
  /** They know all fields. */
  readonly writers: PeerSet;
  /** They may drop a field that a request brings; they write while no writer can. */
  readonly standIns: PeerSet;
}

/** One resource of a group-version. */
export interface TableResource {
  readonly resource: string;
  /** Absent if servers disagree, or report something else. */
  readonly scope?: Scope;
  readonly peers: PeerSet;
  /**
   * Those of `peers` that know all fields, where not all do; absent where all are alike. Empty where none knows all:
   * then a stand-in may drop stored fields too.
   */
  readonly writers?: PeerSet;
  /**
   * Those of `peers` that keep every stored field but may drop one that a request brings; they may write while no
   * writer can. Absent where there are no `writers`.
   */
  readonly standIns?: PeerSet;
  /** Subresource name to the peers that serve it. */
  readonly subresources: Readonly<Record<string, PeerSet>>;
  /**
   * Who may write a subresource, where that is not as for the resource: its body is of another kind, or the server
   * writes other objects with it. All of its peers are writers where nothing can be lost.
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
 * Everything that a proxy needs to send a request to an apiserver that can serve it.
 *
 * It is data, not authority: a proxy verifies every server's certificate and address itself.
 */
export interface RoutingTable {
  readonly apiVersion: 'peerdiscovery.dev/v1alpha1';
  readonly kind: 'RoutingTable';
  /** Name of the PeerDiscovery that it was made from. */
  readonly owner: string;
  /** Where the operator keeps it. Absent in a table of an older operator. */
  readonly location?: TableLocation;
  readonly mode: Mode;
  /** Absent in a table of an operator that compares no fields. */
  readonly fieldSkew?: FieldSkew;
  /** Grows by one with every published change, also over restarts of the operator. */
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

/** What is published as one unit: the table and the unified documents of the same moment. */
export interface RoutingBundle {
  readonly table: RoutingTable;
  /**
   * Unified `/apis` as aggregated discovery v2, compact JSON exactly as kube-apiserver serves it, newline at its end.
   */
  readonly apis: string;
  /** ETag of `apis`: upper-case hex SHA-512, without quotes. */
  readonly apisEtag: string;
  /** Unified `/api` (the core group), the same way. */
  readonly api: string;
  readonly apiEtag: string;
}
