import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import {
  createSecureServer,
  type Http2SecureServer,
  type Http2ServerRequest,
  type ServerHttp2Session,
} from 'node:http2';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { parse, stringify } from 'yaml';
import type { Clock } from '../../src/runtime/clock.ts';
import { type Answer, answerStatus, headerText, type SimulatedRequest, type SimulatedUser } from './answer.ts';

/** A certificate and its key, both PEM. */
export interface ServingCertificate {
  readonly cert: string;
  readonly key: string;
}

/** A request that arrived at a server. */
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  /** The header fields as sent. Tests look here for credentials that a server must never receive. */
  readonly authorization: string;
  readonly headers: SimulatedRequest['headers'];
}

/** The reaction to a request: an answer, meaningless bytes, or no answer at all. */
export type Reaction =
  | { readonly kind: 'answer'; readonly answer: Answer; readonly delayMs: number }
  | { readonly kind: 'bytes'; readonly chunks: Iterable<Buffer>; readonly breakOff: boolean }
  | { readonly kind: 'silence' };

/** The listening half of a simulated server: TLS, HTTP/1.1 and HTTP/2, authentication by token. */
export interface RequestServer {
  listen(address: string, port: number): Promise<number>;
  /** Sets the certificate of new connections. */
  useCertificate(certificate: ServingCertificate): void;
  /** Breaks every connection, but continues to listen. */
  cut(): void;
  /** Ends watches, lets other requests finish, and closes. */
  drain(): Promise<void>;
  /** Breaks every connection and stops listening, like a process that dies. */
  crash(): Promise<void>;
}

interface Response {
  writeHead(status: number, headers: Record<string, string>): unknown;
  write(chunk: string | Buffer): boolean;
  end(chunk?: string): unknown;
  on(event: 'close' | 'error', listener: () => void): unknown;
}

