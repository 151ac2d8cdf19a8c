import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { Agent } from 'node:https';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort, installProduct, productNamespace as namespace } from '../../lab/simulated/install-product.ts';
import { sendRequest, type WholeAnswer } from '../../lab/simulated/send-request.ts';
import type { SimulatedServerOptions } from '../../lab/simulated/simulated-apiserver.ts';
import { type SimulatedControlPlane, startSimulatedControlPlane } from '../../lab/simulated/simulated-control-plane.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import type { PeerDiscoveryStatus } from '../../src/api/peer-discovery.ts';
import type { Clock } from '../../src/runtime/clock.ts';

/** A simulated control plane with the real operator and proxy as processes. */
export interface FleetUnderTest {
  readonly plane: SimulatedControlPlane;
  readonly proxyUrl: string;
  /** A GET with the administrator's token at the proxy, or at another URL. */
  get(
    path: string,
    options?: { readonly from?: string; readonly accept?: string; readonly signal?: AbortSignal },
  ): Promise<WholeAnswer>;
  /** Sends an object with the administrator's token to the proxy, or to another URL. */
  send(method: string, path: string, body: object, from?: string): Promise<WholeAnswer>;
  status(): PeerDiscoveryStatus | undefined;
  /** The state of each peer by hostname, or by id without one. */
  states(): Readonly<Record<string, string>>;
  /** Polls until the check holds. Fails with the ends of the logs. */
  until<T>(what: string, check: () => T | undefined | false | Promise<T | undefined | false>): Promise<T>;
  stop(): Promise<void>;
}

/** Options of a fleet. */
export interface FleetOptions {
  readonly servers: readonly SimulatedServerOptions[];
  /** The name of the server that the operator uses. It is also the proxy's home. */
  readonly home: string;
  /** The spec of the PeerDiscovery `cluster`, with fast polling by default. */
  readonly spec?: object;
  readonly nodes?: boolean;
  readonly clock?: Clock;
  /** Called before the operator starts. */
  readonly prepare?: (plane: SimulatedControlPlane) => void;
}

const program = fileURLToPath(new URL('../../src/bin/peerdiscovery.ts', import.meta.url));
const impatience = { boundMs: 60_000, everyMs: 20 };

/** Starts everything. Resolves when the proxy has a table in which every running server is ready. */
export async function startFleetUnderTest(options: FleetOptions): Promise<FleetUnderTest> {
  const plane = await startSimulatedControlPlane(options);
  const children: ChildProcess[] = [];
  const agent = new Agent({ keepAlive: true });
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
    installProduct(plane, {
      polling: { interval: '300ms', timeout: '1s' },
      staleAfter: '3s',
      goneAfter: '1m',
      ...options.spec,
    });
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

    const ca = readFileSync(plane.caFile);
    const known = { ca, serverName: 'kubernetes.default.svc', token: plane.tokens.admin, agent };
    const fleet: FleetUnderTest = {
      plane,
      proxyUrl,
      get: (path, { from = proxyUrl, accept = 'application/json', signal } = {}) =>
        sendRequest({ ...known, url: from + path, headers: { accept }, signal }),
      send: (method, path, body, from = proxyUrl) =>
        sendRequest({
          ...known,
          url: from + path,
          method,
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(body),
        }),
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

async function endProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}
