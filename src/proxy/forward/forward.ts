import type { Duplex } from 'node:stream';
import { isProxied, type RequestInfo } from '../../domain/request-info.ts';
import type { NotFoundRule } from '../../domain/route-request.ts';
import type { StatusError } from '../../domain/status-error.ts';
import { buildStatus } from '../../domain/status-error.ts';
import type { AnswerHandler, Call, Fault } from '../../http/client/dispatch.ts';
import type { WrittenFields } from '../../http/client/written-fields.ts';
import { headerValue } from '../../http/fields.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import { AcceptedCredentials } from '../identity/accepted-credentials.ts';
import { tokenDigest } from '../identity/bearer-token.ts';
import { type ForwardTarget, type RoutePlan, warnOfFields } from '../plan/plan-request.ts';
import type { PeerTransport, UnavailableReason } from '../ports.ts';
import type { Exchange } from '../request/exchange.ts';
import { prepareAgain, prepareRequestHeaders, prepareResponseHeaders } from '../request/forwarded-headers.ts';
import type { RequestRecord } from '../request/request-record.ts';
import type { ServerReports } from '../servers/server-reports.ts';
import { askServed } from './ask-served.ts';
import { classifiableBytes, mayBeUnknownResource } from './classify-not-found.ts';
import { isShutdownRefusal } from './classify-refusal.ts';
import { type KeptBody, keepBody } from './kept-body.ts';

/** The request, and its destination. */
export interface ForwardRequest {
  readonly plan: RoutePlan;
  readonly info: RequestInfo;
  readonly longRunning: boolean;
  /** True if a backend answers: under `proxy`, or for an aggregated API. */
  readonly fromBackend: boolean;
  readonly upgrade:
    | { readonly protocol: string; accept(rawHeaders: readonly string[], peer: Duplex): void }
    | undefined;
}

/** The dependencies of forwarding. */
export interface ForwardContext {
  readonly transport: PeerTransport;
  readonly clock: Clock;
  readonly log: Log;
  readonly servers: ServerReports;
  /** Receives the failed servers. */
  readonly record: Pick<RequestRecord, 'noteFailed'>;
}

/** The end of a request, reported before the client learns of it. */
export type ForwardOutcome =
  | {
      readonly kind: 'answer';
      readonly target: ForwardTarget;
      readonly status: number;
      readonly rawHeaders: readonly string[];
      /** The time from the request to the head of the answer. */
      readonly waitedMs: number;
      /** True if a server did not know a resource that the table lists for it. */
      readonly isTableBehind: boolean;
    }
  | { readonly kind: 'refuse'; readonly status: StatusError; readonly why?: UnavailableReason | undefined };

/** Bodies up to this size are kept while another server may be needed: that covers most objects, but no upload. */
const keptBodyBytes = 256 * 1024;

/**
 * Forwards one request to the first server that can take it, and streams its answer back. It never repeats a write.
 *
 * - Before a byte was sent, it always tries the next server.
 * - It sends a GET or HEAD without a body once more if no byte of an answer came, to another server if there is one.
 * - A 404 with the text for an unknown resource may also be a webhook's or a kubelet's, so it asks the server which
 *   resources it serves. If the server does not serve the resource, nothing was carried out, and it tries the next
 *   server, even for writes while their body is still complete. It does the same if a server refuses all requests
 *   because it is shutting down (docs/decisions/0005-failover.md).
 * - Everything else gets a Status. A request that may have been carried out gets 504 without `Retry-After`, so that no
 *   client repeats it automatically.
 */
export function forward(
  exchange: Exchange,
  request: ForwardRequest,
  context: ForwardContext,
  onOutcome: (outcome: ForwardOutcome) => void,
): void {
  new Forwarding(exchange, request, context, onOutcome).start();
}

/** An answer that another server's answer may have to replace. */
interface HeldAnswer {
  readonly status: number;
  readonly headers: readonly string[];
  readonly chunks: Buffer[];
  size: number;
}

