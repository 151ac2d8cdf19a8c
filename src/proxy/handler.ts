import type { Duplex } from 'node:stream';
import type { RequestInfo } from '../domain/request-info.ts';
import { parseRequestInfo } from '../domain/request-info.ts';
import type { NotFoundRule, RouteDecision } from '../domain/route-request.ts';
import { routeRequest } from '../domain/route-request.ts';
import type { StatusError } from '../domain/status-error.ts';
import { buildStatus } from '../domain/status-error.ts';
import type { Log } from '../runtime/log.ts';
import type { Admission } from './admission.ts';
import type { Authenticate } from './authenticate.ts';
import type { Exchange } from './exchange.ts';
import type { Fleet, FleetPeer, FleetSnapshot } from './fleet.ts';
import type { ForwardEvents, ForwardTarget } from './forward.ts';
import { forward } from './forward.ts';
import { headerValue } from './headers.ts';
import type { PeerHealth } from './peer-health.ts';
import type { PeerFault, PeerTarget, PeerTransport, ProxyMetrics, Route, UnavailableReason } from './ports.ts';
import type { UnifiedDiscovery } from './unified-discovery.ts';
import { writeStatus } from './write-status.ts';

/** A request to switch protocols, and how to hand the client's side over. */
export interface UpgradeRequest {
  readonly protocol: string;
  accept(rawHeaders: readonly string[], peer: Duplex): void;
}

/** Everything that answering needs. */
export interface HandlerContext {
  readonly fleet: Fleet;
  readonly health: PeerHealth;
  readonly transport: PeerTransport;
  readonly discovery: UnifiedDiscovery;
  readonly metrics: ProxyMetrics;
  /** Tells the table's owner that the server at this address does not serve what the table says. */
  readonly reportBehind: (address: string) => void;
  readonly log: Log;
  readonly accessLog: boolean;
  readonly authenticate: Authenticate;
  readonly admission: Admission;
}

/** Answers one request. */
export interface RequestHandler {
  handle(exchange: Exchange, upgrade?: UpgradeRequest): void;
  /** Ends watches evenly over this time, so that clients resume elsewhere. */
  endLongRunning(graceMs: number, signal: AbortSignal): Promise<void>;
  inFlight(): number;
}

/** The one place where a request meets the table: parse, decide, answer. */
export function createHandler(context: HandlerContext): RequestHandler {
  const { fleet, metrics } = context;
  let inFlight = 0;
  let turn = 0;
  return {
    inFlight: () => inFlight,
    endLongRunning: (graceMs, signal) => context.admission.endLongRunning(graceMs, signal),
    handle: (exchange, upgrade) => {
      const startedAt = performance.now();
      const record: AccessRecord = { route: 'rejected', peer: '', code: 0, reason: '', failed: [] };
      let isLong = false;
      inFlight++;
      metrics.inFlight.inc();
      exchange.onClose(() => {
        inFlight--;
        metrics.inFlight.dec();
        if (!isLong) metrics.duration.observe({ route: record.route }, (performance.now() - startedAt) / 1000);
        if (context.accessLog) logAccess(context.log, exchange, record, performance.now() - startedAt);
      });
      const reject = (status: StatusError, why: UnavailableReason = 'other') => {
        if (status.code === 503) metrics.unavailable.inc({ reason: why });
        record.code = status.code;
        record.reason = status.message;
        writeStatus(exchange, status);
      };
      const authentication = context.authenticate(exchange);
      if (authentication.kind === 'refused') return reject(authentication.status);
      const { identity } = authentication;
      exchange.identity = identity;
      const parsed = parseRequestInfo(exchange.method, exchange.target);
      if (parsed.kind === 'bad') return reject(buildStatus(400, parsed.message));
      const { info } = parsed;
      isLong = upgrade !== undefined || isLongRunning(info);
      const over = context.admission.enter(exchange, isLong);
      if (over !== undefined) return reject(over);
      const snapshot = fleet.current();
      const home = fleet.homeOf(snapshot, exchange.connection);
      const homeAt = home === undefined ? undefined : snapshot.index?.peerAt(home.target.address);
      // What another proxy has routed here already is about this server alone.
      const routable = upgrade === undefined && !identity.alreadyRouted;
      const question = routable ? context.discovery.read(exchange, snapshot) : undefined;
      const decision = routeRequest(
        snapshot.index,
        info,
        {
          home: homeAt,
          usable: (peer) => fleet.usable(snapshot.peers[peer]),
          lastResort: (peer) => fleet.lastResort(snapshot.peers[peer]),
          tableTooOld: fleet.tableTooOld(),
        },
        question !== undefined,
      );
      if (decision.kind === 'unavailable')
        return reject(
          buildStatus(503, decision.message, decision.retryAfterSeconds, decision.reason),
          'no_capable_server',
        );
      if (identity.alreadyRouted && decision.kind === 'peer')
        return reject(buildStatus(503, routedAlready, 1), 'doubt');
      if (home === undefined && decision.kind !== 'peer')
        return reject(
          buildStatus(503, noHome(snapshot), 1),
          snapshot.bundle === undefined ? 'no_table' : 'no_ready_server',
        );
      const send = (targets: readonly ForwardTarget[]) => {
        const { method, hasBody } = exchange;
        const reads = (method === 'GET' || method === 'HEAD') && !hasBody;
        // An upgrade may run a command; only that to a watch is a read.
        const repeatable = reads && (upgrade === undefined || info.verb === 'watch');
        const plan = { targets, longRunning: isLong, repeatable, opaqueNotFound: isOpaque(info), upgrade };
        const request = { exchange, info, record, decision, home, startedAt, isLong };
        forward(exchange, plan, context.transport, createEvents(context, request, reject));
      };
      if (question !== undefined && decision.kind === 'discovery') {
        record.route = 'discovery';
        const answering = context.discovery.answer(exchange, question, {
          snapshot,
          homes: () => homesFor(fleet, snapshot, home),
          usable: (peer) => fleet.usable(peer),
          doubt: doubtOf(snapshot, fleet),
          onFault: (target, fault) => noteFault(context, target, fault),
          pass: (peers) =>
            send(peers.map((peer) => ({ peer, notFound: { kind: 'trust' }, peerProxied: peer !== home }))),
        });
        answering?.catch((error: unknown) => reject(buildStatus(500, `discovery failed: ${String(error)}`)));
        return;
      }
      record.route = decision.kind === 'peer' ? 'peer' : 'home';
      record.reason = explain(decision, identity.alreadyRouted);
      send(
        identity.alreadyRouted
          ? targetsOfRouted(home)
          : listTargets(fleet, snapshot, home, decision, exchange, info, turn++),
      );
    },
  };
}

