import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { Readable } from 'node:stream';
import type { SecureVersion, TLSSocket } from 'node:tls';
import type { TestCertificate } from './test-certificates.ts';

/** The answer of a fake peer to a path. */
export type Respond = (request: IncomingMessage, response: ServerResponse) => void;

/** A request that a fake peer saw. */
export interface SeenRequest {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** Common name of the client's certificate. */
  readonly client: string | undefined;
}

/** A TLS server on loopback with any answers that a test wants. */
export interface FakePeer {
  readonly address: string;
  readonly requests: SeenRequest[];
  /** Common names of the client certificates that arrived in handshakes, in the order of the connections. */
  readonly handshakes: (string | undefined)[];
  /** The number of open connections. */
  connections(): number;
  /** Drops all connections and stops listening, as on SIGKILL. */
  kill(): Promise<void>;
}

export interface FakePeerOptions {
  readonly certificate: TestCertificate;
  readonly routes: Readonly<Record<string, Respond>>;
  /** Its highest TLS version. */
  readonly maxVersion?: SecureVersion;
}

/**
 * Starts a peer that asks for a client certificate, as kube-apiserver does. It answers 404 for paths without a route.
 */
export async function startFakePeer({
  certificate,
  routes,
  maxVersion = 'TLSv1.3',
}: FakePeerOptions): Promise<FakePeer> {
  const requests: SeenRequest[] = [];
  const handshakes: (string | undefined)[] = [];
  const sockets = new Set<Socket>();
  const server = createServer(
    { cert: certificate.certPem, key: certificate.keyPem, requestCert: true, rejectUnauthorized: false, maxVersion },
    (request, response) => {
      const path = request.url ?? '';
      requests.push({ path, headers: request.headers, client: commonName(request.socket as TLSSocket) });
      response.on('error', () => {});
      const respond = routes[path];
      if (respond === undefined) sendText(404, '404 page not found')(request, response);
      else respond(request, response);
    },
  );
  server.on('secureConnection', (socket) => handshakes.push(commonName(socket)));
  server.on('tlsClientError', () => {});
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    handshakes,
    connections: () => sockets.size,
    kill: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

function commonName(socket: TLSSocket): string | undefined {
  const name = socket.getPeerCertificate()?.subject?.CN;
  return Array.isArray(name) ? name[0] : name;
}

/** Answers with a text. */
export function sendText(status: number, text: string, headers: Readonly<Record<string, string>> = {}): Respond {
  return (_request, response) => {
    response.writeHead(status, { 'Content-Type': 'text/plain', ...headers });
    response.end(text);
  };
}

/** Answers with JSON and an ETag, and with 304 to a client that has this ETag. */
export function sendJson(value: unknown, etag?: string): Respond {
  return (request, response) => {
    if (etag !== undefined && request.headers['if-none-match'] === etag) {
      response.writeHead(304, { ETag: etag });
      response.end();
      return;
    }
    response.writeHead(200, { 'Content-Type': 'application/json', ...(etag === undefined ? {} : { ETag: etag }) });
    response.end(JSON.stringify(value));
  };
}

/** Answers with many bytes of JSON, generated while the client reads. */
export function sendHugeJson(bytes: number): Respond {
  return (_request, response) => {
    response.writeHead(200, { 'Content-Type': 'application/json' });
    const entry = `${JSON.stringify('x'.repeat(65_533))},`;
    function* chunks() {
      yield '{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","items":[';
      for (let sent = 0; sent < bytes; sent += entry.length) yield entry;
      yield '""]}';
    }
    Readable.from(chunks(), { objectMode: false })
      .on('error', () => {})
      .pipe(response);
  };
}

/** Answers with an endless body, as fast as the client reads. */
export const sendEndlessBody: Respond = sendHugeJson(Number.POSITIVE_INFINITY);

/** Sends one more byte from time to time, and never ends. */
export const sendSlowly: Respond = (_request, response) => {
  response.writeHead(200, { 'Content-Type': 'application/json' });
  const timer = setInterval(() => response.write(' '), 10);
  response.on('close', () => clearInterval(timer));
};

/** Accepts the request and never answers. */
export const sendNothing: Respond = () => {};

/** Breaks the connection in the middle of the body. */
export const sendHalf: Respond = (request, response) => {
  response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': '1000' });
  response.write('{"kind":', () => (request.socket as TLSSocket).destroy());
};
