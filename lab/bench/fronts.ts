import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { nodeFlags } from '../../scripts/build-rootfs.ts';
import { packBundle } from '../../src/adapters/kubernetes/pack-bundle.ts';
import type { RoutingBundle } from '../../src/domain/routing-table.ts';
import type { KeyPair } from '../plane/certificates.ts';
import { routingTable } from '../routing-table.ts';
import { waitUntil } from '../wait-until.ts';

/** Folders and certificates that the fronts use. */
export interface FrontSetting {
  readonly folder: string;
  readonly caFile: string;
  /** Certificate of the fronts, for 127.0.0.1. */
  readonly serving: KeyPair;
  /** Certificate of the back end, for kubernetes.default.svc. */
  readonly peer: KeyPair;
  /** The built program of the proxy. */
  readonly program: string;
  /** The CPU core of the fronts; undefined for all cores. */
  readonly core: string | undefined;
  /** The answers are watches, so a front must not buffer them. */
  readonly watches?: boolean;
}

/** A process that listens on a port. */
export interface Listening {
  readonly name: string;
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

const small = '/api/v1/namespaces/default/configmaps';
const big = '/api/v1/namespaces/default/secrets';

/** Paths of the fixed answers. */
export const fixedPaths = { '1 KiB': small, '200 KiB': big } as const;

async function start(
  name: string,
  port: number,
  command: readonly string[],
  core: string | undefined,
): Promise<Listening> {
  const pinned = core === undefined ? command : ['taskset', '-c', core, ...command];
  const child = spawn(pinned[0] ?? '', pinned.slice(1), { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-2_000);
  });
  const failed = new Promise<never>((_, reject) => child.once('error', reject));
  await Promise.race([
    failed,
    waitUntil(name, () => accepts(port), { boundMs: 30_000, everyMs: 100, seen: () => said }),
  ]);
  return { name, url: `https://127.0.0.1:${port}`, pid: child.pid ?? 0, stop: () => end(child) };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const impatient = setTimeout(() => child.kill('SIGKILL'), 15_000);
  await exited;
  clearTimeout(impatient);
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('error', () => resolve(false));
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });
}

const nginxHttp = (folder: string) => `
  access_log off;
  client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy; fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi; scgi_temp_path ${folder}/scgi;
  keepalive_requests 1000000000; keepalive_timeout 600s; ssl_session_tickets on;`;

const nginxMain = (folder: string, http: string) =>
  `user root; worker_processes 1; daemon off; pid ${folder}/pid; error_log stderr crit;
events { worker_connections 16384; }
http {${nginxHttp(folder)}${http}
}\n`;

/** Starts nginx as a back end with two fixed answers and a dozen header fields. It is faster than every front. */
export async function startBackEnd({ folder, peer }: FrontSetting, port: number, core: string): Promise<Listening> {
  const home = join(folder, 'back-end');
  const namespace = join(home, 'root/api/v1/namespaces/default');
  mkdirSync(namespace, { recursive: true });
  writeFileSync(join(home, `root${small}`), `{"kind":"ConfigMapList","padding":"${'x'.repeat(990)}"}\n`);
  writeFileSync(join(home, `root${big}`), `{"kind":"SecretList","padding":"${'x'.repeat(200 * 1024 - 40)}"}\n`);
  const fields = [
    'Audit-Id 00000000-0000-0000-0000-000000000000',
    'Cache-Control "no-cache, private"',
    'Warning "299 - x"',
  ];
  const more = [
    'X-Kubernetes-Pf-Flowschema-Uid 00000000-0000-0000-0000-000000000000',
    'X-Kubernetes-Pf-Prioritylevel-Uid 00000000-0000-0000-0000-000000000000',
    'Vary Accept',
  ];
  const config = nginxMain(
    home,
    `
  default_type application/json; sendfile off; open_file_cache max=10; open_file_cache_valid 600s;
  server { listen 127.0.0.1:${port} ssl http2; ssl_certificate ${peer.cert}; ssl_certificate_key ${peer.key};
    root ${home}/root; output_buffers 2 256k; http2_chunk_size 16k;
    ${[...fields, ...more].map((field) => `add_header ${field};`).join(' ')}
  }`,
  );
  writeFileSync(join(home, 'nginx.conf'), config);
  return start('fixed back end', port, ['nginx', '-p', home, '-c', join(home, 'nginx.conf')], core);
}

