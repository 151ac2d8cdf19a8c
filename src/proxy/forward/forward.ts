import type { Duplex } from 'node:stream';
import type { NotFoundRule } from '../../domain/route-request.ts';
import type { StatusError } from '../../domain/status-error.ts';
import { buildStatus } from '../../domain/status-error.ts';
import type { AnswerHandler, Call, Fault } from '../../http/client/dispatch.ts';
import type { WrittenFields } from '../../http/client/written-fields.ts';
import { headerValue } from '../../http/fields.ts';
import { AcceptedCredentials } from '../identity/accepted-credentials.ts';
import { tokenDigest } from '../identity/bearer-token.ts';
import type { ForwardTarget } from '../plan/plan-request.ts';
import type { PeerTransport, UnavailableReason } from '../ports.ts';
import type { Exchange } from '../request/exchange.ts';
import { prepareAgain, prepareRequestHeaders, prepareResponseHeaders } from '../request/forwarded-headers.ts';
import type { FleetPeer } from '../servers/fleet.ts';
import type { Served } from './ask-served.ts';
import { classifiableBytes, mayBeUnknownResource } from './classify-not-found.ts';
import { isShutdownRefusal } from './classify-refusal.ts';
import { type KeptBody, keepBody } from './kept-body.ts';

/** What to send, and where. */
export interface ForwardPlan {
  readonly first: ForwardTarget | undefined;
  /** The servers to try after that, in order. Called at most once, when needed. */
  others(): readonly ForwardTarget[];
  readonly longRunning: boolean;
  /** True for a read that may be sent twice. */
  readonly repeatable: boolean;
  /** True if a 404 may come from behind the server (`proxy` subresources), so that it proves nothing. */
  readonly opaqueNotFound: boolean;
  /** True if something behind the server answers: under `proxy`, or for an aggregated API. */
  readonly isBehind: boolean;
  /** Value of an additional `Warning` for the answer. */
  readonly warning?: string | undefined;
  /** Asks a server now whether it serves the resource of the request. Never rejects. */
  askServed(peer: FleetPeer): Promise<Served>;
  readonly upgrade:
    | { readonly protocol: string; accept(rawHeaders: readonly string[], peer: Duplex): void }
    | undefined;
}

/** Receives the events of forwarding. */
export interface ForwardEvents {
  /** `isServers` is false if the server may be well because something else may have broken the connection. */
  onFault(target: ForwardTarget, fault: Fault, isServers: boolean): void;
  /** False for a server that has not been seen ready since it failed: it may not have read its RBAC rules yet. */
  knowsItsUsers(target: ForwardTarget): boolean;
  onFailover(target: ForwardTarget): void;
  /** A server does not know a resource that it serves according to the table. */
  onTableBehind(target: ForwardTarget): void;
  /** A server is shutting down and refused the request without looking at it. */
  onShutdown(target: ForwardTarget): void;
  /** An answer is passed on, `waitedMs` after the request. */
  onHead(target: ForwardTarget, status: number, rawHeaders: readonly string[], waitedMs: number): void;
  reject(status: StatusError, why?: UnavailableReason): void;
  /** A bug in this program broke off the answer. */
  onDefect(error: unknown): void;
}

/** Bodies up to this size are kept while another server may be needed: that covers most objects, but no upload. */
const keptBodyBytes = 256 * 1024;

/**
 * Forwards one request to the first server that can take it, and streams its answer back. It never repeats a write.
 *
 * Before a byte was sent the next server is tried, always. A GET or HEAD without a body that has had no byte of an
 * answer is sent once more, to another server where there is one. A 404 in the words for an unknown resource may be a
 * webhook's or a kubelet's just as well, so that the server is asked what it serves. If it does not serve the resource,
 * nothing was carried out: the next server is tried, for writes too while their body is still whole, and likewise where
 * a server refuses everything because it is shutting down (docs/decisions/0005-failover.md). Everything else is
 * answered by a Status: one that may have been carried out by 504 without `Retry-After`, so that no client repeats it
 * by itself.
 */
export function forward(
  exchange: Exchange,
  plan: ForwardPlan,
  transport: PeerTransport,
  events: ForwardEvents,
): ForwardedExchange {
  const forwarding = new Forwarding(exchange, plan, transport, events);
  forwarding.start();
  return forwarding;
}

/** A running exchange. */
export interface ForwardedExchange {
  /** Call it when the exchange closes. */
  onClose(complete: boolean): void;
}

/** An answer that another server's may have to replace. */
interface HeldAnswer {
  readonly status: number;
  readonly headers: readonly string[];
  readonly chunks: Buffer[];
  size: number;
}

