import { isProxied, type RequestInfo } from '../../domain/request-info.ts';
import { type FieldRoute, type NotFoundRule, type RouteDecision, routeRequest } from '../../domain/route-request.ts';
import type { PeerSet } from '../../domain/routing-table.ts';
import { buildStatus, type StatusError } from '../../domain/status-error.ts';
import type { Route, UnavailableReason } from '../ports.ts';
import type { Fleet, FleetPeer, FleetSnapshot } from '../servers/fleet.ts';

/** One server to try. */
export interface ForwardTarget {
  readonly peer: FleetPeer;
  readonly notFound: NotFoundRule;
  /** True for a server that is not the client's home. */
  readonly peerProxied: boolean;
}

/** The facts about a request, and about the servers when it arrived. */
export interface PlanFacts {
  readonly info: RequestInfo;
  readonly snapshot: FleetSnapshot;
  readonly home: FleetPeer | undefined;
  /** True if another proxy has routed it here, so that it is about this server alone. */
  readonly alreadyRouted: boolean;
  /** True if it asks for a document about all servers. */
  readonly isDiscovery: boolean;
  /** True if it asks for a document about all servers, but there is no table. */
  readonly needsTable: boolean;
  /** The resources that this client connection has read, each with the address of its server. */
  readonly sticky: ReadonlyMap<string, string>;
}

/** The servers as this proxy sees them now. */
export type PlanView = Pick<Fleet, 'usable' | 'lastResort' | 'tableTooOld'>;

/** The destination of a request. */
export interface RoutePlan {
  readonly kind: 'forward';
  readonly route: Route;
  readonly first: ForwardTarget | undefined;
  /**
   * The servers to try after that. They are computed when the first one fails, so that servers that have failed
   * meanwhile are excluded.
   */
  others(): readonly ForwardTarget[];
  /**
   * The later requests of the client that go to the server that answers this one: all those for `home`, those for the
   * same `resource`, or none.
   */
  readonly binds: 'home' | 'resource' | undefined;
  readonly fields: FieldRoute | undefined;
  /** For the access log. */
  readonly reason: string;
}

/** The decision about a request. */
export type RequestPlan =
  | RoutePlan
  | { readonly kind: 'discovery' }
  | { readonly kind: 'refuse'; readonly status: StatusError; readonly why: UnavailableReason };

/**
 * Decides what to do with a request, from known facts only: it asks no server.
 *
 * `nextTurn` increments a counter, so that equal servers are chosen in turn. That is its only effect. `others()` of the
 * plan reads the servers again when it is called.
 */
export function planRequest(facts: PlanFacts, fleet: PlanView, nextTurn: () => number): RequestPlan {
  const { info, snapshot, home, alreadyRouted } = facts;
  if (facts.needsTable)
    return refuse('this proxy has no routing table yet, so it does not know what is served', 'no_table');
  const view = {
    home: home === undefined ? undefined : snapshot.index?.peerAt(home.target.address),
    usable: (peer: number) => fleet.usable(snapshot.peers[peer]),
    lastResort: (peer: number) => fleet.lastResort(snapshot.peers[peer]),
    alreadyRouted,
    tableTooOld: fleet.tableTooOld(),
  };
  const decision = routeRequest(snapshot.index, info, view, { discovery: facts.isDiscovery });
  if (decision.kind === 'unavailable') return refuse(decision.message, 'no_capable_server', decision.retryAfterSeconds);
  if (alreadyRouted && decision.kind === 'peer') return refuse(routedAlready, 'doubt');
  if (home === undefined && decision.kind !== 'peer')
    return refuse(noHome(snapshot), snapshot.bundle === undefined ? 'no_table' : 'no_ready_server');
  if (decision.kind === 'discovery') return { kind: 'discovery' };
  const about = { kind: 'forward', fields: decision.fields, reason: explain(decision, alreadyRouted) } as const;
  if (decision.kind === 'peer') {
    const [first, ...others] = targetsFor(facts, nextTurn, decision.candidates, decision.notFound);
    return { ...about, route: 'peer', first, others: () => others, binds: 'resource' };
  }
  if (alreadyRouted)
    return { ...about, route: 'home', first: home && targetOfRouted(home, decision), others: () => [], binds: 'home' };
  const { notFound, instead } = decision;
  const first = home && { peer: home, notFound, peerProxied: false };
  return {
    ...about,
    route: 'home',
    first,
    others: () => standIns(facts, fleet, nextTurn, { notFound, instead }),
    binds: 'home',
  };
}

/** Passes a request for a document of servers on to the first of these that can take it. */
export function planPass(peers: readonly FleetPeer[], home: FleetPeer | undefined): RoutePlan {
  const trust: NotFoundRule = { kind: 'trust' };
  const [first, ...others] = peers.map((peer) => ({ peer, notFound: trust, peerProxied: peer !== home }));
  return {
    kind: 'forward',
    route: 'discovery',
    first,
    others: () => others,
    binds: undefined,
    fields: undefined,
    reason: '',
  };
}

function refuse(message: string, why: UnavailableReason, retryAfterSeconds = 1): RequestPlan {
  return { kind: 'refuse', status: buildStatus(503, message, retryAfterSeconds), why };
}

/** The stand-ins for home. */
function standIns(
  facts: PlanFacts,
  fleet: PlanView,
  nextTurn: () => number,
  { notFound, instead }: { readonly notFound: NotFoundRule; readonly instead: 'any' | PeerSet },
): ForwardTarget[] {
  // A stand-in for home acts as home for this request. Only a server that is chosen for its resource is told not to
  // route the request again.
  if (instead !== 'any') return targetsFor(facts, nextTurn, instead, notFound);
  const others = homesFor(fleet, facts.snapshot, facts.home).slice(1);
  return others.map((peer) => ({ peer, notFound, peerProxied: false }));
}

