import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { KubeConfig } from '@kubernetes/client-node';

/** A stored object. */
export interface StoredObject {
  metadata: { name: string; namespace?: string; uid: string; resourceVersion: string; labels?: Record<string, string> };
  [field: string]: unknown;
}

/** A request as it arrived. */
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  readonly body: Record<string, unknown> | undefined;
  /** Different for every connection. */
  readonly remotePort: number;
}

/** An open watch. */
export interface OpenWatch {
  readonly path: string;
  readonly query: URLSearchParams;
  /** Sends one event as a line. */
  send(type: string, object: unknown): void;
  /** Sends raw bytes. */
  write(bytes: string | Uint8Array): void;
  /** Ends it cleanly. */
  end(): void;
  /** Breaks the connection. */
  break(): void;
  readonly closed: boolean;
}

/** Answers a request instead of the store; false leaves it to the store. */
export type Script = (request: SeenRequest, response: ServerResponse) => boolean;

/** A small kube-apiserver that stores objects, sends events to watches, and does whatever a test scripts. */
export interface ScriptedApiserver {
  readonly url: string;
  readonly requests: SeenRequest[];
  readonly watches: OpenWatch[];
  /** Objects by path. */
  readonly objects: Map<string, StoredObject>;
  /** Handlers that are tried in order before the store. */
  readonly scripts: Script[];
  /** Creates or changes an object, and notifies the watches. */
  put(path: string, object: Record<string, unknown>): StoredObject;
  /** Deletes an object, and notifies the watches. */
  remove(path: string): void;
  /** Changes an object without notifying a watch, as if the event had been compacted. */
  putSilently(path: string, object: Record<string, unknown>): StoredObject;
  kubeConfig(user?: Record<string, unknown>): KubeConfig;
  close(): Promise<void>;
}

/** The certificate of an HTTPS server, and the CA for clients. */
export interface ServerCertificate {
  readonly keyPem: string;
  readonly certPem: string;
  readonly caPem: string;
}