/** One request with all its attempts, one after another. It handles each answer. */
class Forwarding implements ForwardedExchange, AnswerHandler {
  readonly #exchange: Exchange;
  readonly #plan: ForwardPlan;
  readonly #transport: PeerTransport;
  readonly #events: ForwardEvents;
  readonly #body: KeptBody | undefined;
  #closed = false;
  #drains = false;
  /** True if the answer is complete with what has been written. */
  #ended = false;
  #others: readonly ForwardTarget[] | undefined;
  #failovers = 0;
  #repeats = 1;
  /** The target of the current or last attempt. */
  #target: ForwardTarget | undefined;
  #call: Call | undefined;
  #running = false;
  #held: HeldAnswer | undefined;
  #started = false;
  #askedAt = 0;
  /** The client's own token, unless this proxy's own replaces it. */
  #credential: string | undefined;
  #isAccepted = false;

  constructor(exchange: Exchange, plan: ForwardPlan, transport: PeerTransport, events: ForwardEvents) {
    this.#exchange = exchange;
    this.#plan = plan;
    this.#transport = transport;
    this.#events = events;
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
    const { first } = this.#plan;
    this.#readCredential();
    if (first === undefined)
      this.#events.reject(buildStatus(503, 'no kube-apiserver can take requests now', 1), 'no_ready_server');
    else this.#attempt(first);
  }

