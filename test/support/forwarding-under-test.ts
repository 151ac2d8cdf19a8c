import type { Duplex } from 'node:stream';
import { parseRequestInfo } from '../../src/domain/request-info.ts';
import type { NotFoundRule } from '../../src/domain/route-request.ts';
import type { AnswerHandler, Fault, FaultKind } from '../../src/http/client/dispatch.ts';
import {
  type ForwardContext,
  type ForwardOutcome,
  type ForwardRequest,
  forward,
} from '../../src/proxy/forward/forward.ts';
import { passThrough, type RequestIdentity } from '../../src/proxy/identity/request-identity.ts';
import { isLongRunning, type RoutePlan } from '../../src/proxy/plan/plan-request.ts';
import type { PeerRequest, PeerTarget, PeerTransport } from '../../src/proxy/ports.ts';
import type { ClientConnection, Exchange } from '../../src/proxy/request/exchange.ts';
import type { FleetPeer } from '../../src/proxy/servers/fleet.ts';
import type { ServerReports } from '../../src/proxy/servers/server-reports.ts';
import { type LogFields, silentLog } from '../../src/runtime/log.ts';
import { createManualClock } from './manual-clock.ts';

/** A request and the facts about it that a test changes. */
export interface ForwardingCase {
  readonly method?: string;
  readonly path?: string;
  readonly rawHeaders?: readonly string[];
  /** The pieces of its body; none by default. */
  readonly body?: readonly string[];
  /** False if the client has not sent all of it. */
  readonly isBodyComplete?: boolean;
  /** The ids of the servers to try, in this order. */
  readonly servers?: readonly string[];
  readonly notFound?: NotFoundRule;
  readonly fromBackend?: boolean;
  readonly upgrade?: string;
  readonly fields?: RoutePlan['fields'];
  readonly identity?: Partial<RequestIdentity>;
  /** Ids of servers that have not been ready since they failed. */
  readonly newcomers?: readonly string[];
  /** The number of writes that the client takes before it must drain. */
  readonly writable?: number;
}

/** One request that the proxy has sent to a server, and the server's side of it. */
export interface SentRequest {
  readonly id: string;
  readonly request: PeerRequest;
  /** True if it says that the request must not be routed again. */
  readonly isMarked: boolean;
  readonly answer: AnswerHandler;
  readonly calls: readonly string[];
  /** Reads the whole body, as the transport does when it sends it. */
  readBody(): Promise<string>;
  /** A whole answer. */
  reply(status: number, body?: string, rawHeaders?: readonly string[]): void;
  fail(kind: FaultKind, facts: { readonly sent: boolean }): void;
}

/** What the client sees, in order: `respond`, `write`, `end` and the like. */
export type Seen = readonly (string | number | readonly string[] | undefined)[];

/** A request on its way, without sockets: the test is its client and its servers. */
export interface ForwardingUnderTest {
  readonly sent: readonly SentRequest[];
  /** The last one. */
  last(): SentRequest;
  readonly client: Seen[];
  readonly outcomes: readonly ForwardOutcome[];
  /** Reports about servers. */
  readonly reports: readonly (readonly unknown[])[];
  readonly failed: readonly string[];
  readonly defects: readonly string[];
  readonly peers: readonly FleetPeer[];
  /** Bytes of the body that are kept for another server. */
  heldBytes(): number;
  /** How often the other servers were looked up. */
  lookups(): number;
  /** The client has left, or its answer is complete. */
  close(complete: boolean): void;
  drain(): void;
  readonly accepted: readonly (readonly [rawHeaders: readonly string[], socket: Duplex])[];
}

const loopback = '127.0.0.1';