/** Starts one on a free loopback port. */
export async function startScriptedApiserver(certificate?: ServerCertificate): Promise<ScriptedApiserver> {
  const requests: SeenRequest[] = [];
  const watches: OpenWatch[] = [];
  const objects = new Map<string, StoredObject>();
  const scripts: Script[] = [];
  let version = 100;

  function putSilently(path: string, object: Record<string, unknown>): StoredObject {
    version += 1;
    const metadata = (object.metadata ?? {}) as Record<string, unknown>;
    const uid = objects.get(path)?.metadata.uid ?? `uid-${version}`;
    const name = path.slice(path.lastIndexOf('/') + 1);
    const namespace = /\/namespaces\/([^/]+)\//.exec(path)?.[1];
    const stored = {
      ...object,
      metadata: { ...metadata, name, uid, resourceVersion: String(version), ...(namespace ? { namespace } : {}) },
    };
    objects.set(path, stored);
    return stored;
  }

  function tell(type: string, path: string, object: StoredObject) {
    const collection = path.slice(0, path.lastIndexOf('/'));
    for (const watch of watches) {
      if (!watch.closed && watch.path === collection && matches(watch.query, object)) watch.send(type, object);
    }
  }

  function put(path: string, object: Record<string, unknown>): StoredObject {
    const type = objects.has(path) ? 'MODIFIED' : 'ADDED';
    const stored = putSilently(path, object);
    tell(type, path, stored);
    return stored;
  }

  function remove(path: string) {
    const object = objects.get(path);
    if (!object) return;
    objects.delete(path);
    version += 1;
    tell('DELETED', path, { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } });
  }

  function openWatch(request: SeenRequest, response: ServerResponse) {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    const watch: OpenWatch = {
      path: request.path,
      query: request.query,
      send: (type, object) => response.write(`${JSON.stringify({ type, object })}\n`),
      write: (bytes) => response.write(bytes),
      end: () => response.end(),
      break: () => response.destroy(),
      get closed() {
        return response.destroyed || response.writableEnded;
      },
    };
    watches.push(watch);
  }

  function list(request: SeenRequest, response: ServerResponse) {
    const found = [...objects]
      .filter(
        ([path, object]) => path.slice(0, path.lastIndexOf('/')) === request.path && matches(request.query, object),
      )
      .map(([, object]) => object);
    const start = Number(request.query.get('continue') ?? 0);
    const end = start + Number(request.query.get('limit') ?? found.length);
    const more = end < found.length ? { continue: String(end) } : {};
    answer(response, 200, {
      kind: 'List',
      metadata: { resourceVersion: String(version), ...more },
      items: found.slice(start, end),
    });
  }

  function write(request: SeenRequest, response: ServerResponse) {
    const { method, path } = request;
    const body = request.body ?? {};
    const metadata = (body.metadata ?? {}) as { name?: string; resourceVersion?: string };
    const target = method === 'POST' ? `${path}/${metadata.name}` : path;
    const before = objects.get(target);
    if (method === 'POST' && before) return answerStatus(response, 409, 'AlreadyExists');
    if (metadata.resourceVersion && metadata.resourceVersion !== before?.metadata.resourceVersion) {
      return answerStatus(response, 409, 'Conflict');
    }
    const apply = request.headers['content-type'] === 'application/apply-patch+yaml';
    if (method !== 'POST' && !before && !apply) return answerMissing(response, target);
    const merged = method === 'PATCH' ? { ...before, ...body, metadata: { ...before?.metadata, ...metadata } } : body;
    answer(response, method === 'POST' ? 201 : 200, put(target, merged));
  }

  function serve(request: SeenRequest, response: ServerResponse) {
    requests.push(request);
    if (scripts.some((script) => script(request, response))) return;
    const { method, path } = request;
    if (method === 'GET' && request.query.get('watch') === 'true') return openWatch(request, response);
    if (method === 'GET' && !isObjectPath(path)) return list(request, response);
    if (method === 'GET') {
      const object = objects.get(path);
      return object ? answer(response, 200, object) : answerMissing(response, path);
    }
    if (method !== 'DELETE') return write(request, response);
    if (!objects.has(path)) return answerMissing(response, path);
    remove(path);
    answer(response, 200, { kind: 'Status', status: 'Success' });
  }

  const listener = (incoming: IncomingMessage, response: ServerResponse) => {
    const chunks: Uint8Array[] = [];
    incoming.on('data', (chunk: Uint8Array) => chunks.push(chunk));
    incoming.on('end', () => {
      const url = new URL(incoming.url ?? '/', 'http://apiserver');
      const text = Buffer.concat(chunks).toString('utf8');
      serve(
        {
          method: incoming.method ?? '',
          path: url.pathname,
          query: url.searchParams,
          headers: incoming.headers,
          body: text ? (JSON.parse(text) as Record<string, unknown>) : undefined,
          remotePort: incoming.socket.remotePort ?? 0,
        },
        response,
      );
    });
  };
  const server = certificate
    ? createHttpsServer({ key: certificate.keyPem, cert: certificate.certPem }, listener)
    : createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `${certificate ? 'https' : 'http'}://127.0.0.1:${(server.address() as AddressInfo).port}`;

  return {
    url,
    requests,
    watches,
    objects,
    scripts,
    put,
    putSilently,
    remove,
    kubeConfig(user = {}) {
      const kubeConfig = new KubeConfig();
      const trust = certificate
        ? { skipTLSVerify: false, caData: Buffer.from(certificate.caPem).toString('base64') }
        : { skipTLSVerify: true };
      kubeConfig.loadFromClusterAndUser({ name: 'scripted', server: url, ...trust }, { name: 'tester', ...user });
      return kubeConfig;
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Answers with JSON. */
export function answer(
  response: ServerResponse,
  code: number,
  body: unknown,
  headers: Record<string, string> = {},
): true {
  response.writeHead(code, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
  return true;
}

/** Answers with a failure Status. */
export function answerStatus(
  response: ServerResponse,
  code: number,
  reason: string,
  extra: Record<string, unknown> = {},
  headers: Record<string, string> = {},
): true {
  const message = `scripted ${reason}`;
  return answer(response, code, { kind: 'Status', apiVersion: 'v1', code, reason, message, ...extra }, headers);
}

/** Answers as kube-apiserver does for a path without an API. */
export function answerUnknownPath(response: ServerResponse): true {
  response.writeHead(404, { 'content-type': 'text/plain' });
  response.end('404 page not found\n');
  return true;
}

function answerMissing(response: ServerResponse, path: string) {
  const [kind, name] = path.split('/').slice(-2);
  answerStatus(response, 404, 'NotFound', { details: { name, kind } });
}

/** Collections end in a plural after an odd or even number of parts, depending on `namespaces`; good enough here. */
function isObjectPath(path: string): boolean {
  const parts = path.split('/').slice(1);
  const rest = parts.slice(parts[0] === 'api' ? 2 : 3);
  return (rest[0] === 'namespaces' && rest.length > 2 ? rest.length - 2 : rest.length) > 1;
}

function matches(query: URLSearchParams, object: StoredObject): boolean {
  const selector = query.get('labelSelector');
  if (!selector) return true;
  return selector.split(',').every((term) => {
    const [name = '', value] = term.split('=');
    return object.metadata.labels?.[name] === value;
  });
}
