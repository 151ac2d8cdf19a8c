import { isIP } from 'node:net';
import type { ConnectionOptions, SecureContext, TLSSocket } from 'node:tls';
import { checkServerIdentity, connect as tlsConnect } from 'node:tls';
import type { buildConnector, Dispatcher } from 'undici';
import { Client, errors } from 'undici';
import { parseAddress } from '../../domain/address.ts';
import type {
  PeerCall,
  PeerFault,
  PeerFaultKind,
  PeerHandler,
  PeerRequest,
  PeerTarget,
  PeerTransport,
} from '../../proxy/ports.ts';
import type { AddressPolicy } from './address-policy.ts';
import type { PeerTls, PeerTlsMaterial } from './peer-tls.ts';

/** What the transport needs to know. */
export interface UndiciTransportOptions {
  readonly tls: PeerTls;
  readonly addressPolicy: AddressPolicy;
  readonly connectTimeoutMs?: number;
  /** How long a connection may be idle before it is closed; below kube-apiserver's 90 s. */
  readonly idleTimeoutMs?: number;
  /** How long a short request may wait for its head or between two pieces of its body. */
  readonly shortTimeoutMs?: number;
  readonly maxShortPerPeer?: number;
  readonly maxLongPerPeer?: number;
}

/** A failure before the connection stood, with the reason as a class rather than as text. */
class ConnectFault extends Error {
  override readonly name = 'ConnectFault';
  readonly kind: PeerFaultKind;
  constructor(kind: PeerFaultKind, message: string, cause?: unknown) {
    super(message, { cause });
    this.kind = kind;
  }
}

interface IdleClient {
  readonly client: Client;
  idleSince: number;
}

/** Clients of one peer for one sort of request; last in, first out, so that looking for one costs nothing. */
interface Lane {
  readonly idle: IdleClient[];
  open: number;
  readonly max: number;
  readonly timeoutMs: number;
}

interface Lanes {
  readonly short: Lane;
  readonly long: Lane;
}

/**
 * Sends requests over HTTP/1.1 connections, none of which carries a byte before the peer's certificate was verified to
 * chain to the CA and to bear the server name.
 *
 * Watches and short requests have separate connections. Each request has a connection to itself.
 */
export function createUndiciTransport(options: UndiciTransportOptions): PeerTransport {
  const { tls, addressPolicy, connectTimeoutMs = 3_000, idleTimeoutMs = 60_000, shortTimeoutMs = 120_000 } = options;
  const { maxShortPerPeer = 1_000, maxLongPerPeer = 20_000 } = options;
  const lanesOf = new Map<string, Lanes>();
  const connectTo = (target: PeerTarget, material: PeerTlsMaterial) =>
    connectVerified({ target, material, addressPolicy, timeoutMs: connectTimeoutMs });

  const sweep = setInterval(() => {
    const before = performance.now() - idleTimeoutMs;
    for (const [key, { short, long }] of lanesOf) {
      for (const lane of [short, long]) closeIdle(lane, before);
      if (short.open + long.open === 0) lanesOf.delete(key);
    }
  }, 15_000);
  sweep.unref();

  const newClient = (target: PeerTarget, material: PeerTlsMaterial, lane: Lane): Client => {
    lane.open++;
    const connect: buildConnector.connector = (_options, callback) => {
      connectTo(target, material).then(
        (socket) => callback(null, socket),
        (error: unknown) => callback(error instanceof Error ? error : new Error(String(error)), null),
      );
    };
    return new Client(`https://${target.address}`, {
      connect,
      allowH2: false,
      pipelining: 1,
      maxHeaderSize: 64 * 1024,
      keepAliveTimeout: idleTimeoutMs,
      keepAliveMaxTimeout: idleTimeoutMs,
      headersTimeout: lane.timeoutMs,
      bodyTimeout: lane.timeoutMs,
    });
  };

  return {
    dispatch: (target, request, handler) => {
      const { connectAs } = request;
      const material = tls.material(connectAs);
      if (material === undefined) {
        const error = new Error('no front-proxy client certificate is configured');
        queueMicrotask(() => handler.onFault({ kind: 'request', sent: false, error }));
        return noCall;
      }
      const key = `${target.address} ${target.serverName} ${target.pinned} ${connectAs} ${material.generation}`;
      let lanes = lanesOf.get(key);
      if (lanes === undefined) {
        lanes = {
          short: { idle: [], open: 0, max: maxShortPerPeer, timeoutMs: shortTimeoutMs },
          long: { idle: [], open: 0, max: maxLongPerPeer, timeoutMs: 0 },
        };
        lanesOf.set(key, lanes);
      }
      const lane = request.longRunning ? lanes.long : lanes.short;
      let idle = lane.idle.pop();
      while (idle?.client.destroyed) {
        lane.open--;
        idle = lane.idle.pop();
      }
      if (idle === undefined && lane.open >= lane.max) {
        const error = new Error(`all ${lane.max} connections to ${target.address} are in use`);
        queueMicrotask(() => handler.onFault({ kind: 'saturated', sent: false, error }));
        return noCall;
      }
      return dispatchOn(idle?.client ?? newClient(target, material, lane), lane, target, request, handler);
    },
    probe: async (target) => {
      const material = tls.material('anonymous');
      try {
        return (
          material !== undefined && (await probeReadiness(await connectTo(target, material), target, connectTimeoutMs))
        );
      } catch {
        return false;
      }
    },
    connections: () => {
      let short = 0;
      let long = 0;
      for (const lanes of lanesOf.values()) {
        short += lanes.short.open;
        long += lanes.long.open;
      }
      return { short, long };
    },
    close: async () => {
      clearInterval(sweep);
      for (const { short, long } of lanesOf.values()) for (const lane of [short, long]) closeIdle(lane, Infinity);
    },
  };
}

