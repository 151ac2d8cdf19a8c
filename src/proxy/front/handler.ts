import type { RequestInfo } from '../../domain/request-info.ts';
import { parseRequestInfo } from '../../domain/request-info.ts';
import type { StatusError } from '../../domain/status-error.ts';
import { buildStatus } from '../../domain/status-error.ts';
import { headerValue } from '../../http/fields.ts';
import type { UpgradeRequest } from '../../http/server/front-options.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { Admission } from '../admission/admission.ts';
import { RunningRequest } from '../admission/running-requests.ts';
import type { DiscoveryQuestion, UnifiedDiscovery } from '../discovery/unified-discovery.ts';
import type { ForwardOutcome } from '../forward/forward.ts';
import { forward } from '../forward/forward.ts';
import type { Authenticate } from '../identity/authenticate.ts';
import {
  homesFor,
  isAnsweredByBackend,
  isLongRunning,
  planPass,
  planRequest,
  type RoutePlan,
  stickyKey,
} from '../plan/plan-request.ts';
import type { PeerTransport, ProxyMetrics, UnavailableReason } from '../ports.ts';
import type { Exchange, HomeFields } from '../request/exchange.ts';
import { ownFields } from '../request/own-fields.ts';
import { logRequest, RequestRecord } from '../request/request-record.ts';
import { writeStatus } from '../request/write-status.ts';
import type { Fleet, FleetPeer, FleetSnapshot } from '../servers/fleet.ts';
import type { WatchLeveller } from '../servers/level-watches.ts';
import type { ServerReports } from '../servers/server-reports.ts';

/** Everything that an answer needs. */
export interface HandlerContext {
  readonly fleet: Fleet;
  readonly servers: ServerReports;
  readonly transport: PeerTransport;
  readonly clock: Clock;
  readonly discovery: UnifiedDiscovery;
  readonly homeFields: HomeFields;
  readonly metrics: ProxyMetrics;
  readonly log: Log;
  readonly accessLog: boolean;
  readonly authenticate: Authenticate;
  readonly admission: Admission;
  readonly leveller: WatchLeveller;
}

/** Answers one request. */
export interface RequestHandler {
  handle(exchange: Exchange, upgrade?: UpgradeRequest): void;
  /** Answers a request that must not be handled with a Status. */
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

type PassedAnswer = Extract<ForwardOutcome, { readonly kind: 'answer' }>;

/** The facts about a request once it was admitted. */
interface AdmittedRequest {
  readonly info: RequestInfo;
  readonly snapshot: FleetSnapshot;
  readonly home: FleetPeer | undefined;
  /** True if a backend of the server answers. */
  readonly fromBackend: boolean;
}

/** One request from its head to the end of its answer: admitted, planned, carried out, and recorded. */
class Answering {
  readonly #context: HandlerContext;
  readonly #counts: { inFlight: number; turn: number };
  readonly #exchange: Exchange;
  readonly #upgrade: UpgradeRequest | undefined;
  readonly #record = new RequestRecord();
  #running: RunningRequest | undefined;
  #routed: (AdmittedRequest & { readonly plan: RoutePlan }) | undefined;

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
    exchange.onClose(() => this.#onClose());
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
    this.#record.code = 204;
    this.#record.reason = 'home allows the origin';
    exchange.respond(204, ['Cache-Control', 'no-cache, private', ...ownFields(exchange)]);
    exchange.end();
  }