interface AccessRecord {
  route: Route;
  peer: string;
  code: number;
  /** Why it went where it went, or was refused. */
  reason: string;
  /** Servers that were tried before, each with what was wrong. */
  readonly failed: string[];
}

/** What is known of a request while it is forwarded. */
interface ForwardedRequest {
  readonly exchange: Exchange;
  readonly info: RequestInfo;
  readonly record: AccessRecord;
  readonly decision: RouteDecision;
  readonly home: FleetPeer | undefined;
  readonly startedAt: number;
  readonly isLong: boolean;
}

function createEvents(
  context: HandlerContext,
  { exchange, info, record, decision, home, startedAt, isLong }: ForwardedRequest,
  reject: (status: StatusError, why?: UnavailableReason) => void,
): ForwardEvents {
  const { metrics, log, fleet } = context;
  let homeLacksIt = decision.kind === 'peer';
  return {
    reject: (status, why) => {
      record.route = 'rejected';
      reject(status, why);
    },
    onFault: ({ peer }, fault) => {
      record.failed.push(`${peer.target.id}: ${fault.kind}`);
      noteFault(context, peer.target, fault);
    },
    onShutdown: ({ peer }) => {
      record.failed.push(`${peer.target.id}: shutting down`);
      context.health.markDown(peer.target, 'it is shutting down');
    },
    onFailover: () => metrics.failovers.inc(),
    onTableBehind: ({ peer }) => {
      homeLacksIt = true;
      metrics.tableBehind.inc();
      const { id, address } = peer.target;
      log.warn('a kube-apiserver does not know a resource that the routing table says it serves', {
        peer: id,
        path: info.path,
      });
      context.reportBehind(address);
    },
    onHead: ({ peer, peerProxied }, status, waitedMs) => {
      record.peer = peer.target.id;
      record.code = status;
      if (!isLong) metrics.overhead.observe(Math.max(0, performance.now() - startedAt - waitedMs) / 1000);
      // Whoever answers stays: neither the next read of the resource nor the next request for home goes back in time.
      if (homeLacksIt) stick(exchange, info, peer);
      else if (decision.kind === 'home' && peer !== home) fleet.adoptHome(exchange.connection, peer);
      if (!peerProxied) return;
      record.route = 'peer';
      const { group, version, resource } = info;
      metrics.rerouted.inc({ code: String(status), group, version, resource });
    },
  };
}

function noteFault({ health, metrics }: HandlerContext, target: PeerTarget, fault: PeerFault): void {
  if (fault.kind === 'aborted' || fault.kind === 'request') return;
  metrics.peerErrors.inc({ type: fault.kind === 'address' ? 'endpoint_resolution' : 'proxy_transport' });
  if (fault.kind === 'saturated') return;
  health.markDown(target, fault.error.message);
}