/** Rotates among equal servers, but puts the one first that this connection used before. */
function targetsFor(
  { snapshot, info, sticky }: PlanFacts,
  nextTurn: () => number,
  candidates: PeerSet,
  notFound: NotFoundRule,
): ForwardTarget[] {
  const peers = rotate(peersOf(snapshot, candidates), nextTurn());
  return stickyFirst(peers, sticky.get(stickyKey(info))).map((peer) => ({ peer, notFound, peerProxied: true }));
}

/** True if servers pass the request on to an aggregated server, for a resource or for discovery. */
function isAggregated({ isResourceRequest, group, version, path }: RequestInfo, { index }: FleetSnapshot): boolean {
  if (isResourceRequest) return index?.isAggregated(group, version) === true;
  const [, inGroup = '', inVersion = ''] = /^\/(?:openapi\/v3\/)?apis\/([^/]+)\/([^/]+)\/?$/.exec(path) ?? [];
  return index?.isAggregated(inGroup, inVersion) === true;
}

/** True if a backend of the server answers. */
export function isAnsweredByBackend(info: RequestInfo, snapshot: FleetSnapshot): boolean {
  return isProxied(info) || isAggregated(info, snapshot);
}

/** As `NewWarningHeader` in `pkg/util/net/http.go` of k8s.io/apimachinery writes it; the table names the resource. */
export function warnOfFields(
  fields: FieldRoute | undefined,
  { group, version, resource }: RequestInfo,
): string | undefined {
  const what = `${resource} of ${group === '' ? version : `${group}/${version}`}`;
  switch (fields) {
    case 'standIn':
      return (
        `299 - "no kube-apiserver that accepts every field of ${what} can take requests now: any field of the request ` +
        'that only those accept was dropped"'
      );
    case 'lossy':
      return (
        `299 - "no kube-apiserver that serves ${what} knows all of its fields: any field that only ` +
        'others know was dropped from the object"'
      );
    default:
      return undefined;
  }
}

const routedAlready = 'another proxy has sent the request here, and this server does not serve it';

/** Only home answers. If home does not know the resource, the proxy cannot tell here which server does. */
function targetOfRouted(peer: FleetPeer, decision: RouteDecision): ForwardTarget {
  const isListed = decision.kind === 'home' && decision.notFound.kind === 'listed';
  const notFound: NotFoundRule = isListed ? decision.notFound : { kind: 'doubt', message: routedAlready };
  return { peer, notFound, peerProxied: true };
}

export function homesFor(
  fleet: Pick<Fleet, 'usable'>,
  snapshot: FleetSnapshot,
  home: FleetPeer | undefined,
): FleetPeer[] {
  if (home === undefined) return [];
  const others = snapshot.peers.filter((peer) => fleet.usable(peer) && peer.target.address !== home.target.address);
  return [home, ...byLoad(others.flatMap((peer) => (peer === undefined ? [] : [peer])))];
}

function peersOf(snapshot: FleetSnapshot, indexes: readonly number[]): FleetPeer[] {
  return indexes.flatMap((at) => snapshot.peers[at] ?? []);
}

function rotate(peers: FleetPeer[], turn: number): FleetPeer[] {
  const at = peers.length < 2 ? 0 : turn % peers.length;
  return at === 0 ? peers : [...peers.slice(at), ...peers.slice(0, at)];
}

function byLoad(peers: FleetPeer[]): FleetPeer[] {
  return peers.length < 2 ? peers : peers.sort((a, b) => a.load.inFlight - b.load.inFlight);
}

/** The peer that served this client connection before comes first, so that its reads do not go back in time. */
function stickyFirst(peers: FleetPeer[], before: string | undefined): FleetPeer[] {
  const ordered = byLoad(peers);
  const at = ordered.findIndex(({ target }) => target.address === before);
  if (at > 0) ordered.unshift(...ordered.splice(at, 1));
  return ordered;
}

function noHome({ bundle }: FleetSnapshot): string {
  return bundle === undefined
    ? 'this proxy has no routing table yet, and no --home is set'
    : 'no kube-apiserver is ready';
}

/** Like kube-apiserver: watches, and subresources that stream. Source: `BasicLongRunningRequestCheck`. */
export function isLongRunning({ verb, subresource, isResourceRequest, path }: RequestInfo): boolean {
  if (verb === 'watch' || verb === 'proxy') return true;
  switch (subresource) {
    case 'attach':
    case 'exec':
    case 'log':
    case 'proxy':
    case 'portforward':
      return true;
    default:
      return !isResourceRequest && path.startsWith('/debug/pprof/');
  }
}

function explain(decision: RouteDecision, alreadyRouted: boolean): string {
  if (alreadyRouted) return 'another proxy has routed it here';
  if (decision.kind === 'peer')
    return decision.fields === undefined ? 'home does not serve it' : 'home does not know all of its fields';
  if (decision.kind !== 'home') return '';
  switch (decision.notFound.kind) {
    case 'listed':
      return 'home serves it';
    case 'trust':
      return 'for home, whatever it answers';
    case 'doubt':
      return 'for home, but not its 404';
  }
}

/** The key by which a connection keeps requests on one server. */
export function stickyKey({ group, version, resource }: RequestInfo): string {
  return `${group}/${version}/${resource}`;
}
