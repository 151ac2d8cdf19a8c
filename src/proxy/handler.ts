import type { RequestInfo } from '../domain/request-info.ts';
import { isProxied, parseRequestInfo } from '../domain/request-info.ts';
import type { FieldRoute, NotFoundRule, RouteDecision } from '../domain/route-request.ts';
import { routeRequest } from '../domain/route-request.ts';
import type { PeerSet } from '../domain/routing-table.ts';
import type { StatusError } from '../domain/status-error.ts';
import { buildStatus } from '../domain/status-error.ts';
import type { Fault } from '../http/client/dispatch.ts';
import { headerValue } from '../http/fields.ts';
import type { UpgradeRequest } from '../http/server/front-options.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { Admission } from './admission.ts';
import { askServed } from './ask-served.ts';
import type { Authenticate } from './authenticate.ts';
import type { Exchange, HomeFields } from './exchange.ts';
import type { Fleet, FleetPeer, FleetSnapshot } from './fleet.ts';
import type { ForwardEvents, ForwardedExchange, ForwardTarget } from './forward.ts';
import { forward } from './forward.ts';
import type { WatchLeveller } from './level-watches.ts';
import { ownFields } from './own-fields.ts';
import type { PeerHealth } from './peer-health.ts';
import type { PeerTarget, PeerTransport, ProxyMetrics, Route, UnavailableReason } from './ports.ts';
import { RunningRequest } from './running-requests.ts';
import type { DiscoveryQuestion, UnifiedDiscovery } from './unified-discovery.ts';
import { writeStatus } from './write-status.ts';

/** Everything that answering needs. */
export interface HandlerContext {
  readonly fleet: Fleet;
  readonly health: PeerHealth;
  readonly transport: PeerTransport;
  readonly clock: Clock;
  readonly discovery: UnifiedDiscovery;
  readonly homeFields: HomeFields;
  readonly metrics: ProxyMetrics;
  /** Tells the table's owner that the server at this address does not serve what the table says. */
  readonly reportBehind: (address: string) => void;
  readonly log: Log;
  readonly accessLog: boolean;
  readonly authenticate: Authenticate;
  readonly admission: Admission;
  readonly leveller: WatchLeveller;
}

/** Answers one request. */
export interface RequestHandler {
  handle(exchange: Exchange, upgrade?: UpgradeRequest): void;
  /** Answers with a Status what must not be handled. */
  refuse(exchange: Exchange, status: StatusError): void;
  /** Ends watches evenly over this time, so that clients resume elsewhere. */
  endLongRunning(graceMs: number, signal: AbortSignal): Promise<void>;
  inFlight(): number;
}

/** The one place where a request meets the table: parse, decide, answer. */
export function createHandler(context: HandlerContext): RequestHandler {
  const counts = { inFlight: 0, turn: 0 };
  return {
    inFlight: () => counts.inFlight,
    refuse: (exchange, status) => {
      context.admission.refuse(exchange);
      writeOwn(context, exchange, () => writeStatus(exchange, status));
    },
    endLongRunning: (graceMs, signal) => context.admission.endLongRunning(graceMs, signal),
    handle: (exchange, upgrade) => new Answering(context, counts, exchange, upgrade).answer(),
  };
}

/** One request from its head to the end of its answer, and what the access log says about it. */
class Answering implements ForwardEvents {
  readonly #context: HandlerContext;
  readonly #counts: { inFlight: number; turn: number };
  readonly #exchange: Exchange;
  readonly #upgrade: UpgradeRequest | undefined;
  readonly #startedAt = performance.now();
  #isLong = false;
  #admitted: RunningRequest | undefined;
  #forwarded: ForwardedExchange | undefined;
  #info: RequestInfo | undefined;
  #home: FleetPeer | undefined;
  /** True if something behind a server answers. */
  #isBehind = false;
  /** True if later requests for the resource must go to the server that answers this one. */
  #homeLacksIt = false;
  /** True if a server other than home would be a stand-in for home. */
  #isForHome = false;
  #route: Route = 'rejected';
  #fields: FieldRoute | undefined;
  #peer = '';
  #code = 0;
  /** The server's audit id, for a client that sent none. */
  #auditId = '';
  /** Why it went where it went, or was refused. */
  #reason = '';
  /** Servers that were tried before, each with what was wrong. */
  #failed: string[] | undefined;

