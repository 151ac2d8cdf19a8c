import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { Agent, request as httpsRequest } from 'node:https';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { SimulatedServerOptions } from '../../lab/simulated/simulated-apiserver.ts';
import { type SimulatedControlPlane, startSimulatedControlPlane } from '../../lab/simulated/simulated-control-plane.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import { customResourceDefinition } from '../../src/api/custom-resource-definition.ts';
import type { PeerDiscoveryStatus } from '../../src/api/peer-discovery.ts';
import type { Clock } from '../../src/runtime/clock.ts';

/** An answer, read whole. */
export interface FleetAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** A simulated control plane with the unmodified operator and proxy running as processes. */
export interface FleetUnderTest {
  readonly plane: SimulatedControlPlane;
  readonly proxyUrl: string;
  /** A GET with the administrator's token at the proxy, or at another URL. */
  get(path: string, options?: { readonly from?: string; readonly accept?: string }): Promise<FleetAnswer>;
  /** Sends an object with the administrator's token to the proxy, or to another URL. */
  send(method: string, path: string, body: object, from?: string): Promise<FleetAnswer>;
  status(): PeerDiscoveryStatus | undefined;
  /** State of each peer by hostname, or by id where it has none. */
  states(): Readonly<Record<string, string>>;
  /** Polls until it holds; fails with the ends of the logs. */
  until<T>(what: string, check: () => T | undefined | false | Promise<T | undefined | false>): Promise<T>;
  stop(): Promise<void>;
}

/** How a fleet is set up. */
export interface FleetOptions {
  readonly servers: readonly SimulatedServerOptions[];
  /** Name of the server that the operator uses and that is the proxy's home. */
  readonly home: string;
  /** Spec of the PeerDiscovery `cluster`, over fast polling. */
  readonly spec?: object;
  readonly nodes?: boolean;
  readonly clock?: Clock;
  /** Called before the operator starts. */
  readonly prepare?: (plane: SimulatedControlPlane) => void;
}

const program = fileURLToPath(new URL('../../src/bin/peerdiscovery.ts', import.meta.url));
const namespace = 'peerdiscovery-system';
const impatience = { boundMs: 20_000, everyMs: 20 };

/** Starts everything; resolves when the proxy has a table in which every server that runs is ready. */
export async function startFleetUnderTest(options: FleetOptions): Promise<FleetUnderTest> {
  const plane = await startSimulatedControlPlane(options);
  const children: ChildProcess[] = [];
  const agent = new Agent({ keepAlive: true, ca: readFileSync(plane.caFile), servername: 'kubernetes.default.svc' });
  const start = (name: string, args: readonly string[]) => {
    const output = openSync(join(plane.folder, `${name}.log`), 'a');
    const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', output, output] });
    closeSync(output);
    children.push(child);
  };
  const logTail = (name: string) =>
    `--- ${name}\n${readFileSync(join(plane.folder, `${name}.log`), 'utf8')
      .split('\n')
      .slice(-25)
      .join('\n')}`;
  const stop = async () => {
    agent.destroy();
    await Promise.all(children.map(endProcess));
    await plane.stop();
  };
  const status = () =>
    plane.store.get({ resource: 'peerdiscovery.dev/peerdiscoveries', namespace: '', name: 'cluster' })?.status as
      | PeerDiscoveryStatus
      | undefined;

  try {
    installProduct(plane, options.spec);
    options.prepare?.(plane);
    const home = plane.server(options.home);
    const proxyPort = await freePort();
    const proxyUrl = `https://127.0.0.1:${proxyPort}`;
    const kubeconfig = (name: 'operator' | 'proxy') =>
      plane.kubeconfig({ server: home.url, token: plane.tokens[name], name });
    const common = ['--namespace', namespace, '--log-format', 'text', '--health-bind-address', '0'];
    start('operator', ['operator', '--kubeconfig', kubeconfig('operator'), '--leader-elect', 'false', ...common]);
    const serving = plane.issueServingCert('proxy', ['kubernetes.default.svc'], ['127.0.0.1']);
    const tls = [
      '--tls-cert-file',
      serving.cert,
      '--tls-private-key-file',
      serving.key,
      '--peer-ca-file',
      plane.caFile,
    ];
    const listen = ['--bind-address', '127.0.0.1', '--secure-port', String(proxyPort), '--home', home.address];
    const allow = ['--allow-peer-cidrs', '127.0.0.0/8'];
    start('proxy', ['proxy', '--kubeconfig', kubeconfig('proxy'), ...common, ...tls, ...listen, ...allow]);

    const exchange = (method: string, url: string, headers: Record<string, string>, body?: string) =>
      new Promise<FleetAnswer>((resolve, reject) => {
        const all = { authorization: `Bearer ${plane.tokens.admin}`, ...headers };
        const request = httpsRequest(url, { method, agent, headers: all }, (response) => {
          let text = '';
          response.setEncoding('utf8').on('data', (chunk: string) => {
            text += chunk;
          });
          response.once('error', reject);
          response.once('end', () =>
            resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }),
          );
        });
        request.once('error', reject);
        request.end(body);
      });
    const fleet: FleetUnderTest = {
      plane,
      proxyUrl,
      get: (path, { from = proxyUrl, accept = 'application/json' } = {}) => exchange('GET', from + path, { accept }),
      send: (method, path, body, from = proxyUrl) =>
        exchange(method, from + path, { 'content-type': 'application/json' }, JSON.stringify(body)),
      status,
      states: () =>
        Object.fromEntries((status()?.peers ?? []).map(({ id, hostname, state }) => [hostname ?? id, state])),
      until: (what, check) =>
        waitUntil(what, async () => check(), {
          ...impatience,
          seen: () => `${JSON.stringify(status()?.conditions)}\n${logTail('operator')}\n${logTail('proxy')}`,
        }),
      stop,
    };
    await fleet.until('a table', () => (status()?.revision ?? 0) > 0);
    await fleet.until('the proxy', async () => {
      const answer = await fleet.get('/version').catch(() => undefined);
      return answer?.status === 200;
    });
    return fleet;
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The definition, the namespace and the PeerDiscovery, as `kubectl apply -k config` and a sample would. */
function installProduct({ store, servers }: SimulatedControlPlane, spec: object | undefined): void {
  const definition = customResourceDefinition();
  const { name } = definition.metadata;
  store.put({ resource: 'apiextensions.k8s.io/customresourcedefinitions', namespace: '', name }, definition);
  store.put({ resource: '/namespaces', namespace: '', name: namespace }, { metadata: { name: namespace }, spec: {} });
  store.put(
    { resource: 'peerdiscovery.dev/peerdiscoveries', namespace: '', name: 'cluster' },
    {
      metadata: { name: 'cluster', generation: 1 },
      spec: {
        mode: 'Route',
        addresses: { allowedCIDRs: ['127.0.0.0/8'], port: Number(servers[0]?.address.split(':')[1]) },
        polling: { interval: '300ms', timeout: '1s' },
        staleAfter: '3s',
        goneAfter: '1m',
        ...spec,
      },
    },
  );
}

async function endProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { readonly port: number };
      server.close(() => resolve(port));
    });
  });
}
