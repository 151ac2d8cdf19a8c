import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildRootfs, entrypoint } from '../../scripts/build-rootfs.ts';
import { createApiClient } from '../../src/adapters/kubernetes/api-client.ts';
import { loadKubeConfig } from '../../src/adapters/kubernetes/connect-cluster.ts';
import { createLog } from '../../src/adapters/logging/create-log.ts';
import { readEnvironment } from '../../src/flags/environment.ts';
import { ensureControlPlane } from '../build/build-control-plane.ts';
import { repository } from '../repository.ts';
import { type ControlPlane, type Outcome, startControlPlane } from './control-plane.ts';
import { type NodeAgent, startNodeAgent } from './node-agent.ts';

/** One request to a kube-apiserver, from its audit log. */
export interface AuditEvent {
  readonly verb: string;
  readonly requestURI: string;
  readonly user: { readonly username: string };
  readonly impersonatedUser?: {
    readonly username?: string;
    readonly uid?: string;
    readonly groups?: readonly string[];
    readonly extra?: Readonly<Record<string, readonly string[]>>;
  };
  readonly objectRef?: {
    readonly apiGroup?: string;
    readonly resource?: string;
    readonly subresource?: string;
    readonly namespace?: string;
    readonly name?: string;
  };
  readonly responseStatus?: { readonly code?: number };
}

/** An empty control plane of two versions with real controllers, and Nodes whose agent runs the image's file system. */
export interface DeployPlane {
  readonly plane: ControlPlane;
  readonly agent: NodeAgent;
  /** The image file system that Pods run. */
  readonly rootfs: string;
  /** A scratch folder. */
  readonly folder: string;
  /** Runs kubectl with the administrator's rights. */
  kubectl(args: readonly string[], input?: string): Promise<Outcome>;
  /** Like `kubectl`, but a failure is an error. Resolves to standard output. */
  must(args: readonly string[], input?: string): Promise<string>;
  /**
   * Runs a shell script as an administrator would: in the repository, with kubectl and the given folders on the PATH.
   */
  shell(script: string, path?: readonly string[]): Promise<Outcome>;
  /** The requests of PeerDiscovery's ServiceAccounts so far. */
  audit(): readonly AuditEvent[];
  stop(): Promise<void>;
}

const controllers = [
  'deployment-controller',
  'replicaset-controller',
  'daemonset-controller',
  'disruption-controller',
  'namespace-controller',
  'garbage-collector-controller',
  'root-ca-certificate-publisher-controller',
  'serviceaccount-controller',
  'endpoints-controller',
  'endpointslice-controller',
];

const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    userGroups: ["system:serviceaccounts:peerdiscovery-system", "system:serviceaccounts:peerdiscovery-front-proxy"]
  - level: None
`;

/** Starts everything. PeerDiscovery is not yet installed. */
export async function startDeployPlane(log: (message: string) => void): Promise<DeployPlane> {
  const folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-deploy-'));
  const rootfs = join(folder, 'rootfs');
  log('building the image file system from the npm package');
  buildRootfs(rootfs);
  const policy = join(folder, 'audit-policy.yaml');
  writeFileSync(policy, auditPolicy);
  const auditLog = (name: string) => join(folder, `audit-${name}.log`);
  const audited = (name: string) => ({
    flags: [`--audit-policy-file=${policy}`, `--audit-log-path=${auditLog(name)}`],
  });
  const plane = await startControlPlane({
    servers: [
      { name: 'old-1', version: '1.36', emulatedVersion: '1.33', ...audited('old-1') },
      { name: 'new-1', version: '1.36', ...audited('new-1') },
    ],
    log,
  });
  let agent: NodeAgent | undefined;
  const stop = async () => {
    await agent?.stop();
    await plane.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const home = plane.server('old-1');
    const kubeconfig = plane.kubeconfig({ server: home.url, token: plane.tokens.admin, name: 'admin' });
    const programs = (await ensureControlPlane({ versions: ['1.36'], log }))['1.36'] ?? '';
    const kubectl: DeployPlane['kubectl'] = (args, input) =>
      plane.exec('kubectl', ['--kubeconfig', kubeconfig, ...args], input === undefined ? {} : { input });
    const must: DeployPlane['must'] = async (args, input) => {
      const { code, stdout, stderr } = await kubectl(args, input);
      if (code !== 0) throw new Error(`kubectl ${args.join(' ')} ended with ${code}: ${stderr}${stdout}`);
      return stdout;
    };
    for (const server of plane.servers) await addNode(must, server.hostname, server.address.split(':')[0] ?? '');
    plane.spawn(
      join(programs, 'kube-controller-manager'),
      [
        `--kubeconfig=${kubeconfig}`,
        `--root-ca-file=${plane.caFile}`,
        `--controllers=${controllers.join(',')}`,
        '--leader-elect=false',
        `--cert-dir=${folder}`,
      ],
      { name: 'kube-controller-manager' },
    );
    agent = startNodeAgent({
      client: createApiClient(loadKubeConfig({ kubeconfig, environment: readEnvironment({}) }), {
        timeoutMs: 10_000,
        log: createLog({ format: 'text', level: 'error' }),
      }),
      rootfs,
      entrypoint,
      apiServer: { host: home.address.split(':')[0] ?? '', port: home.address.split(':')[1] ?? '' },
      launch: (command, args, name) => plane.spawn(command, args, { name }),
      log,
    });
    return {
      plane,
      agent,
      rootfs,
      folder,
      kubectl,
      must,
      shell: (script, path = []) => {
        const settings = [
          `export KUBECONFIG='${kubeconfig}' HOME='${folder}'`,
          `export PATH='${[...path, programs].join(':')}':"$PATH"`,
          `cd '${repository}'`,
        ];
        return plane.exec('bash', ['-euo', 'pipefail', '-c', [...settings, script].join('\n')]);
      },
      audit: () =>
        plane.servers.flatMap(({ name }) =>
          readFileSync(auditLog(name), 'utf8')
            .split('\n')
            .filter((line) => line !== '')
            .map((line) => JSON.parse(line) as AuditEvent),
        ),
      stop,
    };
  } catch (error) {
    const tails = plane.logTails(20);
    await stop();
    throw new Error(`cannot set up the control plane\n${tails}`, { cause: error });
  }
}

async function addNode(must: DeployPlane['must'], name: string, ip: string): Promise<void> {
  const labels = { 'node-role.kubernetes.io/control-plane': '', 'kubernetes.io/hostname': name };
  await must(['apply', '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'Node', metadata: { name, labels } }));
  const conditions = [{ type: 'Ready', status: 'True', reason: 'Lab', message: '' }];
  const status = { addresses: [{ type: 'InternalIP', address: ip }], conditions, allocatable: { pods: '110' } };
  await must(['patch', 'node', name, '--subresource=status', '--type=merge', '-p', JSON.stringify({ status })]);
  // The admission plugin TaintNodesByCondition sets this taint. No node controller runs here to remove it once the Node
  // is ready.
  await must(['patch', 'node', name, '--type=merge', '-p', '{"spec":{"taints":null}}']);
}