/** Creates a server that calls `react` for every request with a known token, or that may be anonymous. */
export function createRequestServer(options: {
  readonly certificate: ServingCertificate;
  readonly users: ReadonlyMap<string, SimulatedUser>;
  readonly react: (request: SimulatedRequest) => Reaction;
  readonly onSeen: (request: SeenRequest) => void;
  readonly onHandshake: () => void;
  readonly clock: Clock;
}): RequestServer {
  const { clock } = options;
  const sockets = new Set<TLSSocket>();
  const sessions = new Set<ServerHttp2Session>();
  const watches = new Set<() => void>();
  const stopped = new AbortController();
  const server: Http2SecureServer = createSecureServer(
    { ...options.certificate, allowHTTP1: true },
    (incoming, response) => {
      const respond = response as unknown as Response;
      respond.on('error', () => {});
      void readRequest(incoming, options.users).then(
        (request) => {
          options.onSeen({
            method: request.method,
            path: request.path,
            authorization: headerText(request, 'authorization'),
            headers: request.headers,
          });
          const reaction = refuse(request) ?? options.react(request);
          if (reaction.kind === 'bytes') return sendBytes(reaction, respond, incoming.socket);
          if (reaction.kind === 'silence') return undefined;
          if (reaction.delayMs === 0) return write(request, reaction.answer, respond);
          return clock.sleep(reaction.delayMs, stopped.signal).then(() => write(request, reaction.answer, respond));
        },
        () => {},
      );
    },
  );
  server.on('tlsClientError', () => {});
  server.on('sessionError', () => {});
  server.on('secureConnection', (socket: TLSSocket) => {
    options.onHandshake();
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('session', (session) => {
    sessions.add(session);
    session.on('error', () => {});
    session.on('close', () => sessions.delete(session));
  });
  // The TCP socket underneath is never destroyed: Node 26 spins when that happens below TLS.
  const cut = () => {
    for (const session of sessions) session.destroy();
    for (const socket of sockets) socket.destroy();
  };

  function write(request: SimulatedRequest, answer: Answer, response: Response): void {
    if (answer.kind === 'watch') {
      startWatch(answer, response);
      return;
    }
    const headers: Record<string, string> = {
      'audit-id': randomUUID(),
      'cache-control': 'no-cache, private',
      ...answer.headers,
    };
    if (answer.kind === 'text') {
      headers['content-type'] ??= 'text/plain; charset=utf-8';
      response.writeHead(answer.status, headers);
      response.end(request.method === 'HEAD' || answer.status === 304 ? undefined : answer.text);
      return;
    }
    const yaml = /^application\/yaml\b/.test(headerText(request, 'accept'));
    headers['content-type'] = yaml ? 'application/yaml' : 'application/json';
    response.writeHead(answer.status, headers);
    const pretty = request.query.get('pretty') === 'true' || /^(curl|Wget)/.test(headerText(request, 'user-agent'));
    const text = yaml ? stringify(answer.object) : `${JSON.stringify(answer.object, undefined, pretty ? 2 : 0)}\n`;
    response.end(request.method === 'HEAD' ? undefined : text);
  }

  function startWatch({ start }: Extract<Answer, { kind: 'watch' }>, response: Response): void {
    response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-cache, private' });
    // The head goes out with the first byte, and a watch may be silent for a long time.
    (response as { flushHeaders?: () => void }).flushHeaders?.();
    const ended = new AbortController();
    let stop = () => {};
    const end = () => {
      if (ended.signal.aborted) return;
      ended.abort();
      watches.delete(end);
      stop();
      response.end();
    };
    watches.add(end);
    response.on('close', end);
    stop = start({
      send: (event) => {
        if (!ended.signal.aborted) response.write(`${JSON.stringify(event)}\n`);
      },
      end,
      after: (ms, act) =>
        void clock.sleep(ms, ended.signal).then(() => {
          if (!ended.signal.aborted) act();
        }),
    });
    if (ended.signal.aborted) stop();
  }

  const close = () => new Promise<void>((resolve) => server.close(() => resolve()));
  return {
    listen: (address, port) =>
      new Promise((resolve, reject) => {
        server.once('error', reject);
        server.listen(port, address, () => {
          server.off('error', reject);
          resolve((server.address() as { readonly port: number }).port);
        });
      }),
    useCertificate: (certificate) => server.setSecureContext(certificate),
    cut,
    async drain() {
      stopped.abort();
      const closed = close();
      for (const end of [...watches]) end();
      // All pending answers have been written by now. Idle connections are simply closed.
      setImmediate(() => {
        for (const session of sessions) session.close();
        for (const socket of sockets) socket.destroySoon();
      });
      await closed;
    },
    async crash() {
      stopped.abort();
      const closed = close();
      cut();
      for (const end of [...watches]) end();
      await closed;
    },
  };
}

/** Rejects requests with an unknown token, and anonymous requests for anything except version and health. */
function refuse(request: SimulatedRequest): Reaction | undefined {
  const answer = (status: Answer): Reaction => ({ kind: 'answer', answer: status, delayMs: 0 });
  if (request.user !== undefined) return undefined;
  if (headerText(request, 'authorization') !== '') return answer(answerStatus(401, 'Unauthorized', 'Unauthorized'));
  if (/^\/(version|healthz|livez|readyz)\b/.test(request.path)) return undefined;
  const message = `forbidden: User "system:anonymous" cannot ${request.method.toLowerCase()} path "${request.path}"`;
  return answer(answerStatus(403, 'Forbidden', message, {}));
}

async function readRequest(
  incoming: IncomingMessage | Http2ServerRequest,
  users: ReadonlyMap<string, SimulatedUser>,
): Promise<SimulatedRequest> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk);
  const url = new URL(incoming.url ?? '/', 'https://apiserver');
  const token = /^Bearer (.+)$/.exec(incoming.headers.authorization ?? '')?.[1];
  return {
    method: incoming.method ?? '',
    path: url.pathname,
    query: url.searchParams,
    headers: incoming.headers,
    body: readBody(Buffer.concat(chunks).toString('utf8')),
    user: token === undefined ? undefined : users.get(token),
  };
}

/** JSON is also YAML, but its own parser is much faster. */
function readBody(text: string): unknown {
  if (text === '') return undefined;
  try {
    return text.startsWith('{') ? JSON.parse(text) : parse(text);
  } catch {
    return undefined;
  }
}

function sendBytes(
  { chunks, breakOff }: Extract<Reaction, { kind: 'bytes' }>,
  response: Response,
  socket: Socket | TLSSocket,
): void {
  response.writeHead(200, { 'content-type': 'application/json' });
  const body = Readable.from(chunks, { objectMode: false }).on('error', () => {});
  response.on('close', () => body.destroy());
  body.pipe(response as unknown as NodeJS.WritableStream, { end: !breakOff });
  if (breakOff) body.on('end', () => socket.destroySoon());
}