  constructor(
    context: HandlerContext,
    counts: { inFlight: number; turn: number },
    exchange: Exchange,
    upgrade: UpgradeRequest | undefined,
  ) {
    this.#context = context;
    this.#counts = counts;
    this.#exchange = exchange;
    this.#upgrade = upgrade;
    counts.inFlight++;
    exchange.onClose((complete) => this.#onClose(complete));
  }

  answer(): void {
    const { homeFields } = this.#context;
    const exchange = this.#exchange;
    exchange.connection.homeFields ??= homeFields;
    const learning = exchange.method === 'OPTIONS' ? homeFields.learn(exchange) : undefined;
    if (exchange.method !== 'OPTIONS') this.#answer();
    else if (learning === undefined) this.#answerOptions();
    else
      learning.then(
        () => this.#answerOptions(),
        () => this.#answer(),
      );
  }

  /** Answers a CORS preflight before anything else, as kube-apiserver does. Source: `WithCORS`. */
  #answerOptions(): void {
    const exchange = this.#exchange;
    if (!this.#context.homeFields.allowsOrigin(exchange)) {
      this.#answer();
      return;
    }
    this.#context.admission.refuse(exchange);
    this.#code = 204;
    this.#reason = 'home allows the origin';
    exchange.respond(204, ['Cache-Control', 'no-cache, private', ...ownFields(exchange)]);
    exchange.end();
  }

