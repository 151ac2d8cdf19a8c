import type { Duplex } from 'node:stream';
import type { NotFoundRule } from '../domain/route-request.ts';
import type { StatusError } from '../domain/status-error.ts';
import { buildStatus } from '../domain/status-error.ts';
import { classifiableBytes, classifyNotFound } from './classify-not-found.ts';
import { isShutdownRefusal } from './classify-refusal.ts';
import type { Exchange } from './exchange.ts';
import type { FleetPeer } from './fleet.ts';
import { headerValue, prepareRequestHeaders, prepareResponseHeaders } from './headers.ts';
import { keepBody } from './kept-body.ts';
import type { PeerCall, PeerFault, PeerTransport, UnavailableReason } from './ports.ts';

/** One server to try. */
export interface ForwardTarget {
  readonly peer: FleetPeer;
  readonly notFound: NotFoundRule;
  /** True for a server that is not the client's home. */
  readonly peerProxied: boolean;
}

/** What is to be sent, and to whom, in this order. */
export interface ForwardPlan {
  readonly targets: readonly ForwardTarget[];
  readonly longRunning: boolean;
  /** True for a read that may be sent twice. */
  readonly repeatable: boolean;
  /** True where a 404 may come from something behind the server (`proxy` subresources), so that it tells nothing. */
  readonly opaqueNotFound: boolean;
  readonly upgrade:
    | { readonly protocol: string; accept(rawHeaders: readonly string[], peer: Duplex): void }
    | undefined;
}

/** What forwarding tells its caller; every exchange gives exactly one `onDone`. */
export interface ForwardEvents {
  onFault(target: ForwardTarget, fault: PeerFault): void;
  onFailover(target: ForwardTarget): void;
  /** A server said that it does not know a resource that the table says it serves. */
  onTableBehind(target: ForwardTarget): void;
  /** An answer is passed on; it was waited for `waitedMs` since it was asked for. */
  /** A server said that it is shutting down, and refused the request unseen. */
  onShutdown(target: ForwardTarget): void;
  onHead(target: ForwardTarget, status: number, waitedMs: number): void;
  reject(status: StatusError, why?: UnavailableReason): void;
}

/** Bodies up to this size are kept while another server may have to be tried: most objects, and no upload. */
const keptBodyBytes = 256 * 1024;

/**
 * Streams one request to the first server that can take it, and its answer back, without ever repeating a write.
 *
 * Before a byte was sent the next server is tried, always. A GET or HEAD without a body that has had no byte of an
 * answer is sent once more, to another server where there is one. A 404 by which a server says that it does not know
 * the resource, although the table says that it does, proves that nothing was carried out: the next server is tried, for
 * writes too while their body is still whole, and likewise where a server refuses everything because it is shutting down
 * (docs/decisions/0005-failover.md). Everything else is answered by a Status:
 * one that may have been carried out by 504 without `Retry-After`, so that no client repeats it by itself.
 */