/** One request with all its attempts, one after another. It handles each answer. */
class Forwarding implements AnswerHandler {
  readonly #exchange: Exchange;
  readonly #request: ForwardRequest;
  readonly #context: ForwardContext;
  readonly #onOutcome: (outcome: ForwardOutcome) => void;
  /** True for a read that may be sent twice. */
  readonly #isRepeatable: boolean;
  /** True if the 404 may be a backend's (`proxy` subresources), so that it proves nothing. */
  readonly #isOpaque: boolean;
  readonly #body: KeptBody | undefined;
  #closed = false;
  #drains = false;
  /** True if the written bytes complete the answer. */
  #ended = false;
  #others: readonly ForwardTarget[] | undefined;
  #failovers = 0;
  #repeats = 1;
  /** The target of the present or last attempt. */
  #target: ForwardTarget | undefined;
  #call: Call | undefined;
  #running = false;
  #held: HeldAnswer | undefined;
  #started = false;
  #askedAt = 0;
  /** The client's own token, unless this proxy's own replaces it. */
  #credential: string | undefined;
  #isAccepted = false;
  #isTableBehind = false;

  constructor(
    exchange: Exchange,
    request: ForwardRequest,
    context: ForwardContext,
    onOutcome: (outcome: ForwardOutcome) => void,
  ) {
    this.#exchange = exchange;
    this.#request = request;
    this.#context = context;
    this.#onOutcome = onOutcome;
    this.#isRepeatable = isRepeatable(exchange, request);
    this.#isOpaque = isProxied(request.info);
    this.#body = exchange.hasBody
      ? keepBody(
          () => exchange.body() ?? emptyBody(),
          this.#next() === undefined ? 0 : keptBodyBytes,
          (bytes) => {
            exchange.heldElsewhere = bytes;
          },
        )
      : undefined;
  }

  start(): void {
    const { first } = this.#request.plan;
    this.#exchange.onClose((complete) => this.#onClose(complete));
    this.#readCredential();
    if (first === undefined)
      this.#refuse(buildStatus(503, 'no kube-apiserver can take requests now', 1), 'no_ready_server');
    else this.#attempt(first);
  }

  #onClose(complete: boolean): void {
    this.#closed = true;
    // An answer of our own ends before the peer's.
    if (this.#running) this.#call?.abort(new Error(complete ? 'the request has been answered' : 'the client has left'));
  }

