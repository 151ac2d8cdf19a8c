import { isStream, type RequestInfo } from './request-info.ts';
import { type PeerSet, type Scope, type TableLocation, takesWork } from './routing-table.ts';
import type { TableIndex, WriteRule } from './table-index.ts';

/** The proxy's knowledge at the moment of a request, besides the table. */
export interface RouteView {
  /** Index of the home server in the table; undefined if the table does not list it or there is none. */
  readonly home: number | undefined;
  /** True if the table calls the peer Ready or Stale and this proxy has seen no fault of it. */
  usable(peer: number): boolean;
  /** True if a peer that is not usable is worth a try before a 503. */
  lastResort(peer: number): boolean;
  /** True if another proxy has already chosen this server. */
  readonly alreadyRouted: boolean;
  /** True if the table has not been confirmed for so long that an absence proves nothing. */
  readonly tableTooOld: boolean;
}

/**
 * How to treat a server's 404 that says that it does not know the resource.
 *
 * - `trust`: every live server was read and none has it, so the answer stands.
 * - `listed`: the table says that the server has it; try the others that have it, else 503.
 * - `doubt`: nobody can tell; 503 with `message`.
 */
export type NotFoundRule =
  | { readonly kind: 'trust' }
  | { readonly kind: 'listed' }
  | { readonly kind: 'doubt'; readonly message: string };

/** Where a request goes. Indexes are into the table's peers. */
export type RouteDecision =
  | {
      readonly kind: 'home';
      readonly notFound: NotFoundRule;
      /** The permitted stand-ins for home: `any` ready peer, or only these. */
      readonly instead: 'any' | PeerSet;
      readonly fields?: FieldRoute;
    }
  | {
      readonly kind: 'peer';
      readonly notFound: NotFoundRule;
      readonly candidates: PeerSet;
      /** Set if home serves the resource, but does not know all of its fields. */
      readonly fields?: FieldRoute;
    }
  | { readonly kind: 'discovery' }
  | { readonly kind: 'unavailable'; readonly message: string; readonly retryAfterSeconds: number };

/**
 * The route of a request that must lose no field.
 *
 * - `writer`: to a server that knows all fields.
 * - `standIn`: no such server can take it now; to one that keeps stored fields, but may drop fields in the request.
 * - `lossy`: no server of the resource knows all fields; to one that may even drop stored fields.
 */
export type FieldRoute = 'writer' | 'standIn' | 'lossy';

/** `Retry-After` of a 503 that may be over at once. */
const soonSeconds = 1;
/**
 * `Retry-After` while the operator reports that every server that could take the request is away. It restarts, which
 * takes half a minute and more. client-go tries 10 times, and would give up after 10 s.
 */
const restartSeconds = 5;

const trust: Readonly<NotFoundRule> = { kind: 'trust' };
const listed: Readonly<NotFoundRule> = { kind: 'listed' };
const homeTrusted: Readonly<RouteDecision> = { kind: 'home', notFound: trust, instead: 'any' };
const homeNoTable: Readonly<RouteDecision> = {
  kind: 'home',
  notFound: {
    kind: 'doubt',
    message: 'this proxy has no routing table yet, so it does not know what other servers serve',
  },
  instead: 'any',
};

/**
 * Decides where a request goes: home if home serves it, else to a peer that does, and never to a wrong 404.
 *
 * `discovery` means that the request asks for a document about all servers.
 */
