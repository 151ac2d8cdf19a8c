import { randomBytes } from 'node:crypto';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PluginError, type StatusPage } from '../../plugin/ports.ts';
import { messageOf } from '../../runtime/message-of.ts';

/**
 * Serves the status page on this machine only, at an address that nobody can guess, until the signal aborts. Resolves
 * to that address.
 *
 * Other users of the machine do not know the random part of the path. A web page whose own name points here fails
 * because of its `Host`. Nothing but the status page can be read.
 */
export async function serveDashboard(
  read: (search: string) => Promise<StatusPage>,
  port: number,
  signal: AbortSignal,
): Promise<string> {
  const secret = randomBytes(16).toString('hex');
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 5_000 }, (request, response) => {
    const { port: bound } = server.address() as AddressInfo;
    const { pathname, search } = new URL(
      `http://dashboard${request.url?.startsWith('/') === true ? request.url : '/'}`,
    );
    const hosts = [`127.0.0.1:${bound}`, `localhost:${bound}`];
    if (!hosts.includes(request.headers.host ?? '') || pathname !== `/${secret}/`)
      return send(response, 404, plain('404 page not found\n'));
    if (request.method !== 'GET') return send(response, 405, plain('method not allowed\n'));
    read(search).then(
      (page) => send(response, 200, page),
      (error: unknown) => send(response, 502, plain(explain(error))),
    );
  });
  server.maxConnections = 64;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(
        new PluginError(`cannot listen on 127.0.0.1:${port}: ${error.message}`, 'give another --port', {
          cause: error,
        }),
      ),
    );
    server.listen(port, '127.0.0.1', resolve);
  });
  const stop = () => {
    server.close();
    server.closeAllConnections();
  };
  if (signal.aborted) stop();
  else signal.addEventListener('abort', stop, { once: true });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/${secret}/`;
}

function plain(text: string): StatusPage {
  return { contentType: 'text/plain; charset=utf-8', policy: "default-src 'none'", body: Buffer.from(text) };
}

function explain(error: unknown): string {
  if (error instanceof PluginError) return `error: ${error.message}\n  cure: ${error.cure}\n`;
  return `error: ${messageOf(error)}\n`;
}

function send(response: ServerResponse, status: number, { contentType, policy, body }: StatusPage): void {
  response.writeHead(status, {
    'Content-Type': contentType,
    'Content-Length': body.byteLength,
    // A page without a policy of its own gets the strictest one.
    'Content-Security-Policy': policy === '' ? "default-src 'none'" : policy,
    'Referrer-Policy': 'no-referrer',
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
  });
  response.end(body);
}