export function forward(exchange: Exchange, plan: ForwardPlan, transport: PeerTransport, events: ForwardEvents): void {
  const { targets, longRunning, repeatable } = plan;
  const { method } = exchange;
  let call: PeerCall | undefined;
  let closed = false;
  let drains = false;
  let at = 0;
  let repeats = 1;
  const body = exchange.hasBody
    ? keepBody(() => exchange.body() ?? emptyBody(), targets.length > 1 ? keptBodyBytes : 0)
    : undefined;
  exchange.onClose((complete) => {
    closed = true;
    // A no-op once the peer's answer has ended; an answer of our own ends before it.
    call?.abort(new Error(complete ? 'the request has been answered' : 'the client has left'));
  });
  const outOfReach = (fault: PeerFault | undefined, target: ForwardTarget) => {
    const { id } = target.peer.target;
    if (fault?.kind === 'request')
      return events.reject(buildStatus(400, `the request cannot be sent: ${fault.error.message}`));
    if (fault?.sent && !repeatable)
      return events.reject(
        buildStatus(
          504,
          `the connection to kube-apiserver ${id} was lost; whether it carried out the request is unknown`,
        ),
      );
    events.reject(
      buildStatus(503, `kube-apiserver ${id} cannot be reached: ${fault?.error.message ?? 'no answer'}`, 1),
      fault?.kind === 'saturated' ? 'saturated' : 'unreachable',
    );
  };
  const attempt = (target: ForwardTarget) => {
    const { peer, peerProxied, notFound } = target;
    // What is behind a server that knows the resource may answer as it likes; one that does not know it has nothing behind.
    const mayBeWrong = notFound.kind === 'doubt' || (notFound.kind === 'listed' && !plan.opaqueNotFound);
    const prepared = prepareRequestHeaders(exchange.rawHeaders, {
      remoteAddress: exchange.connection.remoteAddress,
      peerProxied,
      identity: exchange.identity,
    });
    if (prepared.kind === 'bad') return events.reject(buildStatus(400, prepared.message));
    // Only where another server could be asked instead, and where it is the server's own word.
    const mayBeShuttingDown = (status: number, headers: readonly string[]) =>
      (status === 503 || status === 429) &&
      targets[at + 1] !== undefined &&
      !plan.opaqueNotFound &&
      headerValue(headers, 'retry-after') !== undefined;
    let held: { status: number; headers: string[]; chunks: Buffer[]; size: number } | undefined;
    let started = false;
    const askedAt = performance.now();
    peer.load.inFlight++;
    const start = (status: number, headers: string[]) => {
      started = true;
      events.onHead(target, status, performance.now() - askedAt);
      exchange.respond(status, headers);
    };
    const send = (chunk: Buffer) => {
      if (exchange.write(chunk)) return;
      call?.pause();
      if (drains) return;
      drains = true;
      exchange.onDrain(() => call?.resume());
    };
    const releaseHeld = () => {
      if (held === undefined) return;
      const { status, headers, chunks } = held;
      held = undefined;
      start(status, headers);
      for (const chunk of chunks) send(chunk);
    };
    call = transport.dispatch(
      peer.target,
      {
        method,
        path: exchange.target,
        rawHeaders: prepared.rawHeaders,
        body: body?.open() ?? null,
        longRunning,
        connectAs: exchange.identity.connectAs,
        upgrade: plan.upgrade?.protocol,
      },
      {
        onHead: (status, rawHeaders) => {
          if (closed) return;
          const headers = prepareResponseHeaders(rawHeaders);
          if ((status === 404 && mayBeWrong) || mayBeShuttingDown(status, headers))
            held = { status, headers, chunks: [], size: 0 };
          else start(status, headers);
        },
        onData: (chunk) => {
          if (closed) return;
          if (held === undefined) return send(chunk);
          // The transport reuses nothing of the chunk's memory, so it may be kept.
          held.chunks.push(chunk);
          held.size += chunk.length;
          if (held.size <= classifiableBytes) return;
          if (held.status !== 404 || notFound.kind === 'listed') return releaseHeld();
          held = undefined;
          call?.abort(new Error('a 404 that cannot be told'));
          rejectDoubtful(notFound);
        },
        onEnd: (rawTrailers) => {
          peer.load.inFlight--;
          if (closed) return;
          // kube-apiserver has a HEAD of no object (405), so that to HEAD it is of a resource only that it says 404.
          if (held?.status === 404 && (method === 'HEAD' || isWrongNotFound(held, notFound))) return onWrongNotFound();
          if (held !== undefined && isShutdownRefusal(held.status, Buffer.concat(held.chunks))) {
            events.onShutdown(target);
            if (tryNext((other) => other)) return;
          }
          releaseHeld();
          exchange.end(undefined, prepareResponseHeaders(rawTrailers));
        },
        onFault: (fault) => {
          peer.load.inFlight--;
          if (fault.kind === 'aborted' || closed) return;
          events.onFault(target, fault);
          if (started) return exchange.destroy();
          next(target, fault);
        },
        onUpgrade: (rawHeaders, socket) => {
          if (closed || plan.upgrade === undefined) {
            peer.load.inFlight--;
            socket.destroy();
            return;
          }
          events.onHead(target, 101, performance.now() - askedAt);
          socket.once('close', () => {
            peer.load.inFlight--;
          });
          plan.upgrade.accept(rawHeaders, socket);
        },
      },
    );
    const rejectDoubtful = (rule: NotFoundRule) => {
      const why = rule.kind === 'doubt' ? rule.message : 'the routing table is behind';
      events.reject(buildStatus(503, `whether any kube-apiserver serves this is unknown: ${why}`, 1), 'doubt');
    };
    const onWrongNotFound = () => {
      held = undefined;
      if (notFound.kind === 'doubt') return rejectDoubtful(notFound);
      events.onTableBehind(target);
      if (!tryNext((other) => ({ ...other, peerProxied: true }))) rejectDoubtful(notFound);
    };
  };
  /** After an answer which proves that nothing was carried out; false if there is no other server, or no body left. */
  const tryNext = (as: (other: ForwardTarget) => ForwardTarget): boolean => {
    const other = targets[at + 1];
    if (other === undefined || body?.whole === false) return false;
    at++;
    events.onFailover(other);
    attempt(as(other));
    return true;
  };
  const next = (target: ForwardTarget, fault: PeerFault) => {
    if (fault.kind === 'request') return outOfReach(fault, target);
    const untouched = !fault.sent && body?.begun !== true;
    if (!untouched && !(repeatable && repeats-- > 0)) return outOfReach(fault, target);
    // A lone server gets a second chance after a reset: an idle connection may close just as it is used.
    const other = targets[at + 1] ?? (fault.sent ? target : undefined);
    if (other === undefined) return outOfReach(fault, target);
    at++;
    if (other !== target) events.onFailover(other);
    attempt(other);
  };
  const first = targets[0];
  if (first === undefined)
    events.reject(buildStatus(503, 'no kube-apiserver can take requests now', 1), 'no_ready_server');
  else attempt(first);
}

function isWrongNotFound(
  held: { readonly headers: readonly string[]; readonly chunks: readonly Buffer[] },
  rule: NotFoundRule,
): boolean {
  const type = headerValue(held.headers, 'content-type') ?? '';
  const kind = classifyNotFound(type, headerValue(held.headers, 'content-encoding'), Buffer.concat(held.chunks));
  return kind === 'resource' || (kind === 'unknown' && rule.kind === 'doubt');
}

async function* emptyBody(): AsyncGenerator<Uint8Array> {}