export function routeRequest(
  index: TableIndex | undefined,
  info: RequestInfo,
  view: RouteView,
  { discovery }: { readonly discovery: boolean },
): RouteDecision {
  if (index === undefined) return homeNoTable;
  if (index.table.mode === 'Observe') return homeTrusted;
  if (discovery) return { kind: 'discovery' };
  if (!info.isResourceRequest) return routeNonResource(index, info.path, view);
  // `RequestInfo` ignores these slashes, but no server serves such a path, so it is matched unchanged.
  if (info.path.startsWith('//')) return unlisted(index, view);
  const row = index.resource(info.group, info.version, info.resource, info.subresource);
  if (row === undefined || row.peers.length === 0) return unlisted(index, view);
  const notFound = isMisplaced(info, row.scope) ? unlistedNotFound(index, view) : listed;
  const mayLose = mayLoseFields(info) && !isOfTable(index.table.location, info);
  if (row.fields !== undefined && !view.alreadyRouted && mayLose)
    return routeByFields(index, row.peers, row.fields, view, describe(info), notFound);
  return routeListed(index, row.peers, view, describe(info), notFound);
}

/**
 * True if the request writes an object, or reads one that the client may write back.
 *
 * Subresources that stream write nothing, whatever their verb.
 */
function mayLoseFields({ verb, subresource }: RequestInfo): boolean {
  switch (verb) {
    case 'create':
    case 'update':
    case 'patch':
    case 'delete':
    case 'deletecollection':
    case 'get':
      return !isStream(subresource);
    default:
      return false;
  }
}

/**
 * True if the request is for a ConfigMap of the table. The operator sets only fields in it that every server knows.
 *
 * If such a request waited for a server that knows all fields, an operator behind the proxy could not publish which
 * server that is. A create names no object, so every create in the namespace counts. It cannot lose a stored field.
 */
function isOfTable(location: TableLocation | undefined, info: RequestInfo): boolean {
  const { group, version, namespace, resource, verb, name } = info;
  if (location === undefined || group !== '' || version !== 'v1' || resource !== 'configmaps') return false;
  if (namespace !== location.namespace) return false;
  return verb === 'create' || name === location.name || name.startsWith(`${location.name}-`);
}

/** `/apis/<group>`, `/apis/<group>/<version>` and `/api/<version>` are about a server's APIs. Other paths go home. */
function routeNonResource(index: TableIndex, path: string, view: RouteView): RouteDecision {
  const [, prefix, first, second] = path.split('/', 4);
  if (prefix === 'apis' && first !== undefined && first !== '') {
    const whole = second === undefined || second === '';
    const serving = whole ? index.group(first) : index.groupVersion(first, second);
    const what = whole ? first : `${first}/${second}`;
    return serving === undefined ? unlisted(index, view) : routeListed(index, serving, view, what, listed);
  }
  return homeTrusted;
}

/**
 * True if no server has this path, although some serve the resource: an object of a namespaced resource without its
 * namespace, or of a cluster-scoped one in a namespace.
 *
 * Without a namespace, a namespaced resource can be listed and watched. Other requests get 404 for
 * CustomResourceDefinitions, and 405 or 404 for built-in resources.
 */
export function isMisplaced({ namespace, resource, verb }: RequestInfo, scope: Scope | undefined): boolean {
  if (scope === 'Namespaced') return namespace === '' && verb !== 'list' && verb !== 'watch';
  // A Namespace's own name stands where other paths have the object's namespace.
  return scope === 'Cluster' && namespace !== '' && resource !== 'namespaces';
}

function unlisted(index: TableIndex, view: RouteView): RouteDecision {
  return { kind: 'home', notFound: unlistedNotFound(index, view), instead: 'any' };
}

function unlistedNotFound(index: TableIndex, view: RouteView): NotFoundRule {
  const { table, doubts } = index;
  const isCertain = table.complete && doubts.length === 0;
  if (isCertain && !view.tableTooOld) return trust;
  const message = isCertain
    ? 'the routing table has not been confirmed for too long'
    : `not every kube-apiserver is known well enough: ${doubts.map(({ peer, message }) => (peer === '' ? message : `${peer}: ${message}`)).join('; ')}`;
  return { kind: 'doubt', message };
}

