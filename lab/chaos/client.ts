import { type ClientHttp2Session, connect as http2Connect } from 'node:http2';
import { Agent, request as httpsRequest } from 'node:https';

/** A request of the load. */
export interface ClientRequest {
  readonly method: string;
  readonly path: string;
  readonly token: string;
  readonly accept?: string;
  readonly body?: string;
  /** JSON unless this is given. */
  readonly contentType?: string;
}

/** The result of a request; `status` is 0 without an answer. */
export interface ClientAnswer {
  readonly status: number;
  readonly retryAfter: boolean;
  readonly text: string;
}

/** Sends requests to one proxy over one protocol. It keeps connections open, as clients do. */
export interface ChaosClient {
  /** Never rejects. A response that has not ended after `boundMs` counts as none. */
  ask(request: ClientRequest, boundMs: number): Promise<ClientAnswer>;
  close(): void;
}

const nothing: ClientAnswer = { status: 0, retryAfter: false, text: '' };

function fields({ token, accept, body, contentType = 'application/json' }: ClientRequest): Record<string, string> {
  return {
    authorization: `Bearer ${token}`,
    accept: accept ?? 'application/json',
    ...(body === undefined ? {} : { 'content-type': contentType, 'content-length': `${Buffer.byteLength(body)}` }),
  };
}

/** A client of HTTP/1.1. */
export function createHttp1Client(url: string, ca: string): ChaosClient {
  const { hostname, port } = new URL(url);
  const agent = new Agent({ keepAlive: true, ca, maxSockets: 16 });
  return {
    ask: (asked, boundMs) =>
      new Promise((resolve) => {
        const { method, path } = asked;
        const request = httpsRequest({ hostname, port, path, method, agent, headers: fields(asked) }, (response) => {
          let text = '';
          response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
          response.once('error', () => resolve(nothing));
          response.once('end', () => {
            const { statusCode: status = 0, headers } = response;
            resolve({ status, retryAfter: headers['retry-after'] !== undefined, text });
          });
        });
        const bound = setTimeout(() => request.destroy(new Error('no answer')), boundMs);
        request.once('error', () => resolve(nothing));
        request.once('close', () => {
          clearTimeout(bound);
          resolve(nothing);
        });
        request.end(asked.body);
      }),
    close: () => agent.destroy(),
  };
}

/** A client of HTTP/2. */
export function createHttp2Client(url: string, ca: string): ChaosClient {
  let session: ClientHttp2Session | undefined;
  const alive = () => {
    if (session === undefined || session.destroyed || session.closed) {
      session = http2Connect(url, { ca });
      session.on('error', () => {});
    }
    return session;
  };
  return {
    ask: (asked, boundMs) =>
      new Promise((resolve) => {
        const stream = alive().request({ ':method': asked.method, ':path': asked.path, ...fields(asked) });
        let status = 0;
        let retryAfter = false;
        let text = '';
        const bound = setTimeout(() => {
          // A client that gets no answer opens a new connection.
          stream.close();
          session?.close();
          resolve(nothing);
        }, boundMs);
        stream.once('response', (headers) => {
          status = Number(headers[':status']);
          retryAfter = headers['retry-after'] !== undefined;
        });
        stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        stream.on('error', () => {});
        let ended = false;
        stream.once('end', () => (ended = true));
        stream.once('close', () => {
          clearTimeout(bound);
          resolve(ended && status !== 0 ? { status, retryAfter, text } : nothing);
        });
        stream.end(asked.body);
      }),
    close: () => session?.destroy(),
  };
}