const noCall: PeerCall = { pause() {}, resume() {}, abort() {} };

function closeIdle(lane: Lane, before: number): void {
  // The oldest are at the front.
  let count = 0;
  while (count < lane.idle.length && (lane.idle[count]?.idleSince ?? 0) <= before) count++;
  for (const { client } of lane.idle.splice(0, count)) {
    lane.open--;
    client.destroy().catch(() => {});
  }
}

function dispatchOn(
  client: Client,
  lane: Lane,
  target: PeerTarget,
  request: PeerRequest,
  handler: PeerHandler,
): PeerCall {
  let controller: Dispatcher.DispatchController | undefined;
  let abortedBy: Error | undefined;
  let settled = false;
  const release = () => {
    if (client.destroyed) lane.open--;
    else lane.idle.push({ client, idleSince: performance.now() });
  };
  const fail = (error: unknown) => {
    if (settled) return;
    settled = true;
    release();
    const fault = abortedBy === undefined ? faultOf(error, controller !== undefined) : undefined;
    handler.onFault(
      fault ?? { kind: 'aborted', sent: controller !== undefined, error: abortedBy ?? new Error('aborted') },
    );
  };
  const call: PeerCall = {
    pause: () => controller?.pause(),
    resume: () => controller?.resume(),
    abort: (reason) => {
      if (settled || abortedBy !== undefined) return;
      abortedBy = reason;
      if (controller !== undefined) controller.abort(reason);
      else client.destroy(reason).catch(() => {});
    },
  };
  const options = {
    path: request.path,
    // undici's own type lists the common methods only; it sends any token.
    method: request.method as Dispatcher.HttpMethod,
    headers: request.rawHeaders as string[],
    // An async iterable is sent as a stream is, but it is not destroyed when the connection never stood.
    body: request.body as Dispatcher.DispatchOptions['body'],
    blocking: true,
    idempotent: false,
    // Else undici takes the client's Host header for the name to verify, and reconnects whenever it changes.
    servername: target.serverName,
    upgrade: request.upgrade ?? null,
  } as Dispatcher.DispatchOptions;
  try {
    client.dispatch(options, {
      onRequestStart: (started) => {
        controller = started;
        if (abortedBy !== undefined) started.abort(abortedBy);
      },
      onResponseStart: (started, status) => {
        if (status < 200) return;
        handler.onHead(status, latin1(started.rawHeaders));
      },
      onResponseData: (_started, chunk) => handler.onData(chunk),
      onResponseEnd: (started) => {
        if (settled) return;
        settled = true;
        release();
        handler.onEnd(latin1(started.rawTrailers));
      },
      onResponseError: (_started, error) => fail(error),
      onRequestUpgrade: (started, _status, _headers, socket) => {
        settled = true;
        release();
        handler.onUpgrade(latin1(started.rawHeaders), socket);
      },
    });
  } catch (error) {
    fail(error);
  }
  return call;
}

function latin1(raw: Dispatcher.DispatchController['rawHeaders']): string[] {
  if (!Array.isArray(raw)) return [];
  return raw.map((part: string | Buffer) => (typeof part === 'string' ? part : part.toString('latin1')));
}