  #answer(): void {
    const request = this.#admit();
    if (request === undefined) return;
    const { identity, connection } = this.#exchange;
    const { discovery } = this.#context;
    const { alreadyRouted } = identity;
    // A request that another proxy has routed here is about this server alone.
    const isRoutable = this.#upgrade === undefined && !alreadyRouted;
    const needsTable = isRoutable && request.snapshot.bundle === undefined && discovery.isUnified(this.#exchange);
    const question = isRoutable && !needsTable ? discovery.read(this.#exchange, request.snapshot) : undefined;
    const asked = { alreadyRouted, needsTable, isDiscovery: question !== undefined, sticky: connection.sticky };
    const plan = planRequest({ ...request, ...asked }, this.#context.fleet, () => this.#counts.turn++);
    if (plan.kind === 'refuse') this.#refuse(plan.status, plan.why);
    else if (plan.kind === 'forward') this.#forward(request, plan);
    else if (question !== undefined) this.#answerDiscovery(request, question);
  }

  /** Admits the request, or refuses it. */
  #admit(): AdmittedRequest | undefined {
    const { fleet, admission, authenticate } = this.#context;
    const exchange = this.#exchange;
    const authentication = authenticate(exchange);
    if (authentication.kind === 'refused') return this.#refuse(authentication.status);
    exchange.identity = authentication.identity;
    const parsed = parseRequestInfo(exchange.method, exchange.target);
    if (parsed.kind === 'bad') return this.#refuse(buildStatus(400, parsed.message));
    const { info } = parsed;
    this.#record.isLong = this.#upgrade !== undefined || isLongRunning(info);
    const running = admission.enter(exchange, { longRunning: this.#record.isLong });
    if (!(running instanceof RunningRequest)) return this.#refuse(running);
    this.#running = running;
    const snapshot = fleet.current();
    const home = fleet.homeOf(snapshot, exchange.connection, { forWatch: info.verb === 'watch' });
    return { info, snapshot, home, fromBackend: isAnsweredByBackend(info, snapshot) };
  }

  #answerDiscovery(request: AdmittedRequest, question: DiscoveryQuestion): void {
    const { fleet, discovery, servers } = this.#context;
    const { snapshot, home, fromBackend } = request;
    this.#record.route = 'discovery';
    const answering = discovery.answer(this.#exchange, question, {
      snapshot,
      homes: () => homesFor(fleet, snapshot, home),
      usable: (peer) => fleet.usable(peer),
      doubt: doubtOf(snapshot, fleet),
      onFault: (target, fault) => servers.noteFault(target, fault, { isServers: !fromBackend || !fault.sent }),
      knowsItsUsers: (target) => servers.knowsItsUsers(target),
    });
    answering
      ?.then((passed) => {
        if (passed !== undefined) this.#forward(request, planPass(passed, home));
      })
      .catch((error: unknown) => this.#refuse(buildStatus(500, `discovery failed: ${String(error)}`)));
  }

  #forward(request: AdmittedRequest, plan: RoutePlan): void {
    const exchange = this.#exchange;
    const { info, fromBackend } = request;
    this.#routed = { ...request, plan };
    this.#record.route = plan.route;
    this.#record.reason = plan.reason;
    if (plan.binds === 'resource' && plan.first !== undefined) stick(exchange, info, plan.first.peer);
    const { transport, clock, log, servers } = this.#context;
    const sending = { plan, info, longRunning: this.#record.isLong, fromBackend, upgrade: this.#upgrade };
    const context = { transport, clock, log, servers, record: this.#record };
    forward(exchange, sending, context, (outcome) => this.#onOutcome(outcome));
  }

  #refuse(status: StatusError, why: UnavailableReason = 'other'): undefined {
    const { admission, metrics } = this.#context;
    if (status.code === 503) metrics.unavailable.inc({ reason: why });
    this.#record.code = status.code;
    this.#record.reason = status.message;
    if (this.#running === undefined) admission.refuse(this.#exchange);
    else admission.noteRefusal(this.#running);
    writeOwn(this.#context, this.#exchange, () => writeStatus(this.#exchange, status));
    return undefined;
  }

  #onOutcome(outcome: ForwardOutcome): void {
    if (outcome.kind === 'answer') {
      this.#noteAnswer(outcome);
      return;
    }
    this.#record.route = 'rejected';
    this.#refuse(outcome.status, outcome.why);
  }

  #noteAnswer({ target, status, rawHeaders, waitedMs, isTableBehind }: PassedAnswer): void {
    const { metrics, fleet, accessLog, admission, leveller } = this.#context;
    const { peer, peerProxied } = target;
    const record = this.#record;
    if (this.#routed === undefined) return;
    const { info, home, fromBackend, plan } = this.#routed;
    record.peer = peer.target.id;
    record.code = status;
    if (this.#running !== undefined) admission.noteAnswer(this.#running, { status, rawHeaders, fromBackend });
    if (accessLog) record.auditId = headerValue(rawHeaders, 'audit-id') ?? '';
    if (!record.isLong) metrics.overhead.observe(Math.max(0, performance.now() - record.startedAt - waitedMs) / 1000);
    // The server that answers stays: neither the next read of the resource nor the next request for home goes back in
    // time.
    if (plan.binds === 'resource' || isTableBehind) stick(this.#exchange, info, peer);
    else if (plan.binds === 'home' && peer !== home) fleet.adoptHome(this.#exchange.connection, peer);
    if (plan.binds === 'home' && info.verb === 'watch' && status === 200 && this.#upgrade === undefined)
      leveller.begin(this.#exchange, peer.target.address);
    if (!peerProxied) return;
    record.route = 'peer';
    const { group, version, resource } = info;
    metrics.rerouted.inc({ code: String(status), group, version, resource });
    if (plan.fields !== undefined && info.verb !== 'get') metrics.fieldWrites.inc({ group, version, resource });
  }

  #onClose(): void {
    const { admission, leveller, metrics, accessLog, log } = this.#context;
    const record = this.#record;
    this.#counts.inFlight--;
    if (this.#running !== undefined) admission.leave(this.#running);
    leveller.end(this.#exchange);
    if (!record.isLong) metrics.duration.observe((performance.now() - record.startedAt) / 1000, record.route);
    // Discovery writes its answers itself, and so does admission to overdue requests, with another status than 503.
    if (record.code === 0) {
      record.code = this.#exchange.status();
      if (record.code === 503) metrics.unavailable.inc({ reason: 'discovery' });
    }
    if (accessLog) logRequest(record, this.#exchange, log);
  }
}

/** Writes this proxy's own answer, once it knows which fields home would add for this client. */
function writeOwn({ homeFields }: HandlerContext, exchange: Exchange, write: () => void): void {
  exchange.connection.homeFields ??= homeFields;
  const learning = homeFields.learn(exchange);
  if (learning === undefined) write();
  else learning.then(write, write);
}

function stick({ connection: { sticky } }: Exchange, info: RequestInfo, { target }: FleetPeer): void {
  if (!info.isResourceRequest) return;
  const key = stickyKey(info);
  if (sticky.size >= 1_000 && !sticky.has(key)) sticky.clear();
  sticky.set(key, target.address);
}

function doubtOf({ index }: FleetSnapshot, fleet: Fleet): string | undefined {
  if (index === undefined || fleet.tableTooOld()) return 'the routing table has not been confirmed for too long';
  return index.table.complete && index.doubts.length === 0
    ? undefined
    : 'not every kube-apiserver is known well enough';
}
