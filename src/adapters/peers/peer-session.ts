import { createSecureContext, type SecureContext } from 'node:tls';
import { type Dispatcher, Pool } from 'undici';
import { formatAddress, type HostPort } from '../../domain/address.ts';
import { messageOf } from '../../runtime/message-of.ts';
import { anchorSets, type TryEach, tryEach } from '../../runtime/trust-anchors.ts';
import { openVerifiedConnection, PeerError } from './verified-connection.ts';

/** A credential for peers: a bearer token, a client certificate with its key, or neither. */
export interface PeerCredentials {
  readonly token?: string;
  readonly certPem?: string;
  readonly keyPem?: string;
}

/** The identity of a session's connections. Any change needs a new session. */
export interface PeerIdentity {
  readonly caPem: string;
  readonly certPem: string | undefined;
  readonly keyPem: string | undefined;
}

/** A peer's complete answer. */
export interface PeerAnswer {
  readonly status: number;
  readonly etag: string | undefined;
  /** Empty unless the status is one of `read`. */
  readonly body: Buffer;
}

/** One GET. */
export interface PeerGet {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Statuses whose body is read; other bodies are dropped. */
  readonly read: readonly number[];
  /** Shared by the requests of one operation, and reduced by what they read. */
  readonly budget: { bytes: number };
  readonly signal: AbortSignal;
}

/** Persistent connections to one peer, shared with no other peer. */
export interface PeerSession {
  readonly identity: PeerIdentity;
  /** @throws PeerError, or the signal's reason if that aborted. */
  get(request: PeerGet): Promise<PeerAnswer>;
  /** DNS names of the last verified certificate. */
  certificateNames(): readonly string[];
  /** Lets running requests end, then closes. `destroy` does not wait. */
  close(): void;
  destroy(): void;
}

export interface PeerSessionOptions {
  readonly target: HostPort;
  readonly serverName: string;
  readonly identity: PeerIdentity;
  readonly timeoutMs: number;
  readonly onConnectionLost: () => void;
  /**
   * Called once per connection with the expiry of the server's verified certificate, in milliseconds since the epoch.
   */
  readonly onCertificate?: ((notAfter: number) => void) | undefined;
}

const dayMs = 24 * 3600 * 1000;
const ignoredBodyBytes = 64 * 1024;

/**
 * Opens a session that sends requests only over verified connections; see `openVerifiedConnection`.
 *
 * It follows no redirects and refuses compressed answers. It repeats a GET only if a persistent connection broke before
 * the head of its answer.
 * @throws PeerError if the CA or the client certificate cannot be read.
 */