function routeListed(
  index: TableIndex,
  serving: PeerSet,
  view: RouteView,
  what: string,
  notFound: NotFoundRule,
): RouteDecision {
  const { home } = view;
  const others = serving.filter((peer) => peer !== home);
  const well = others.filter((peer) => view.usable(peer));
  // A 503 here is never wrong, but a peer that lost one idle connection may be able to answer.
  const capable = well.length > 0 ? well : others.filter((peer) => view.lastResort(peer));
  if (home !== undefined ? serving.includes(home) : everyLivePeerServes(index, serving))
    return { kind: 'home', notFound, instead: capable };
  if (capable.length > 0) return { kind: 'peer', notFound, candidates: capable };
  if (serving.length === 0) {
    return unavailable(`no kube-apiserver can tell now what ${what} has: the server of that API does not answer`);
  }
  return untilBack(`no kube-apiserver that serves ${what} can take requests now`, index, serving);
}

function routeByFields(
  index: TableIndex,
  serving: PeerSet,
  { writers: best, standIns, harmless }: WriteRule,
  view: RouteView,
  what: string,
  notFound: NotFoundRule,
): RouteDecision {
  // A server that was away may have come back as another version.
  const certain = (peers: PeerSet) =>
    peers.filter((peer) => serving.includes(peer) && index.table.peers[peer]?.inDoubt !== true);
  const writers = certain(best);
  const toWriter = chooseAmong(writers, view.usable, view, notFound, 'writer');
  if (toWriter !== undefined) return toWriter;
  const stored = harmless ? serving : certain(standIns);
  const instead: FieldRoute = best.length === 0 ? 'lossy' : 'standIn';
  const route =
    chooseAmong(stored, view.usable, view, notFound, instead) ??
    chooseAmong(writers, view.lastResort, view, notFound, 'writer') ??
    chooseAmong(stored, view.lastResort, view, notFound, instead);
  const message = `no kube-apiserver that knows all fields of ${what} can take requests now`;
  return route ?? untilBack(message, index, best.length > 0 ? best : serving);
}

/** Sends to one of these servers, preferably home. */
function chooseAmong(
  peers: PeerSet,
  isThere: (peer: number) => boolean,
  view: RouteView,
  notFound: NotFoundRule,
  fields: FieldRoute,
): RouteDecision | undefined {
  const { home } = view;
  const others = peers.filter((peer) => peer !== home);
  const candidates = others.filter(isThere);
  if (home !== undefined && peers.includes(home)) {
    // Home itself may be a last resort and fail. Then one of the others is worth a try before a 503.
    const instead = candidates.length > 0 ? candidates : others.filter((peer) => view.lastResort(peer));
    return { kind: 'home', notFound, instead, fields };
  }
  return candidates.length > 0 ? { kind: 'peer', notFound, candidates, fields } : undefined;
}

/** Only one of these servers could take the request. */
function untilBack(message: string, { table }: TableIndex, peers: PeerSet): RouteDecision {
  const states = peers.map((peer) => table.peers[peer] ?? { id: `peer ${peer}`, state: 'Unresolved' as const });
  const said = states.map(({ id, state, inDoubt }) => {
    if (!takesWork(state)) return `${id} is ${state}`;
    return `${id} is ${inDoubt === true ? 'not known well enough since its return' : 'not answering this proxy'}`;
  });
  return unavailable(
    `${message}: ${said.join(', ')}`,
    states.some(({ state }) => takesWork(state)) ? soonSeconds : restartSeconds,
  );
}

function unavailable(message: string, retryAfterSeconds = soonSeconds): RouteDecision {
  return { kind: 'unavailable', message, retryAfterSeconds };
}

/** A home that the table does not list (for example a loopback address) is one of its peers under another name. */
function everyLivePeerServes(index: TableIndex, serving: PeerSet): boolean {
  return index.table.peers.every(
    ({ state }, peer) => state === 'Gone' || state === 'Refused' || serving.includes(peer),
  );
}

function describe({ group, version, resource, subresource }: RequestInfo): string {
  return `${resource}${subresource === '' ? '' : `/${subresource}`} of ${group === '' ? version : `${group}/${version}`}`;
}