/** Servers to try, best first; `turn` spreads what would else always go to the first of equals. */
function listTargets(
  fleet: Fleet,
  snapshot: FleetSnapshot,
  home: FleetPeer | undefined,
  decision: RouteDecision,
  exchange: Exchange,
  info: RequestInfo,
  turn: number,
): ForwardTarget[] {
  const listed: NotFoundRule = { kind: 'listed' };
  if (decision.kind === 'peer') {
    const peers = stickyFirst(rotate(peersOf(snapshot, decision.candidates), turn), exchange, info);
    if (peers[0] !== undefined) stick(exchange, info, peers[0]);
    return peers.map((peer) => ({ peer, notFound: listed, peerProxied: true }));
  }
  if (decision.kind !== 'home' || home === undefined) return [];
  const { notFound, instead } = decision;
  const first: ForwardTarget = { peer: home, notFound, peerProxied: false };
  // A stand-in for home is home for this request; only one that is chosen for what it serves is told not to route on.
  const others =
    instead === 'any'
      ? homesFor(fleet, snapshot, home).slice(1)
      : stickyFirst(rotate(peersOf(snapshot, instead), turn), exchange, info);
  return [first, ...others.map((peer) => ({ peer, notFound, peerProxied: instead !== 'any' }))];
}

const routedAlready = 'another proxy has sent the request here, and this server does not serve it';

/** Only home, and where that does not know the resource, nobody can tell here who does. */
function targetsOfRouted(home: FleetPeer | undefined): ForwardTarget[] {
  if (home === undefined) return [];
  return [{ peer: home, notFound: { kind: 'doubt', message: routedAlready }, peerProxied: true }];
}

function homesFor(fleet: Fleet, snapshot: FleetSnapshot, home: FleetPeer | undefined): FleetPeer[] {
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

/** The peer that this client connection was sent to before comes first, so that its reads do not go back in time. */
function stickyFirst(peers: FleetPeer[], { connection }: Exchange, info: RequestInfo): FleetPeer[] {
  const before = connection.sticky.get(stickyKey(info));
  const ordered = byLoad(peers);
  const at = before === undefined ? -1 : ordered.findIndex(({ target }) => target.address === before);
  if (at > 0) ordered.unshift(...ordered.splice(at, 1));
  return ordered;
}

function stick({ connection: { sticky } }: Exchange, info: RequestInfo, { target }: FleetPeer): void {
  if (!info.isResourceRequest) return;
  const key = stickyKey(info);
  if (sticky.size >= 1_000 && !sticky.has(key)) sticky.clear();
  sticky.set(key, target.address);
}

function stickyKey({ group, version, resource }: RequestInfo): string {
  return `${group}/${version}/${resource}`;
}

function doubtOf({ bundle }: FleetSnapshot, fleet: Fleet): string | undefined {
  if (bundle === undefined || fleet.tableTooOld()) return 'the routing table has not been confirmed for too long';
  return bundle.table.complete ? undefined : 'not every kube-apiserver is known well enough';
}

function noHome({ bundle }: FleetSnapshot): string {
  return bundle === undefined
    ? 'no routing table has been received yet and no home kube-apiserver is set'
    : 'no kube-apiserver is ready';
}

function isOpaque({ verb, subresource }: RequestInfo): boolean {
  return verb === 'proxy' || subresource === 'proxy';
}

/** As kube-apiserver: watches, and subresources that stream. Source: `BasicLongRunningRequestCheck`. */
function isLongRunning({ verb, subresource, isResourceRequest, path }: RequestInfo): boolean {
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
  if (decision.kind === 'peer') return 'home does not serve it';
  if (decision.kind !== 'home') return '';
  switch (decision.notFound.kind) {
    case 'listed':
      return 'home serves it';
    case 'trust':
      return 'for home, whatever it says';
    case 'doubt':
      return 'for home, but not its 404';
  }
}

function logAccess(log: Log, exchange: Exchange, record: AccessRecord, durationMs: number): void {
  const { method, target, protocol, connection, rawHeaders } = exchange;
  // Query strings may carry tokens of websocket clients; the path says enough.
  const queryAt = target.indexOf('?');
  log.info('request', {
    method,
    path: queryAt < 0 ? target : target.slice(0, queryAt),
    protocol,
    client: connection.remoteAddress,
    who: exchange.identity.who || 'unauthenticated',
    userAgent: headerValue(rawHeaders, 'user-agent') ?? '',
    auditId: headerValue(rawHeaders, 'audit-id') ?? '',
    route: record.route,
    peer: record.peer,
    code: record.code,
    ...(record.reason !== '' && { reason: record.reason }),
    ...(record.failed.length > 0 && { failed: record.failed.join(', ') }),
    durationMs: Math.round(durationMs * 10) / 10,
  });
}
