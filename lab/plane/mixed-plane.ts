import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import type { Minor } from '../build/build-control-plane.ts';
import { repository } from '../repository.ts';
import { type ControlPlane, type Outcome, type ServerOptions, startControlPlane } from './control-plane.ts';
import { waitForDefinitions } from './wait-for-definitions.ts';

const program = join(repository, 'src', 'bin', 'peerdiscovery.ts');
const pluginProgram = join(repository, 'src', 'bin', 'kubectl-peerdiscovery.ts');

/** Where the operator and the proxies run, and which kube-apiserver they use. */
export interface MixedPlaneOptions {
  readonly servers: readonly ServerOptions[];
  /** The name of the server that the operator, the proxy and the setup use. */
  readonly home: string;
  readonly log: (message: string) => void;
  /** The spec of the PeerDiscovery `cluster`. */
  readonly spec?: object;
}

/** Options for an additional instance of a program. */
export interface RunAs {
  /** The name of its log. */
  readonly name?: string;
  /** A command that starts it, such as `setpriv` with its arguments. */
  readonly by?: readonly string[];
}

/** Options for an additional proxy. */
export interface RunProxyAs extends RunAs {
  /** False for a proxy without `--home`: each client connection then has its own home. */
  readonly pinned?: boolean;
}

/** A real control plane of several versions with PeerDiscovery installed. */
export interface MixedPlane {
  readonly plane: ControlPlane;
  /** The URL of the proxy. */
  readonly proxyUrl: string;
  readonly proxyKubeconfig: string;
  /** Runs kubectl with the administrator's rights against a server by name, or against the proxy. */
  kubectl(target: string, args: readonly string[], input?: string): Promise<Outcome>;
  /** Runs the kubectl plugin in the same way. */
  plugin(target: string, args: readonly string[]): Promise<Outcome>;
  kubeconfigOf(target: string): string;
  startOperator(flags?: readonly string[], as?: RunAs): ChildProcess;
  startProxy(flags?: readonly string[], as?: RunProxyAs): ChildProcess;
  /** Starts a kube-controller-manager with the administrator's rights. It uses a server by name, or the proxy. */
  startControllerManager(target: string, emulatedVersion?: string, version?: Minor): ChildProcess;
  stop(): Promise<void>;
}

const proxyAddress = '10.77.0.30';
/** The address of a second proxy. The serving certificate names it, too. */
export const secondProxyAddress = '10.77.0.31';
/** Every address in the proxies' serving certificate. */
export const proxyAddresses = [proxyAddress, secondProxyAddress] as const;
const proxyPort = 6443;
const namespace = 'peerdiscovery-system';

/**
 * Starts the servers, installs the CRD and the roles, registers control-plane Nodes, then starts operator and proxy.
 */
export async function startMixedPlane(options: MixedPlaneOptions): Promise<MixedPlane> {
  const plane = await startControlPlane({ servers: options.servers, log: options.log });
  try {
    return await install(plane, options);
  } catch (error) {
    const tails = plane.logTails(30);
    await plane.stop();
    throw new Error(`cannot set up the control plane\n${tails}`, { cause: error });
  }
}