/** Begins to forward a request to fake servers. */
export function startForwarding(given: ForwardingCase = {}): ForwardingUnderTest {
  const { method = 'GET', path = '/api/v1/namespaces/d/pods', servers = ['one', 'two'] } = given;
  const sent: SentRequest[] = [];
  const client: Seen[] = [];
  const outcomes: ForwardOutcome[] = [];
  const reports: unknown[][] = [];
  const failed: string[] = [];
  const defects: string[] = [];
  const accepted: [readonly string[], Duplex][] = [];
  const counts = { lookups: 0, writes: 0 };
  const listeners = { close: (_complete: boolean) => {}, drain: () => {} };
  const peers = servers.map(
    (id, at): FleetPeer => ({
      target: { id, address: `10.0.0.${at + 1}:6443`, serverName: 'kubernetes.default.svc', pinned: false },
      state: 'Ready',
      load: { inFlight: 0, asked: 0 },
    }),
  );
  const exchange = {
    method,
    target: path,
    rawHeaders: given.rawHeaders ?? ['Host', 'h'],
    protocol: 'HTTP/2',
    connection: {
      remoteAddress: loopback,
      certificate: undefined,
      home: undefined,
      sticky: new Map(),
    } satisfies ClientConnection,
    identity: { ...passThrough, ...given.identity },
    hasBody: given.body !== undefined,
    bodyComplete: () => given.isBodyComplete !== false,
    body: async function* body() {
      for (const piece of given.body ?? []) yield Buffer.from(piece);
    },
    heldElsewhere: 0,
    status: () => 0,
    interim: (status: number, rawHeaders: readonly string[]) => client.push(['interim', status, rawHeaders]),
    respond: (status: number, rawHeaders: readonly string[]) => client.push(['respond', status, rawHeaders]),
    write: (chunk: Buffer) => {
      client.push(['write', chunk.toString()]);
      return ++counts.writes < (given.writable ?? Number.POSITIVE_INFINITY);
    },
    end: (chunk?: Buffer, rawTrailers?: readonly string[]) => {
      client.push(['end', chunk?.toString(), ...(rawTrailers === undefined ? [] : [rawTrailers])]);
    },
    destroy: () => {
      client.push(['destroy']);
      listeners.close(false);
    },
    onDrain: (listener: () => void) => {
      client.push(['waits']);
      listeners.drain = listener;
    },
    onClose: (listener: (complete: boolean) => void) => {
      listeners.close = listener;
    },
  };
  const dispatch = (target: PeerTarget, request: PeerRequest, answer: AnswerHandler) => {
    const calls: string[] = [];
    sent.push({
      id: target.id,
      request,
      isMarked: request.rawHeaders.includes('x-kubernetes-peer-proxied'),
      answer,
      calls,
      readBody: async () => {
        let text = '';
        for await (const piece of request.body ?? []) text += Buffer.from(piece).toString();
        return text;
      },
      reply: (status, body = '', rawHeaders = []) => {
        answer.onHead(status, [...rawHeaders]);
        if (body !== '') answer.onData(Buffer.from(body), false);
        answer.onEnd([]);
      },
      fail: (kind, { sent: wasSent }) => answer.onFault(faultOf(kind, wasSent)),
    });
    return {
      pause: () => void calls.push('pause'),
      resume: () => void calls.push('resume'),
      abort: (error: Error) => {
        calls.push(`abort: ${error.message}`);
        answer.onFault({ kind: 'aborted', sent: true, error });
      },
    };
  };
  const report = (name: string) => (target: PeerTarget, detail: unknown, more?: unknown) =>
    void reports.push([
      name,
      target.id,
      ...(isFault(detail) ? [detail.kind] : [detail]),
      ...(more === undefined ? [] : [more]),
    ]);
  const reporting: ServerReports = {
    knowsItsUsers: ({ id }) => given.newcomers?.includes(id) !== true,
    noteFault: report('fault'),
    noteShutdown: (target, { fromBackend }) => void reports.push(['shutdown', target.id, { fromBackend }]),
    noteTableBehind: report('behind'),
    noteFailover: () => void reports.push(['failover']),
  };
  const context: ForwardContext = {
    transport: { dispatch } as unknown as PeerTransport,
    clock: createManualClock(),
    log: {
      ...silentLog,
      error: (_message: string, fields?: LogFields) => void defects.push(String(fields?.error).split('\n', 1)[0] ?? ''),
    },
    servers: reporting,
    record: { noteFailed: (id, what) => void failed.push(`${id}: ${what}`) },
  };
  forward(
    exchange as unknown as Exchange,
    requestOf(given, peers, method, path, counts, accepted),
    context,
    (outcome) => {
      outcomes.push(outcome);
      client.push(
        outcome.kind === 'answer' ? ['answer of', outcome.target.peer.target.id] : ['refuse', outcome.status.code],
      );
    },
  );
  return {
    sent,
    last: () => {
      const last = sent.at(-1);
      if (last === undefined) throw new Error('nothing was sent');
      return last;
    },
    client,
    outcomes,
    reports,
    failed,
    defects,
    peers,
    heldBytes: () => exchange.heldElsewhere,
    lookups: () => counts.lookups,
    close: (complete) => listeners.close(complete),
    drain: () => listeners.drain(),
    accepted,
  };
}

function requestOf(
  { notFound = { kind: 'listed' }, fromBackend = false, fields, upgrade }: ForwardingCase,
  peers: readonly FleetPeer[],
  method: string,
  path: string,
  counts: { lookups: number },
  accepted: [readonly string[], Duplex][],
): ForwardRequest {
  const parsed = parseRequestInfo(method, path);
  if (parsed.kind === 'bad') throw new Error(parsed.message);
  const { info } = parsed;
  const [first, ...others] = peers.map((peer) => ({ peer, notFound, peerProxied: false }));
  const plan: RoutePlan = {
    kind: 'forward',
    route: 'home',
    first,
    others: () => {
      counts.lookups++;
      return others;
    },
    binds: 'home',
    fields,
    reason: '',
  };
  const accept = (rawHeaders: readonly string[], socket: Duplex) => void accepted.push([rawHeaders, socket]);
  return {
    plan,
    info,
    longRunning: isLongRunning(info),
    fromBackend,
    upgrade: upgrade === undefined ? undefined : { protocol: upgrade, accept },
  };
}

function faultOf(kind: FaultKind, sent: boolean): Fault {
  return { kind, sent, error: new Error('it broke') };
}

function isFault(value: unknown): value is Fault {
  return typeof value === 'object' && value !== null && 'kind' in value && 'error' in value;
}