  #answer(): void {
    const { fleet, admission, authenticate, discovery } = this.#context;
    const exchange = this.#exchange;
    const authentication = authenticate(exchange);
    if (authentication.kind === 'refused') {
      this.#refuse(authentication.status);
      return;
    }
    const { identity } = authentication;
    exchange.identity = identity;
    const parsed = parseRequestInfo(exchange.method, exchange.target);
    if (parsed.kind === 'bad') {
      this.#refuse(buildStatus(400, parsed.message));
      return;
    }
    const { info } = parsed;
    this.#info = info;
    this.#isLong = this.#upgrade !== undefined || isLongRunning(info);
    const admitted = admission.enter(exchange, this.#isLong);
    if (!(admitted instanceof RunningRequest)) {
      this.#refuse(admitted);
      return;
    }
    this.#admitted = admitted;
    const snapshot = fleet.current();
    const home = fleet.homeOf(snapshot, exchange.connection, info.verb === 'watch');
    this.#home = home;
    this.#isBehind = isProxied(info) || isAggregated(info, snapshot);
    // What another proxy has routed here already is about this server alone.
    const routable = this.#upgrade === undefined && !identity.alreadyRouted;
    if (routable && snapshot.bundle === undefined && discovery.isUnified(exchange)) {
      this.#refuse(
        buildStatus(503, 'no routing table has been received yet, so what is served is unknown', 1),
        'no_table',
      );
      return;
    }
    const question = routable ? discovery.read(exchange, snapshot) : undefined;
    const view = {
      home: home === undefined ? undefined : snapshot.index?.peerAt(home.target.address),
      usable: (peer: number) => fleet.usable(snapshot.peers[peer]),
      lastResort: (peer: number) => fleet.lastResort(snapshot.peers[peer]),
      alreadyRouted: identity.alreadyRouted,
      tableTooOld: fleet.tableTooOld(),
    };
    const decision = routeRequest(snapshot.index, info, view, question !== undefined);
    if (decision.kind === 'unavailable') {
      this.#refuse(
        buildStatus(503, decision.message, decision.retryAfterSeconds, decision.reason),
        'no_capable_server',
      );
      return;
    }
    if (identity.alreadyRouted && decision.kind === 'peer') {
      this.#refuse(buildStatus(503, routedAlready, 1), 'doubt');
      return;
    }
    if (home === undefined && decision.kind !== 'peer') {
      this.#refuse(
        buildStatus(503, noHome(snapshot), 1),
        snapshot.bundle === undefined ? 'no_table' : 'no_ready_server',
      );
      return;
    }
    if (question !== undefined && decision.kind === 'discovery') {
      this.#answerDiscovery(question, snapshot);
      return;
    }
    this.#isForHome = decision.kind === 'home';
    this.#homeLacksIt = decision.kind === 'peer';
    this.#route = decision.kind === 'peer' ? 'peer' : 'home';
    if (decision.kind !== 'discovery') this.#fields = decision.fields;
    if (this.#context.accessLog) this.#reason = explain(decision, identity.alreadyRouted);
    if (identity.alreadyRouted) this.#forward(home === undefined ? undefined : targetOfRouted(home, decision), none);
    else if (decision.kind === 'peer') {
      const [first, ...others] = this.#targetsFor(decision.candidates, decision.notFound, snapshot);
      if (first !== undefined) stick(exchange, info, first.peer);
      this.#forward(first, () => others);
    } else if (decision.kind === 'home' && home !== undefined) {
      const { notFound, instead } = decision;
      const first = { peer: home, notFound, peerProxied: false };
      this.#forward(first, () => this.#standIns(snapshot, home, notFound, instead));
    }
  }

  /** Who may stand in for home: asked for when home fails, so that what has failed meanwhile is not among them. */
  #standIns(
    snapshot: FleetSnapshot,
    home: FleetPeer,
    notFound: NotFoundRule,
    instead: 'any' | PeerSet,
  ): ForwardTarget[] {
    // A stand-in for home is home for this request; only one that is chosen for what it serves is told not to route on.
    if (instead !== 'any') return this.#targetsFor(instead, notFound, snapshot);
    const others = homesFor(this.#context.fleet, snapshot, home).slice(1);
    return others.map((peer) => ({ peer, notFound, peerProxied: false }));
  }

  /** Rotates among equals, but puts the server first that this connection used before. */
  #targetsFor(candidates: PeerSet, notFound: NotFoundRule, snapshot: FleetSnapshot): ForwardTarget[] {
    const info = this.#info;
    if (info === undefined) return [];
    const peers = stickyFirst(rotate(peersOf(snapshot, candidates), this.#counts.turn++), this.#exchange, info);
    return peers.map((peer) => ({ peer, notFound, peerProxied: true }));
  }

  #answerDiscovery(question: DiscoveryQuestion, snapshot: FleetSnapshot): void {
    const { fleet, discovery } = this.#context;
    const home = this.#home;
    this.#route = 'discovery';
    const answering = discovery.answer(this.#exchange, question, {
      snapshot,
      homes: () => homesFor(fleet, snapshot, home),
      usable: (peer) => fleet.usable(peer),
      doubt: doubtOf(snapshot, fleet),
      onFault: (target, fault) => noteFault(this.#context, target, fault, !this.#isBehind || !fault.sent),
      knowsItsUsers: ({ address }) => this.#context.health.isWell(address),
      pass: (peers) => {
        const [first, ...others] = peers.map((peer) => ({ peer, notFound: trust, peerProxied: peer !== home }));
        this.#forward(first, () => others);
      },
    });
    answering?.catch((error: unknown) => this.#refuse(buildStatus(500, `discovery failed: ${String(error)}`)));
  }

  #forward(first: ForwardTarget | undefined, others: () => readonly ForwardTarget[]): void {
    const exchange = this.#exchange;
    const info = this.#info;
    const upgrade = this.#upgrade;
    if (info === undefined) return;
    const { transport } = this.#context;
    const { method } = exchange;
    const reads = (method === 'GET' || method === 'HEAD') && !exchange.hasBody;
    const plan = {
      first,
      others,
      longRunning: this.#isLong,
      // An upgrade may run a command; only that to a watch is a read.
      repeatable: reads && (upgrade === undefined || info.verb === 'watch'),
      opaqueNotFound: isProxied(info),
      isBehind: this.#isBehind,
      warning: info.verb === 'get' ? undefined : warnOfFields(this.#fields, info),
      askServed: ({ target }: FleetPeer) => askServed(this.#context, target, exchange, info),
      upgrade,
    };
    this.#forwarded = forward(exchange, plan, transport, this);
  }

  #refuse(status: StatusError, why: UnavailableReason = 'other'): void {
    if (status.code === 503) this.#context.metrics.unavailable.inc({ reason: why });
    this.#code = status.code;
    this.#reason = status.message;
    if (this.#admitted === undefined) this.#context.admission.refuse(this.#exchange);
    else this.#context.admission.noteRefusal(this.#admitted);
    writeOwn(this.#context, this.#exchange, () => writeStatus(this.#exchange, status));
  }

  reject(status: StatusError, why?: UnavailableReason): void {
    this.#route = 'rejected';
    this.#refuse(status, why);
  }

  onFault({ peer }: ForwardTarget, fault: Fault, isServers: boolean): void {
    this.#noteFailed(peer, fault.kind);
    noteFault(this.#context, peer.target, fault, isServers);
  }

  knowsItsUsers({ peer }: ForwardTarget): boolean {
    return this.#context.health.isWell(peer.target.address);
  }

  onShutdown({ peer }: ForwardTarget): void {
    this.#noteFailed(peer, 'shutting down');
    const { health } = this.#context;
    if (this.#isBehind) health.doubt(peer.target.address);
    else health.markDown(peer.target, 'it is shutting down');
  }

  onDefect(error: unknown): void {
    this.#context.log.error('an answer could not be passed on', {
      error: error instanceof Error ? error.stack : String(error),
    });
  }

  #noteFailed({ target }: FleetPeer, what: string): void {
    this.#failed ??= [];
    this.#failed.push(`${target.id}: ${what}`);
  }

  onFailover(): void {
    this.#context.metrics.failovers.inc();
  }

  onTableBehind({ peer }: ForwardTarget): void {
    const { metrics, log, reportBehind } = this.#context;
    this.#homeLacksIt = true;
    metrics.tableBehind.inc();
    const { id, address } = peer.target;
    log.warn('a kube-apiserver does not know a resource that the routing table says it serves', {
      peer: id,
      path: this.#info?.path,
    });
    reportBehind(address);
  }

  onHead({ peer, peerProxied }: ForwardTarget, status: number, rawHeaders: readonly string[], waitedMs: number): void {
    const { metrics, fleet, accessLog } = this.#context;
    const info = this.#info;
    if (info === undefined) return;
    this.#peer = peer.target.id;
    this.#code = status;
    if (this.#admitted !== undefined)
      this.#context.admission.noteAnswer(this.#admitted, status, rawHeaders, this.#isBehind);
    if (accessLog) this.#auditId = headerValue(rawHeaders, 'audit-id') ?? '';
    if (!this.#isLong) metrics.overhead.observe(Math.max(0, performance.now() - this.#startedAt - waitedMs) / 1000);
    // Whoever answers stays: neither the next read of the resource nor the next request for home goes back in time.
    if (this.#homeLacksIt) stick(this.#exchange, info, peer);
    else if (this.#isForHome && peer !== this.#home) fleet.adoptHome(this.#exchange.connection, peer);
    if (this.#isForHome && info.verb === 'watch' && status === 200 && this.#upgrade === undefined)
      this.#context.leveller.begin(this.#exchange, peer.target.address);
    if (!peerProxied) return;
    this.#route = 'peer';
    const { group, version, resource } = info;
    metrics.rerouted.inc({ code: String(status), group, version, resource });
    if (this.#fields !== undefined && info.verb !== 'get') metrics.fieldWrites.inc({ group, version, resource });
  }

  #onClose(complete: boolean): void {
    const { admission, leveller, metrics, accessLog } = this.#context;
    this.#counts.inFlight--;
    if (this.#admitted !== undefined) admission.leave(this.#admitted);
    leveller.end(this.#exchange);
    if (!this.#isLong) metrics.duration.observe((performance.now() - this.#startedAt) / 1000, this.#route);
    // Discovery writes its answers itself.
    if (this.#code === 0) {
      this.#code = this.#exchange.status();
      if (this.#code === 503) metrics.unavailable.inc({ reason: 'discovery' });
    }
    if (accessLog) this.#logAccess();
    this.#forwarded?.onClose(complete);
  }

  #logAccess(): void {
    const { method, target, protocol, connection, rawHeaders, identity } = this.#exchange;
    // Query strings may carry tokens of websocket clients; the path says enough.
    const queryAt = target.indexOf('?');
    this.#context.log.info('request', {
      method,
      path: queryAt < 0 ? target : target.slice(0, queryAt),
      protocol,
      client: connection.remoteAddress,
      who: identity.who || 'unauthenticated',
      userAgent: headerValue(rawHeaders, 'user-agent') ?? '',
      auditId: headerValue(rawHeaders, 'audit-id') ?? (this.#auditId || this.#exchange.auditId || ''),
      route: this.#route,
      peer: this.#peer,
      code: this.#code,
      ...(this.#reason !== '' && { reason: this.#reason }),
      ...(this.#failed !== undefined && { failed: this.#failed.join(', ') }),
      durationMs: Math.round((performance.now() - this.#startedAt) * 10) / 10,
    });
  }
}

/** Writes an answer of this proxy's once it is known what home would add for this client. */
function writeOwn({ homeFields }: HandlerContext, exchange: Exchange, write: () => void): void {
  exchange.connection.homeFields ??= homeFields;
  const learning = homeFields.learn(exchange);
  if (learning === undefined) write();
  else learning.then(write, write);
}

const trust: NotFoundRule = { kind: 'trust' };
const noTargets: readonly ForwardTarget[] = [];
const none = () => noTargets;

function noteFault({ health, metrics }: HandlerContext, target: PeerTarget, fault: Fault, isServers: boolean): void {
  if (fault.kind === 'aborted' || fault.kind === 'request') return;
  metrics.peerErrors.inc({ type: fault.kind === 'address' ? 'endpoint_resolution' : 'proxy_transport' });
  // The server lives: one client's odd request must not take it from all others.
  if (fault.kind === 'saturated' || fault.kind === 'answer') return;
  if (isServers) health.markDown(target, fault.error.message);
  else health.doubt(target.address);
}

/** Whether servers pass the request on to an aggregated server, be it for a resource or for what there is. */
function isAggregated({ isResourceRequest, group, version, path }: RequestInfo, { index }: FleetSnapshot): boolean {
  if (isResourceRequest) return index?.isAggregated(group, version) === true;
  const [, inGroup = '', inVersion = ''] = /^\/(?:openapi\/v3\/)?apis\/([^/]+)\/([^/]+)\/?$/.exec(path) ?? [];
  return index?.isAggregated(inGroup, inVersion) === true;
}

/** As `NewWarningHeader` in `pkg/util/net/http.go` of k8s.io/apimachinery writes it; the table names the resource. */
function warnOfFields(fields: FieldRoute | undefined, { group, version, resource }: RequestInfo): string | undefined {
  const what = `${resource} of ${group === '' ? version : `${group}/${version}`}`;
  switch (fields) {
    case 'standIn':
      return (
        `299 - "no kube-apiserver that accepts every field of ${what} can take requests now: a field that only those accept ` +
        'was dropped, if the request had one"'
      );
    case 'lossy':
      return (
        `299 - "no kube-apiserver that serves ${what} knows every field of it: one that others know was dropped, if the ` +
        'request or the stored object had it"'
      );
    default:
      return undefined;
  }
}

const routedAlready = 'another proxy has sent the request here, and this server does not serve it';

/** Only home, and where that does not know the resource, nobody can tell here who does. */
function targetOfRouted(peer: FleetPeer, decision: RouteDecision): ForwardTarget {
  const isListed = decision.kind === 'home' && decision.notFound.kind === 'listed';
  const notFound: NotFoundRule = isListed ? decision.notFound : { kind: 'doubt', message: routedAlready };
  return { peer, notFound, peerProxied: true };
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
  if (decision.kind === 'peer')
    return decision.fields === undefined ? 'home does not serve it' : 'home does not know all of its fields';
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
