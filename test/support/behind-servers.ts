import { readFileSync } from 'node:fs';
import { createServer as createHttpsServer, type ServerOptions } from 'node:https';
import { createServer, type Server, type Socket } from 'node:net';
import type { ControlPlane } from '../../lab/plane/control-plane.ts';

/** The answer of a server behind kube-apiserver. */
export interface ScriptedAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/** An HTTPS server behind kube-apiserver: a webhook, an aggregated server or a kubelet. */
export interface BehindServer {
  readonly url: string;
  /** Requests so far, as method and path without query. */
  readonly calls: string[];
  stop(): Promise<void>;
}

/** Starts one with a certificate that the control plane's authority has signed. */
export async function startBehindServer(
  plane: ControlPlane,
  { name, ip, port }: { readonly name: string; readonly ip: string; readonly port: number },
  answer: (request: { readonly call: string; readonly body: string }) => ScriptedAnswer,
): Promise<BehindServer> {
  const { cert, key } = plane.issueServingCert(name, [name], [ip]);
  const options: ServerOptions = { cert: readFileSync(cert), key: readFileSync(key) };
  const calls: string[] = [];
  const server = createHttpsServer(options, (request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => {
      body += text;
    });
    request.once('end', () => {
      const call = `${request.method} ${request.url?.split('?', 1)[0]}`;
      calls.push(call);
      const { status, contentType, body: answered } = answer({ call, body });
      response.writeHead(status, { 'Content-Type': contentType, 'Content-Length': Buffer.byteLength(answered) });
      response.end(answered);
    });
  });
  // Node would pass no upgrade on to the handler.
  server.on('upgrade', (request, socket) => {
    const call = `${request.method} ${request.url?.split('?', 1)[0]}`;
    calls.push(call);
    const { status, contentType, body } = answer({ call, body: '' });
    const head = `HTTP/1.1 ${status} Answered\r\nContent-Type: ${contentType}\r\nContent-Length: ${Buffer.byteLength(body)}`;
    socket.end(`${head}\r\nConnection: close\r\n\r\n${body}`);
  });
  const stop = await listen(server, ip, port);
  return { url: `https://${ip}:${port}`, calls, stop };
}

/** A server with hand-made answers to the first bytes of each connection; `path` is that of the request. */
export async function startByHand(
  ip: string,
  port: number,
  answer: (path: string, socket: Socket) => void,
): Promise<() => Promise<void>> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      const path = /^[A-Z]+ ([^ ?]+)/.exec(bytes.toString('latin1'))?.[1];
      if (path !== undefined) answer(path, socket);
    });
  });
  return listen(server, ip, port);
}

async function listen(server: Server, ip: string, port: number): Promise<() => Promise<void>> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(port, ip, resolve));
  return () =>
    new Promise((resolve) => {
      server.close(() => resolve());
      for (const socket of sockets) socket.destroy();
    });
}