async function install(plane: ControlPlane, options: MixedPlaneOptions): Promise<MixedPlane> {
  const proxyUrl = `https://${proxyAddress}:${proxyPort}`;
  const kubeconfigs = new Map<string, string>();
  for (const { name, url } of plane.servers)
    kubeconfigs.set(name, plane.kubeconfig({ server: url, token: plane.tokens.admin, name }));
  const proxyKubeconfig = plane.kubeconfig({ server: proxyUrl, token: plane.tokens.admin, name: 'proxy' });
  kubeconfigs.set('proxy', proxyKubeconfig);
  const kubeconfigOf = (target: string) => {
    const path = kubeconfigs.get(target);
    if (path === undefined) throw new Error(`unknown server: ${target}`);
    return path;
  };
  const kubectl: MixedPlane['kubectl'] = (target, args, input) =>
    plane.exec('kubectl', ['--kubeconfig', kubeconfigOf(target), ...args], input === undefined ? {} : { input });
  const must = async (args: readonly string[], input?: string) => {
    const { code, stdout, stderr } = await kubectl(options.home, args, input);
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')} ended with ${code}: ${stderr}${stdout}`);
  };

  options.log('installing the CRD and the roles');
  await must(['apply', '-k', join(repository, 'config')]);
  await waitForDefinitions((args) => kubectl(options.home, args));
  for (const server of plane.servers) {
    const ip = server.address.slice(0, server.address.lastIndexOf(':'));
    // A kubelet writes the name of its host in lower case.
    const node = server.hostname.toLowerCase();
    const labels = { 'node-role.kubernetes.io/control-plane': '', 'kubernetes.io/hostname': server.hostname };
    await must(
      ['apply', '-f', '-'],
      JSON.stringify({ apiVersion: 'v1', kind: 'Node', metadata: { name: node, labels } }),
    );
    const status = { status: { addresses: [{ type: 'InternalIP', address: ip }] } };
    await must(['patch', 'node', node, '--subresource=status', '--type=merge', '-p', JSON.stringify(status)]);
  }
  const spec = { mode: 'Route', ...options.spec };
  const object = {
    apiVersion: 'peerdiscovery.dev/v1alpha1',
    kind: 'PeerDiscovery',
    metadata: { name: 'cluster' },
    spec,
  };
  await must(['apply', '-f', '-'], JSON.stringify(object));

  const home = plane.server(options.home);
  const serviceKubeconfig = (component: 'operator' | 'proxy') =>
    plane.kubeconfig({ server: home.url, token: plane.tokens[component], name: `${component}-${options.home}` });
  const node = (as: Required<RunAs>, args: readonly string[]) => {
    const [command = process.execPath, ...rest] = [...as.by, process.execPath, program, ...args];
    return plane.spawn(command, rest, { name: as.name });
  };
  const serving = plane.issueServingCert('proxy', ['localhost'], proxyAddresses);

  return {
    plane,
    proxyUrl,
    proxyKubeconfig,
    kubectl,
    plugin: (target, args) =>
      plane.exec(process.execPath, [pluginProgram, ...args, '--kubeconfig', kubeconfigOf(target)]),
    kubeconfigOf,
    startOperator(more = [], { name = 'operator', by = [] } = {}) {
      const flags = ['--kubeconfig', serviceKubeconfig('operator'), '--namespace', namespace, '--log-format', 'text'];
      return node({ name, by }, ['operator', ...flags, ...more]);
    },
    startProxy(more = [], { name = 'proxy', by = [], pinned = true } = {}) {
      const flags = ['--kubeconfig', serviceKubeconfig('proxy'), '--namespace', namespace, '--log-format', 'text'];
      const tls = [
        '--tls-cert-file',
        serving.cert,
        '--tls-private-key-file',
        serving.key,
        '--peer-ca-file',
        plane.caFile,
      ];
      const listen = ['--bind-address', proxyAddress, '--secure-port', String(proxyPort)];
      const ownHome = pinned ? ['--home', home.address] : [];
      return node({ name, by }, ['proxy', ...flags, ...tls, ...listen, ...ownHome, ...more]);
    },
    startControllerManager(target, emulatedVersion, version) {
      const keys = ['--service-account-private-key-file', plane.serviceAccountKeyFile, '--root-ca-file', plane.caFile];
      const emulated = emulatedVersion === undefined ? [] : [`--emulated-version=${emulatedVersion}`];
      const flags = ['--kubeconfig', kubeconfigOf(target), ...keys, '--leader-elect=false', '--secure-port=0'];
      return plane.spawn('kube-controller-manager', [...flags, ...emulated], {
        name: `controllers-${target}`,
        ...(version !== undefined && { version }),
      });
    },
    stop: () => plane.stop(),
  };
}
