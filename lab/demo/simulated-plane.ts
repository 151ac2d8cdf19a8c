import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createBuiltInKubectl, type Kubectl } from '../simulated/built-in-kubectl.ts';
import { freePort, installProduct, productNamespace } from '../simulated/install-product.ts';
import { type SimulatedControlPlane, startSimulatedControlPlane } from '../simulated/simulated-control-plane.ts';
import type { StoryPlane } from './demo-story.ts';

const program = fileURLToPath(new URL('../../src/bin/peerdiscovery.ts', import.meta.url));
const pluginProgram = fileURLToPath(new URL('../../src/bin/kubectl-peerdiscovery.ts', import.meta.url));

/** A simulated control plane with the story's three servers, and the real operator and proxy. */
export interface SimulatedPlane extends StoryPlane {
  readonly fleet: SimulatedControlPlane;
  /** Undefined if the demo uses the machine's own kubectl. */
  readonly builtIn: Kubectl | undefined;
  stop(): Promise<void>;
}

/** Starts the servers. `kubectl` is the machine's own, or a small replacement from the lab. */
export async function startSimulatedPlane(): Promise<SimulatedPlane> {
  const fleet = await startSimulatedControlPlane({
    servers: [
      { name: 'old-1', version: '1.33' },
      { name: 'new-1', version: '1.36' },
      { name: 'new-2', version: '1.36' },
    ],
  });
  installProduct(fleet);
  const children: ChildProcess[] = [];
  const killAll = () => {
    for (const child of children) child.kill('SIGKILL');
  };
  process.once('exit', killAll);
  const proxyPort = await freePort();
  const proxyUrl = `https://127.0.0.1:${proxyPort}`;
  const access = (name: string, server: string, token = fleet.tokens.admin) =>
    fleet.kubeconfig({ name, server, token });
  for (const { name, url } of fleet.servers) access(name, url);
  const proxyKubeconfig = access('proxy', proxyUrl);
  const home = fleet.server('old-1');
  const common = ['--namespace', productNamespace, '--log-format', 'text', '--health-bind-address', '0'];
  const start = (name: 'operator' | 'proxy', args: readonly string[]) => {
    const output = openSync(join(fleet.folder, `${name}.log`), 'a');
    const kubeconfig = access(`${name}-own`, home.url, fleet.tokens[name]);
    const all = [program, name, '--kubeconfig', kubeconfig, ...common, ...args];
    const child = spawn(process.execPath, all, { stdio: ['ignore', output, output] });
    closeSync(output);
    children.push(child);
  };
  const urlOf = (target: string) => (target === 'proxy' ? proxyUrl : fleet.server(target).url);
  const accessOf = (target: string) => ['--kubeconfig', join(fleet.folder, `${target}.kubeconfig`)];
  const hasKubectl = spawnSync('kubectl', ['version', '--client']).status === 0;
  const builtIn = hasKubectl ? undefined : createBuiltInKubectl(fleet, urlOf);
  return {
    fleet,
    builtIn,
    proxyUrl,
    proxyKubeconfig,
    plane: {
      servers: fleet.servers.map(({ name, version, url }) => ({
        hostname: name,
        version: `v${version} (simulated)`,
        url,
      })),
      server: (name) => fleet.server(name),
      logTails: (lines) =>
        ['operator', 'proxy'].map((name) => tailOf(join(fleet.folder, `${name}.log`), lines)).join('\n'),
    },
    kubectl: (target, args, input) =>
      builtIn?.run(target, args) ?? run('kubectl', [...accessOf(target), ...args], fleet.folder, input),
    plugin: (target, args) => run(process.execPath, [pluginProgram, ...args, ...accessOf(target)], fleet.folder),
    startOperator: () => start('operator', ['--leader-elect', 'false']),
    startProxy() {
      const serving = fleet.issueServingCert('proxy', ['localhost'], ['127.0.0.1']);
      const tls = ['--tls-cert-file', serving.cert, '--tls-private-key-file', serving.key];
      const peers = ['--peer-ca-file', fleet.caFile, '--allow-peer-cidrs', '127.0.0.0/8', '--home', home.address];
      start('proxy', ['--bind-address', '127.0.0.1', '--secure-port', String(proxyPort), ...tls, ...peers]);
    },
    async stop() {
      await Promise.all(children.map(end));
      process.off('exit', killAll);
      await fleet.stop();
    },
  };
}

function run(file: string, args: readonly string[], folder: string, input = ''): ReturnType<Kubectl['run']> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, HOME: folder, KUBECACHEDIR: join(folder, 'kubectl-cache') };
    const child = spawn(file, args, { env });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.once('error', reject);
    child.once('close', (code) => resolve({ code: code ?? 1, stdout, stderr }));
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
}

function tailOf(path: string, lines: number): string {
  return `--- ${path}\n${readFileSync(path, 'utf8').trimEnd().split('\n').slice(-lines).join('\n')}`;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const impatient = setTimeout(() => child.kill('SIGKILL'), 5_000);
  await exited;
  clearTimeout(impatient);
}