/** Starts nginx as a plain TLS proxy. */
export async function startNginx(
  setting: FrontSetting,
  port: number,
  backPort: number,
  workers = 1,
): Promise<Listening> {
  const { folder, caFile, serving, watches } = setting;
  const home = join(folder, `nginx-${port}`);
  mkdirSync(home, { recursive: true });
  const config = nginxMain(
    home,
    `
  upstream back { server 127.0.0.1:${backPort}; keepalive 256; keepalive_requests 1000000000; keepalive_timeout 600s; }
  server { listen 127.0.0.1:${port} ssl http2; ssl_certificate ${serving.cert}; ssl_certificate_key ${serving.key};
    http2_max_concurrent_streams 250;
    location / { proxy_pass https://back; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_read_timeout 600s;${watches === true ? ' proxy_buffering off;' : ''}
      proxy_set_header Host $host; proxy_set_header X-Remote-User ""; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_ssl_trusted_certificate ${caFile}; proxy_ssl_verify on; proxy_ssl_server_name on; proxy_ssl_name kubernetes.default.svc;
    }
  }`,
  ).replace('worker_processes 1', `worker_processes ${workers}`);
  writeFileSync(join(home, 'nginx.conf'), config);
  return start('nginx', port, ['nginx', '-p', home, '-c', join(home, 'nginx.conf')], setting.core);
}

/** Starts HAProxy as a plain TLS proxy. */
export async function startHaproxy(
  setting: FrontSetting,
  port: number,
  backPort: number,
  threads = 1,
): Promise<Listening> {
  const { folder, caFile, serving } = setting;
  const home = join(folder, `haproxy-${port}`);
  mkdirSync(home, { recursive: true });
  writeFileSync(join(home, 'serving.pem'), readFileSync(serving.cert, 'utf8') + readFileSync(serving.key, 'utf8'), {
    mode: 0o600,
  });
  const config = `global
  maxconn 8000
  nbthread ${threads}
  tune.pool-high-fd-ratio 90
  tune.pool-low-fd-ratio 80
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  http-reuse always
frontend front
  bind 127.0.0.1:${port} ssl crt ${home}/serving.pem alpn h2,http/1.1
  option forwardfor
  http-request del-header X-Remote-User
  default_backend back
backend back
  server one 127.0.0.1:${backPort} ssl verify required ca-file ${caFile} sni str(kubernetes.default.svc) verifyhost kubernetes.default.svc pool-max-conn -1
`;
  writeFileSync(join(home, 'haproxy.cfg'), config);
  return start('HAProxy', port, ['haproxy', '-db', '-f', join(home, 'haproxy.cfg')], setting.core);
}

/** The routing table of the proxy. */
export interface Routes {
  readonly home: string;
  readonly peers: RoutingBundle['table']['peers'];
  readonly groupVersions: RoutingBundle['table']['groupVersions'];
}

/** Starts the shipped proxy with a table of one server with 300 resources. */
export function startOurs(setting: FrontSetting, port: number, backPort: number, workers = 1): Promise<Listening> {
  const names = ['configmaps', 'secrets', 'pods', ...Array.from({ length: 297 }, (_, at) => `things${at}`)];
  const resources = names.sort().map((resource) => ({ resource, peers: [0], subresources: {} }));
  const home = `127.0.0.1:${backPort}`;
  const peers = [{ id: 'one', address: home, state: 'Ready' }] as const;
  const groupVersions = [{ group: '', version: 'v1', origin: 'BuiltIn', resources }] as const;
  return startRouting(setting, port, { home, peers, groupVersions }, workers);
}

/** Starts the shipped proxy. */
export function startRouting(setting: FrontSetting, port: number, to: Routes, workers = 1): Promise<Listening> {
  const { folder, caFile, serving, program } = setting;
  const table = join(folder, `table-${port}.json`);
  writeFileSync(table, JSON.stringify(packBundle(benchBundle(to))));
  const tls = ['--tls-cert-file', serving.cert, '--tls-private-key-file', serving.key, '--peer-ca-file', caFile];
  const routes = ['--routing-table-file', table, '--allow-peer-cidrs', '127.0.0.1/32,10.0.0.0/8', '--home', to.home];
  const listen = ['--bind-address', '127.0.0.1', '--secure-port', String(port), '--health-bind-address', '0'];
  const many = workers > 1 ? ['--workers', String(workers)] : [];
  const command = [
    process.execPath,
    ...nodeFlags,
    program,
    'proxy',
    ...tls,
    ...routes,
    ...listen,
    ...many,
    '--log-level',
    'error',
  ];
  return start(workers > 1 ? `PeerDiscovery, ${workers} workers` : 'PeerDiscovery', port, command, setting.core);
}

function benchBundle({ peers, groupVersions }: Routes): RoutingBundle {
  const document = '{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","metadata":{},"items":[]}\n';
  const etag = createHash('sha512').update(document).digest('hex').toUpperCase();
  return {
    table: routingTable({ peers, groupVersions }),
    apis: document,
    apisEtag: etag,
    api: document,
    apiEtag: etag,
  };
}