function faultOf(error: unknown, sent: boolean): PeerFault {
  const cause = error instanceof Error ? error : new Error(String(error));
  if (cause instanceof ConnectFault) return { kind: cause.kind, sent: false, error: cause };
  if (cause instanceof errors.HeadersTimeoutError || cause instanceof errors.BodyTimeoutError)
    return { kind: 'timeout', sent, error: cause };
  if (
    cause instanceof errors.InvalidArgumentError ||
    cause instanceof errors.NotSupportedError ||
    cause instanceof errors.RequestContentLengthMismatchError
  )
    return { kind: 'request', sent, error: cause };
  return { kind: sent ? 'reset' : 'connect', sent, error: cause };
}

interface ConnectOptions {
  readonly target: PeerTarget;
  readonly material: PeerTlsMaterial;
  readonly addressPolicy: AddressPolicy;
  readonly timeoutMs: number;
}

/**
 * A client certificate is part of the handshake, and Node checks the server's certificate only after it. So a
 * connection with one is made only right after an anonymous one has verified the server, and is verified again.
 */
async function connectVerified(options: ConnectOptions): Promise<TLSSocket> {
  const { anonymous, identified } = options.material;
  if (identified === undefined) return connectWith(options, anonymous, true);
  const check = await connectWith(options, anonymous, false);
  check.on('error', () => {});
  check.end();
  check.destroySoon();
  return connectWith(options, identified, true);
}

function connectWith(
  { target, material, addressPolicy, timeoutMs }: ConnectOptions,
  secureContext: SecureContext,
  resume: boolean,
): Promise<TLSSocket> {
  const { sessions } = material;
  const { address, serverName } = target;
  const parsed = parseAddress(address);
  const verdict = target.pinned ? { ok: true as const } : addressPolicy.check(address);
  if (parsed === undefined || !verdict.ok)
    return Promise.reject(new ConnectFault('address', `${address}: ${verdict.ok ? 'not host:port' : verdict.reason}`));
  const sessionKey = `${address} ${serverName}`;
  return new Promise((resolve, reject) => {
    const session = resume ? sessions.get(sessionKey) : undefined;
    const options: ConnectionOptions & { readonly allowHalfOpen: boolean } = {
      host: parsed.host,
      port: parsed.port,
      // An upgraded connection may be half closed; undici ends the others itself.
      allowHalfOpen: true,
      secureContext,
      rejectUnauthorized: true,
      ALPNProtocols: ['http/1.1'],
      ...(isIP(serverName) === 0 && { servername: serverName }),
      checkServerIdentity: (_host, certificate) => checkServerIdentity(serverName, certificate),
      ...(session !== undefined && { session }),
    };
    const socket = tlsConnect(options);
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 15_000);
    const timer = setTimeout(() => {
      socket.destroy(new ConnectFault('connect', `${address}: no connection within ${timeoutMs} ms`));
    }, timeoutMs);
    const onError = (error: Error & { code?: string }) => {
      clearTimeout(timer);
      sessions.delete(sessionKey);
      if (error instanceof ConnectFault) return reject(error);
      const kind = isCertificateError(error.code) ? 'certificate' : 'connect';
      reject(new ConnectFault(kind, `${address}: ${error.message}`, error));
    };
    socket.once('error', onError);
    if (resume) socket.on('session', (fresh) => sessions.set(sessionKey, fresh));
    socket.once('secureConnect', () => {
      clearTimeout(timer);
      socket.removeListener('error', onError);
      // `rejectUnauthorized` has seen to it; a second look costs nothing where credentials are at stake.
      if (!socket.authorized) {
        socket.on('error', () => {});
        socket.destroy();
        return reject(new ConnectFault('certificate', `${address}: certificate not verified`));
      }
      resolve(socket);
    });
  });
}

/** Codes of OpenSSL's verification and of Node's check of the name; the rest are ways of not connecting. */
function isCertificateError(code: string | undefined): boolean {
  if (code === undefined) return false;
  return /CERT|SIGNATURE|ISSUER|CRL|CHAIN|INVALID_CA|PATH_LENGTH|INVALID_PURPOSE|HOSTNAME_MISMATCH/.test(code);
}

async function probeReadiness(socket: TLSSocket, target: PeerTarget, timeoutMs: number): Promise<boolean> {
  const client = new Client(`https://${target.address}`, {
    // Called back at once, undici would not notice.
    connect: (_options, callback) => queueMicrotask(() => callback(null, socket)),
    allowH2: false,
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
  });
  try {
    const { statusCode, body } = await client.request({
      method: 'GET',
      path: '/readyz',
      reset: true,
      signal: AbortSignal.timeout(timeoutMs),
    });
    await body.dump();
    // Where anonymous requests are not allowed, a refusal is all that can be had; it comes from a working server.
    return statusCode === 200 || statusCode === 401 || statusCode === 403;
  } finally {
    await client.destroy();
  }
}