  onClose(complete: boolean): void {
    this.#closed = true;
    // An answer of our own ends before the peer's.
    if (this.#running) this.#call?.abort(new Error(complete ? 'the request has been answered' : 'the client has left'));
  }

  /** The next server to try. */
  #next(): ForwardTarget | undefined {
    this.#others ??= this.#plan.others();
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
    return this.#transport.dispatch(
      peer.target,
      {
        method: exchange.method,
        path: exchange.target,
        rawHeaders,
        written,
        body: this.#body?.open() ?? null,
        longRunning: this.#plan.longRunning,
        mayShare: this.#isAccepted,
        connectAs: exchange.identity.connectAs,
        upgrade: this.#plan.upgrade?.protocol,
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
    const { identity, connection } = exchange;
    const context = { remoteAddress: connection.remoteAddress, peerProxied, identity };
    return { rawHeaders: prepareRequestHeaders(exchange.rawHeaders, context), written: undefined };
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
    this.#events.onDefect(error);
    this.#exchange.destroy();
  }

  #takeHead(status: number, rawHeaders: string[]): void {
    if (this.#closed) return;
    const target = this.#target;
    if ((status === 401 || status === 403) && target !== undefined && !this.#events.knowsItsUsers(target)) {
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
      // An answer to HEAD has no text to judge by.
      if (this.#exchange.method === 'HEAD' || mayBeAboutResource(held)) {
        void this.#askWhoMeansIt(rawTrailers);
        return;
      }
      this.#releaseHeld();
    } else if (held !== undefined) {
      if (isShutdownRefusal(held.status, Buffer.concat(held.chunks)) && this.#target !== undefined) {
        this.#events.onShutdown(this.#target);
        // An aggregated server may say the same, after anything it has done.
        if ((!this.#plan.isBehind || this.#plan.repeatable) && this.#tryNext(false)) return;
      }
      this.#releaseHeld();
    }
    this.#finish(rawTrailers);
  }

  #finish(rawTrailers: string[]): void {
    if (rawTrailers.length === 0) this.#exchange.end();
    else this.#exchange.end(undefined, prepareResponseHeaders(rawTrailers));
  }

  /** The text of a 404 does not say who sent it. What the server serves does. */
  async #askWhoMeansIt(rawTrailers: string[]): Promise<void> {
    const target = this.#target;
    if (target === undefined) return;
    try {
      const served = await this.#plan.askServed(target.peer);
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
    this.#events.onFault(target, fault, this.#isServers(fault));
    if (this.#started) {
      this.#exchange.destroy();
      return;
    }
    this.#recover(target, fault);
  }

  /**
   * kube-apiserver ends an HTTP/1.1 connection if it cannot finish an answer because what is behind it has cut its own,
   * and if it answered before the whole request came.
   */
  #isServers({ kind, sent }: Fault): boolean {
    if (!sent || (kind !== 'reset' && kind !== 'timeout')) return true;
    if (this.#plan.isBehind) return false;
    const isUnsent = this.#exchange.hasBody && !this.#exchange.bodyComplete();
    return kind === 'timeout' || !(this.#started || isUnsent);
  }

  onUpgrade(rawHeaders: string[], socket: Duplex): void {
    this.#running = false;
    const { upgrade } = this.#plan;
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
      this.#events.onHead(target, 101, rawHeaders, performance.now() - this.#askedAt);
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
    // Whatever is behind a server that knows the resource may answer anything. A server that does not know it has
    // nothing behind it.
    return kind === 'doubt' || (kind === 'listed' && !this.#plan.opaqueNotFound);
  }

  /** True only if another server could be asked instead, and the server itself has answered. */
  #mayBeShuttingDown(status: number, headers: readonly string[]): boolean {
    return (
      (status === 503 || status === 429) &&
      this.#next() !== undefined &&
      !this.#plan.opaqueNotFound &&
      headerValue(headers, 'retry-after') !== undefined
    );
  }

  #respond(status: number, headers: readonly string[]): void {
    this.#started = true;
    if (this.#target !== undefined)
      this.#events.onHead(this.#target, status, headers, performance.now() - this.#askedAt);
    const { warning } = this.#plan;
    this.#exchange.respond(status, warning === undefined ? headers : [...headers, 'Warning', warning]);
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

  /** kube-apiserver refuses before it carries anything out. What is behind it may refuse afterwards. */
  #dropRefusal(target: ForwardTarget): void {
    const { id } = target.peer.target;
    const { opaqueNotFound, repeatable } = this.#plan;
    this.#call?.abort(new Error('a refusal by a server that has not been seen ready'));
    if (opaqueNotFound && !repeatable) {
      const message = `kube-apiserver ${id} is not ready, and refused; whether the request was carried out is unknown`;
      this.#events.reject(buildStatus(504, message));
      return;
    }
    if (this.#tryNext(false)) return;
    const message = `kube-apiserver ${id} has not been ready since it failed, and cannot tell yet who may do what`;
    this.#events.reject(buildStatus(503, message, 1), 'unreachable');
  }

  #rejectDoubtful(rule: NotFoundRule): void {
    const why =
      rule.kind === 'doubt' ? rule.message : 'those that serve the resource have nothing here, or the table is behind';
    const message = `whether any kube-apiserver serves this is unknown: ${why}`;
    this.#events.reject(buildStatus(503, message, 1), 'doubt');
  }

  #pass(rawTrailers: string[]): void {
    this.#releaseHeld();
    this.#finish(rawTrailers);
  }

  /** The table does not list it, so the server may have got it between the 404 and the question. */
  #onNewlyServed(target: ForwardTarget, rawTrailers: string[]): void {
    if (!this.#plan.repeatable) this.#rejectUncertain(target);
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
    this.#events.onTableBehind(this.#target);
    if (!this.#tryNext(true)) this.#rejectDoubtful(notFound);
  }

  /** The 404 may be wrong, or may be a webhook's. Only a repeatable request is sent again. */
  #onUntold(target: ForwardTarget): void {
    const { notFound } = target;
    this.#held = undefined;
    if (!this.#plan.repeatable) this.#rejectUncertain(target);
    else if (notFound.kind === 'doubt' || !this.#tryNext(true)) this.#rejectDoubtful(notFound);
  }

  #rejectUncertain({ peer }: ForwardTarget): void {
    this.#held = undefined;
    const { id } = peer.target;
    const message =
      `kube-apiserver ${id} answered 404, which may be about the resource or what is behind it; ` +
      'whether it carried out the request is unknown';
    this.#events.reject(buildStatus(504, message));
  }

  /**
   * Tries another server after proof that nothing was carried out. Returns false if there is no other server or no body
   * left.
   */
  #tryNext(leavesHome: boolean): boolean {
    const other = this.#next();
    if (other === undefined || this.#body?.whole === false) return false;
    this.#failovers++;
    this.#events.onFailover(other);
    this.#attempt(leavesHome ? { ...other, peerProxied: true } : other);
    return true;
  }

  #recover(target: ForwardTarget, fault: Fault): void {
    if (fault.kind === 'request') {
      this.#giveUp(target, fault);
      return;
    }
    const untouched = !fault.sent && this.#body?.begun !== true;
    if (!untouched && !(this.#plan.repeatable && this.#repeats-- > 0)) {
      this.#giveUp(target, fault);
      return;
    }
    // After a reset, a lone server gets a second chance, because an idle connection may close just as it is used. One
    // that timed out would do so again.
    const other = this.#next() ?? (fault.sent && fault.kind !== 'timeout' ? target : undefined);
    if (other === undefined) {
      this.#giveUp(target, fault);
      return;
    }
    this.#failovers++;
    if (other !== target) this.#events.onFailover(other);
    this.#attempt(other);
  }

  #giveUp({ peer }: ForwardTarget, { kind, sent, error }: Fault): void {
    const { id } = peer.target;
    if (kind === 'request') {
      this.#events.reject(buildStatus(400, `the request cannot be sent: ${error.message}`));
      return;
    }
    if (sent && !this.#plan.repeatable) {
      this.#events.reject(
        buildStatus(
          504,
          `the connection to kube-apiserver ${id} was lost; whether it carried out the request is unknown`,
        ),
      );
      return;
    }
    this.#events.reject(
      buildStatus(503, `kube-apiserver ${id} cannot be reached: ${error.message}`, 1),
      kind === 'saturated' ? 'saturated' : 'unreachable',
    );
  }
}

function mayBeAboutResource({ headers, chunks }: HeldAnswer): boolean {
  const type = headerValue(headers, 'content-type') ?? '';
  return mayBeUnknownResource(type, headerValue(headers, 'content-encoding'), Buffer.concat(chunks));
}

async function* emptyBody(): AsyncGenerator<Uint8Array> {}