export function openPeerSession(options: PeerSessionOptions): PeerSession {
  const { target, serverName, identity, timeoutMs } = options;
  const anonymous = readContexts(identity.caPem);
  const identified =
    identity.certPem !== undefined && identity.keyPem !== undefined
      ? readContexts(identity.caPem, { cert: identity.certPem, key: identity.keyPem })
      : undefined;
  let names: readonly string[] = [];
  let inFlight = 0;
  let answered = false;
  let ended = false;

  const pool = new Pool(`https://${formatAddress(target)}`, {
    connections: 4,
    pipelining: 1,
    allowH2: false,
    // The operation's own deadline covers connecting, head and body.
    headersTimeout: 0,
    bodyTimeout: 0,
    // Idle connections stay open, so that the peer's death shows at once.
    keepAliveTimeout: dayMs,
    keepAliveMaxTimeout: dayMs,
    connect: (_options, callback) => {
      openVerifiedConnection({ ...target, serverName, anonymous, identified, timeoutMs }).then(
        (socket) => {
          const lost = () => {
            if (!ended && inFlight === 0) options.onConnectionLost();
          };
          socket.once('end', lost);
          socket.once('error', (error: NodeJS.ErrnoException) => {
            if (error.code?.startsWith('E') === true) lost();
          });
          const certificate = socket.getPeerX509Certificate();
          if (certificate !== undefined) {
            names = readDnsNames(certificate.subjectAltName);
            options.onCertificate?.(Date.parse(certificate.validTo));
          }
          callback(null, socket);
        },
        (error: unknown) => callback(error instanceof Error ? error : new Error(String(error)), null),
      );
    },
  });

  async function head(request: PeerGet): Promise<Dispatcher.ResponseData> {
    const { path, headers, signal } = request;
    const retry = answered;
    const send = () => pool.request({ method: 'GET', path, headers: { ...headers }, signal });
    try {
      return await send();
    } catch (error) {
      if (retry && !signal.aborted && brokeOnUse(error)) return await send();
      throw error;
    }
  }

  return {
    identity,
    certificateNames: () => names,
    async get(request) {
      const { path, signal } = request;
      inFlight += 1;
      try {
        const { statusCode: status, headers, body } = await head(request);
        answered = true;
        const etag = typeof headers.etag === 'string' ? headers.etag : undefined;
        if (!request.read.includes(status)) {
          await body.dump({ limit: ignoredBodyBytes, signal }).catch(() => {});
          signal.throwIfAborted();
          return { status, etag, body: Buffer.alloc(0) };
        }
        const encoding = headers['content-encoding'];
        if (encoding !== undefined && encoding !== 'identity') {
          body.on('error', () => {}).destroy();
          throw new PeerError('Malformed', `${path} is encoded, although the operator offered no encoding`);
        }
        return { status, etag, body: await readBody(body, headers['content-length'], request) };
      } catch (error) {
        throw asFault(error, signal);
      } finally {
        inFlight -= 1;
      }
    },
    close() {
      ended = true;
      pool.close().catch(() => {});
    },
    destroy() {
      ended = true;
      pool.destroy().catch(() => {});
    },
  };
}

/** Node quotes a name with a character that could belong to the list itself; no host's name has one. */
function readDnsNames(subjectAltName: string | undefined): readonly string[] {
  return (subjectAltName ?? '')
    .split(', ')
    .flatMap((entry) => (/^DNS:[\w.-]+$/.test(entry) ? [entry.slice('DNS:'.length)] : []));
}

async function readBody(
  body: Dispatcher.ResponseData['body'],
  contentLength: string | string[] | undefined,
  { path, budget }: PeerGet,
): Promise<Buffer> {
  const tooLarge = () => new PeerError('TooLarge', `${path} is larger than the limit`);
  if (typeof contentLength === 'string' && Number(contentLength) > budget.bytes) {
    body.on('error', () => {}).destroy();
    throw tooLarge();
  }
  const chunks: Buffer[] = [];
  for await (const chunk of body as AsyncIterable<Buffer>) {
    budget.bytes -= chunk.length;
    // Leaving the loop destroys the body and with it the connection.
    if (budget.bytes < 0) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function readContexts(caPem: string, own?: { readonly cert: string; readonly key: string }): TryEach<SecureContext> {
  try {
    const [first, ...others] = anchorSets(caPem);
    const make = (anchors: typeof first) => createSecureContext({ ...anchors, ...own });
    return tryEach([make(first), ...others.map(make)]);
  } catch (error) {
    const message = `the CA or the client certificate cannot be read: ${error instanceof Error ? error.message : error}`;
    throw new PeerError('Refused', message, { cause: error });
  }
}

function errorCode(error: unknown): string {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return typeof code === 'string' ? code : '';
}

function brokeOnUse(error: unknown): boolean {
  return ['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'].includes(errorCode(error));
}

function asFault(error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  if (error instanceof PeerError) return error;
  const message = messageOf(error);
  const malformed = /^(HPE_|UND_ERR_(HEADERS_OVERFLOW|RES_|INVALID|NOT_SUPPORTED))/.test(errorCode(error));
  return new PeerError(malformed ? 'Malformed' : 'Unreachable', message, { cause: error });
}