  #refuse(status: StatusError, why?: UnavailableReason): void {
    this.#onOutcome({ kind: 'refuse', status, why });
  }

  /** The next server to try. */
  #next(): ForwardTarget | undefined {
    this.#others ??= this.#request.plan.others();
    return this.#others[this.#failovers];
  }

  #attempt(target: ForwardTarget): void {
    const { rawHeaders, written } = this.#prepare(target.peerProxied);
    this.#target = target;
    this.#held = undefined;
    this.#started = false;
    this.#askedAt = performance.now();
    this.#running = true;
    target.peer.load.inFlight++;
    target.peer.load.asked++;
    try {
      this.#call = this.#dispatch(target, rawHeaders, written);
    } catch (error) {
      this.#leave();
      throw error;
    }
  }

  #dispatch({ peer }: ForwardTarget, rawHeaders: readonly string[], written: WrittenFields | undefined): Call {
    const exchange = this.#exchange;
    return this.#context.transport.dispatch(
      peer.target,
      {
        method: exchange.method,
        path: exchange.target,
        rawHeaders,
        written,
        body: this.#body?.open() ?? null,
        longRunning: this.#request.longRunning,
        mayShare: this.#isAccepted,
        connectAs: exchange.identity.connectAs,
        upgrade: this.#request.upgrade?.protocol,
      },
      this,
    );
  }

  #readCredential(): void {
    const { identity, connection } = this.#exchange;
    this.#isAccepted = identity.connectAs === 'frontProxy' || identity.replacesToken;
    if (this.#isAccepted) return;
    this.#credential = tokenDigest(this.#exchange);
    this.#isAccepted = this.#credential !== undefined && connection.accepted?.has(this.#credential) === true;
  }

  #noteCredential(status: number, rawHeaders: readonly string[]): void {
    if (this.#credential === undefined || (this.#isAccepted && status !== 401)) return;
    const { connection, method } = this.#exchange;
    connection.accepted ??= new AcceptedCredentials();
    connection.accepted.note(this.#credential, { method, status, rawHeaders });
  }

  #prepare(peerProxied: boolean): {
    readonly rawHeaders: readonly string[];
    readonly written: WrittenFields | undefined;
  } {
    const exchange = this.#exchange;
    // Requests with bodies differ in Content-Length, so their fields do not repeat.
    if (!exchange.hasBody) return prepareAgain(exchange, { peerProxied });
    const { rawHeaders, identity, connection } = exchange;
    const context = { remoteAddress: connection.remoteAddress, peerProxied, identity };
    return { rawHeaders: prepareRequestHeaders(rawHeaders, context), written: undefined };
  }

  onInterim(status: number, rawHeaders: string[]): void {
    try {
      if (!this.#closed) this.#exchange.interim(status, prepareResponseHeaders(rawHeaders));
    } catch (error) {
      this.#onDefect(error);
    }
  }

  onHead(status: number, rawHeaders: string[]): void {
    try {
      this.#takeHead(status, rawHeaders);
    } catch (error) {
      this.#onDefect(error);
    }
  }

  onData(chunk: Buffer, isLast: boolean): void {
    try {
      this.#takeData(chunk, isLast);
    } catch (error) {
      this.#onDefect(error);
    }
  }

  onEnd(rawTrailers: string[]): void {
    this.#leave();
    try {
      this.#takeEnd(rawTrailers);
    } catch (error) {
      this.#onDefect(error);
    }
  }

  onFault(fault: Fault): void {
    this.#leave();
    try {
      this.#takeFault(fault);
    } catch (error) {
      this.#onDefect(error);
    }
  }

  /** Keeps a bug from harming other answers, even on the same connection. */
  #onDefect(error: unknown): void {
    this.#context.log.error('cannot pass on an answer', {
      error: error instanceof Error ? error.stack : String(error),
    });
    this.#exchange.destroy();
  }

  #takeHead(status: number, rawHeaders: string[]): void {
    if (this.#closed) return;
    const target = this.#target;
    if (
      (status === 401 || status === 403) &&
      target !== undefined &&
      !this.#context.servers.knowsItsUsers(target.peer.target)
    ) {
      this.#dropRefusal(target);
      return;
    }
    this.#noteCredential(status, rawHeaders);
    const headers = prepareResponseHeaders(rawHeaders);
    if ((status === 404 && this.#mayBeWrong()) || this.#mayBeShuttingDown(status, headers))
      this.#held = { status, headers, chunks: [], size: 0 };
    else this.#respond(status, headers);
  }

  #takeData(chunk: Buffer, isLast: boolean): void {
    if (this.#closed) return;
    const held = this.#held;
    if (held === undefined) {
      if (!isLast) {
        this.#send(chunk);
        return;
      }
      this.#ended = true;
      this.#running = false;
      this.#exchange.end(chunk);
      return;
    }
    // The transport does not reuse the chunk's memory, so it may be kept.
    held.chunks.push(chunk);
    held.size += chunk.length;
    if (held.size > classifiableBytes) this.#releaseHeld();
  }

  #takeEnd(rawTrailers: string[]): void {
    if (this.#closed || this.#ended) return;
    const held = this.#held;
    if (held?.status === 404) {
      // An answer to HEAD has no text to judge.
      if (this.#exchange.method === 'HEAD' || mayBeAboutResource(held)) {
        void this.#askWhoMeansIt(rawTrailers);
        return;
      }
      this.#releaseHeld();
    } else if (held !== undefined) {
      if (isShutdownRefusal(held.status, Buffer.concat(held.chunks)) && this.#target !== undefined) {
        this.#noteShutdown(this.#target);
        // An aggregated server may say the same, after carrying out anything.
        if ((!this.#request.fromBackend || this.#isRepeatable) && this.#tryNext(false)) return;
      }
      this.#releaseHeld();
    }
    this.#finish(rawTrailers);
  }

  #finish(rawTrailers: string[]): void {
    if (rawTrailers.length === 0) this.#exchange.end();
    else this.#exchange.end(undefined, prepareResponseHeaders(rawTrailers));
  }

  /** The text of a 404 does not say who sent it. The server's discovery decides. */
  async #askWhoMeansIt(rawTrailers: string[]): Promise<void> {
    const target = this.#target;
    if (target === undefined) return;
    try {
      const served = await askServed(this.#context, target.peer.target, this.#exchange, this.#request.info);
      if (this.#closed) return;
      if (served === 'absent') this.#onUnknownResource(target);
      else if (served === 'untold') this.#onUntold(target);
      else if (target.notFound.kind === 'doubt') this.#onNewlyServed(target, rawTrailers);
      else this.#pass(rawTrailers);
    } catch (error) {
      this.#onDefect(error);
    }
  }

  #takeFault(fault: Fault): void {
    const target = this.#target;
    if (fault.kind === 'aborted' || this.#closed || target === undefined) return;
    this.#noteFault(target, fault);
    if (this.#started) {
      this.#exchange.destroy();
      return;
    }
    this.#recover(target, fault);
  }

  #noteFault({ peer }: ForwardTarget, fault: Fault): void {
    const { servers, record } = this.#context;
    record.noteFailed(peer.target.id, fault.kind);
    servers.noteFault(peer.target, fault, { isServers: this.#isServers(fault) });
  }

  #noteShutdown({ peer }: ForwardTarget): void {
    const { servers, record } = this.#context;
    record.noteFailed(peer.target.id, 'shutting down');
    servers.noteShutdown(peer.target, this.#request);
  }

  /**
   * kube-apiserver ends an HTTP/1.1 connection if it cannot finish an answer because a backend has cut its own, and if
   * it answered before the whole request arrived.
   */
  #isServers({ kind, sent }: Fault): boolean {
    if (!sent || (kind !== 'reset' && kind !== 'timeout')) return true;
    if (this.#request.fromBackend) return false;
    const isUnsent = this.#exchange.hasBody && !this.#exchange.bodyComplete();
    return kind === 'timeout' || !(this.#started || isUnsent);
  }

  onUpgrade(rawHeaders: string[], socket: Duplex): void {
    this.#running = false;
    const { upgrade } = this.#request;
    const target = this.#target;
    if (target === undefined) return;
    const { load } = target.peer;
    if (this.#closed || upgrade === undefined) {
      load.inFlight--;
      socket.destroy();
      return;
    }
    socket.once('close', () => {
      load.inFlight--;
    });
    try {
      this.#tellAnswer(target, 101, rawHeaders);
      upgrade.accept(rawHeaders, socket);
    } catch (error) {
      socket.destroy();
      this.#onDefect(error);
    }
  }

  /** The attempt is over. */
  #leave(): void {
    this.#running = false;
    if (this.#target !== undefined) this.#target.peer.load.inFlight--;
  }

  #rule(): NotFoundRule {
    return this.#target?.notFound ?? { kind: 'trust' };
  }

  #mayBeWrong(): boolean {
    const { kind } = this.#rule();
    // A backend of a server that knows the resource may answer anything. A server that does not know the resource has
    // no backend for it.
    return kind === 'doubt' || (kind === 'listed' && !this.#isOpaque);
  }

  /** True only if another server could be asked instead, and the server itself has answered. */
  #mayBeShuttingDown(status: number, headers: readonly string[]): boolean {
    return (
      (status === 503 || status === 429) &&
      this.#next() !== undefined &&
      !this.#isOpaque &&
      headerValue(headers, 'retry-after') !== undefined
    );
  }

  #respond(status: number, headers: readonly string[]): void {
    this.#started = true;
    if (this.#target !== undefined) this.#tellAnswer(this.#target, status, headers);
    const { plan, info } = this.#request;
    const warning = info.verb === 'get' ? undefined : warnOfFields(plan.fields, info);
    this.#exchange.respond(status, warning === undefined ? headers : [...headers, 'Warning', warning]);
  }

  #tellAnswer(target: ForwardTarget, status: number, rawHeaders: readonly string[]): void {
    const waitedMs = performance.now() - this.#askedAt;
    this.#onOutcome({ kind: 'answer', target, status, rawHeaders, waitedMs, isTableBehind: this.#isTableBehind });
  }

  #send(chunk: Buffer): void {
    if (this.#exchange.write(chunk)) return;
    this.#call?.pause();
    if (this.#drains) return;
    this.#drains = true;
    this.#exchange.onDrain(() => this.#resume());
  }

  #resume(): void {
    try {
      this.#call?.resume();
    } catch (error) {
      this.#onDefect(error);
    }
  }

  #releaseHeld(): void {
    const held = this.#held;
    if (held === undefined) return;
    this.#held = undefined;
    this.#respond(held.status, held.headers);
    for (const chunk of held.chunks) this.#send(chunk);
  }

  /** kube-apiserver refuses before it carries anything out. A backend may refuse afterwards. */
  #dropRefusal(target: ForwardTarget): void {
    const { id } = target.peer.target;
    this.#call?.abort(new Error('refused by a server that has not been ready since it failed'));
    if (this.#isOpaque && !this.#isRepeatable) {
      const message = `kube-apiserver ${id} is not ready and refused the request; the request may have been carried out`;
      this.#refuse(buildStatus(504, message));
      return;
    }
    if (this.#tryNext(false)) return;
    const message = `kube-apiserver ${id} has not been ready since it failed, so it may not know yet who may do what`;
    this.#refuse(buildStatus(503, message, 1), 'unreachable');
  }

  #rejectDoubtful(rule: NotFoundRule): void {
    const why =
      rule.kind === 'doubt' ? rule.message : 'the servers of the resource have nothing here, or the table is behind';
    const message = `it is unknown whether any kube-apiserver serves this: ${why}`;
    this.#refuse(buildStatus(503, message, 1), 'doubt');
  }

  #pass(rawTrailers: string[]): void {
    this.#releaseHeld();
    this.#finish(rawTrailers);
  }

  /** The table does not list it, so the server may have got it between the 404 and the question. */
  #onNewlyServed(target: ForwardTarget, rawTrailers: string[]): void {
    if (!this.#isRepeatable) this.#rejectUncertain(target);
    else if (this.#repeats-- > 0) this.#attempt(target);
    else this.#pass(rawTrailers);
  }

  /** The server has carried nothing out. */
  #onUnknownResource({ notFound }: ForwardTarget): void {
    this.#held = undefined;
    if (notFound.kind === 'doubt' || this.#target === undefined) {
      this.#rejectDoubtful(notFound);
      return;
    }
    this.#isTableBehind = true;
    this.#context.servers.noteTableBehind(this.#target.peer.target, this.#request.info.path);
    if (!this.#tryNext(true)) this.#rejectDoubtful(notFound);
  }

  /** The 404 may be wrong, or may be a webhook's. Only a repeatable request is sent again. */
  #onUntold(target: ForwardTarget): void {
    const { notFound } = target;
    this.#held = undefined;
    if (!this.#isRepeatable) this.#rejectUncertain(target);
    else if (notFound.kind === 'doubt' || !this.#tryNext(true)) this.#rejectDoubtful(notFound);
  }

  #rejectUncertain({ peer }: ForwardTarget): void {
    this.#held = undefined;
    const { id } = peer.target;
    const message =
      `kube-apiserver ${id} answered 404, which may be about the resource or about its backend; ` +
      'the request may have been carried out';
    this.#refuse(buildStatus(504, message));
  }

  /**
   * Tries another server after proof that nothing was carried out. Returns false if there is no other server or no body
   * left.
   */
  #tryNext(leavesHome: boolean): boolean {
    const other = this.#next();
    if (other === undefined || this.#body?.whole === false) return false;
    this.#failovers++;
    this.#context.servers.noteFailover();
    this.#attempt(leavesHome ? { ...other, peerProxied: true } : other);
    return true;
  }

  #recover(target: ForwardTarget, fault: Fault): void {
    if (fault.kind === 'request') {
      this.#giveUp(target, fault);
      return;
    }
    const untouched = !fault.sent && this.#body?.begun !== true;
    if (!untouched && !(this.#isRepeatable && this.#repeats-- > 0)) {
      this.#giveUp(target, fault);
      return;
    }
    // After a reset, a lone server gets a second chance, because an idle connection may close just as it is used. A
    // server that timed out would time out again.
    const other = this.#next() ?? (fault.sent && fault.kind !== 'timeout' ? target : undefined);
    if (other === undefined) {
      this.#giveUp(target, fault);
      return;
    }
    this.#failovers++;
    if (other !== target) this.#context.servers.noteFailover();
    this.#attempt(other);
  }

  #giveUp({ peer }: ForwardTarget, { kind, sent, error }: Fault): void {
    const { id } = peer.target;
    if (kind === 'request') {
      this.#refuse(buildStatus(400, `the request cannot be sent: ${error.message}`));
      return;
    }
    if (sent && !this.#isRepeatable) {
      this.#refuse(
        buildStatus(504, `the connection to kube-apiserver ${id} was lost; the request may have been carried out`),
      );
      return;
    }
    this.#refuse(
      buildStatus(503, `kube-apiserver ${id} cannot be reached: ${error.message}`, 1),
      kind === 'saturated' ? 'saturated' : 'unreachable',
    );
  }
}

/** An upgrade may run a command. Only an upgrade to a watch is a read. */
function isRepeatable({ method, hasBody }: Exchange, { upgrade, info }: ForwardRequest): boolean {
  const reads = (method === 'GET' || method === 'HEAD') && !hasBody;
  return reads && (upgrade === undefined || info.verb === 'watch');
}

function mayBeAboutResource({ headers, chunks }: HeldAnswer): boolean {
  const type = headerValue(headers, 'content-type') ?? '';
  return mayBeUnknownResource(type, headerValue(headers, 'content-encoding'), Buffer.concat(chunks));
}

async function* emptyBody(): AsyncGenerator<Uint8Array> {}
