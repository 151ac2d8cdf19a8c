import { type ClientHttp2Session, connect as http2Connect } from 'node:http2';
import { Agent, request as httpsRequest } from 'node:https';

/** An answer as it arrived: not decoded, and without joined headers. */
export interface WireAnswer {
  readonly status: number;
  /** Names and values in turn. */
  readonly rawHeaders: readonly string[];
  readonly rawTrailers: readonly string[];
  readonly body: Buffer;
}

/** One request. Headers are a flat list of names and values. */
export interface WireRequest {
  readonly method?: string;
  readonly path: string;
  readonly headers?: readonly string[];
  readonly body?: string;
}

/** Sends requests to one server, and returns the raw answers. */
export interface WireClient {
  http1(request: WireRequest): Promise<WireAnswer>;
  http2(request: WireRequest): Promise<WireAnswer>;
  close(): void;
}

/** The server, and the credential of the client: a token, a client certificate or none. */
export interface WireClientOptions {
  readonly url: string;
  readonly ca: string;
  readonly token?: string;
  readonly certificate?: { readonly cert: string; readonly key: string };
}

/** A client that keeps connections to a server whose certificate `ca` has signed. */
export function createWireClient({ url, ca, token, certificate }: WireClientOptions): WireClient {
  const { hostname, port, host } = new URL(url);
  const credential = token === undefined ? [] : ['Authorization', `Bearer ${token}`];
  const agent = new Agent({ keepAlive: true, ca, ...certificate, maxSockets: 32 });
  let session: ClientHttp2Session | undefined;
  const alive = () => {
    if (session === undefined || session.destroyed || session.closed) {
      session = http2Connect(url, { ca, ...certificate, maxSendHeaderBlockLength: 4 * 1024 * 1024 });
      // Its streams fail too, and report the error.
      session.on('error', () => {});
    }
    return session;
  };
  return {
    http1: ({ method = 'GET', path, headers = [], body }) =>
      new Promise((resolve, reject) => {
        const sent = [...headers, 'Host', host, ...credential];
        if (body !== undefined) sent.push('Content-Length', String(Buffer.byteLength(body)));
        const request = httpsRequest({ hostname, port, path, method, agent, headers: sent }, (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.once('error', reject);
          response.once('end', () => {
            const { statusCode: status = 0, rawHeaders, rawTrailers } = response;
            resolve({ status, rawHeaders, rawTrailers, body: Buffer.concat(chunks) });
          });
        });
        request.once('error', reject);
        request.end(body);
      }),
    http2: ({ method = 'GET', path, headers = [], body }) =>
      new Promise((resolve, reject) => {
        const fields: Record<string, string | string[]> = { ':method': method, ':path': path };
        const sent = [...headers, ...credential];
        for (let at = 0; at + 1 < sent.length; at += 2) {
          const name = (sent[at] ?? '').toLowerCase();
          const value = sent[at + 1] ?? '';
          const before = fields[name];
          if (Array.isArray(before)) before.push(value);
          else fields[name] = before === undefined ? value : [before, value];
        }
        // Node assumes that a DELETE has no body.
        const stream = alive().request(fields, { endStream: body === undefined });
        const chunks: Buffer[] = [];
        let status = 0;
        let rawHeaders: readonly string[] = [];
        stream.once('response', (parsed, _flags, raw) => {
          status = Number(parsed[':status']);
          rawHeaders = raw.filter((_, at) => !raw[at - (at % 2)]?.startsWith(':'));
        });
        stream.on('data', (chunk: Buffer) => chunks.push(chunk));
        stream.once('error', reject);
        stream.once('end', () => resolve({ status, rawHeaders, rawTrailers: [], body: Buffer.concat(chunks) }));
        if (body !== undefined) stream.end(body);
      }),
    close: () => {
      agent.destroy();
      session?.destroy();
    },
  };
}
