import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureControlPlane, type Minor, programs } from '../build/build-control-plane.ts';
import { waitUntil } from '../wait-until.ts';
import { inlined, issue, type KeyPair, makeAuthority, makeSigningKey } from './certificates.ts';

/** Options of a kube-apiserver. */
export interface Software {
  readonly version: Minor;
  readonly emulatedVersion?: string;
  readonly runtimeConfig?: string;
  /** More flags. */
  readonly flags?: readonly string[];
}

/** One kube-apiserver to start. */
export interface ServerOptions extends Software {
  readonly name: string;
  /** The hostname; by default its name. */
  readonly hostname?: string;
  /** DNS names of its certificate besides the Service's; by default its name. */
  readonly certificateNames?: readonly string[];
  /** Enables upstream's own Mixed Version Proxy. */
  readonly peerCa?: boolean;
  /** Gives it its own member of the etcd cluster, as in a stacked control plane. No other server uses that member. */
  readonly ownEtcd?: boolean;
}

/** One kube-apiserver of the lab. */
export interface LabServer {
  readonly name: string;
  readonly hostname: string;
  /** `ip:port`. */
  readonly address: string;
  readonly url: string;
  /** The version, for people. */
  readonly version: string;
  /** Resolves when `/readyz` is ok. The server can get another hostname. */
  start(hostname?: string): Promise<void>;
  /** Starts it with more flags, until it is started again. */
  startWith(flags: readonly string[]): Promise<void>;
  /** Starts another version at the same address, with the same data. */
  startAs(software: Software): Promise<void>;
  /** Sends SIGTERM. Resolves when the process has ended. */
  stop(): Promise<void>;
  /** Sends SIGKILL. Resolves when the process has ended. */
  kill(): Promise<void>;
  /** Ends its own etcd member (`ownEtcd`). Resolves when the process has ended. */
  killEtcd(): Promise<void>;
  /** Starts its own etcd member again, with the same data. */
  startEtcd(): void;
  /** Pauses the named part: it keeps its connections and answers nothing. */
  pause(what: Pausable): void;
  /** Resumes it. */
  resume(what: Pausable): void;
}

/**
 * - `server`: the server's process.
 * - `etcd`: its own etcd member (`ownEtcd`).
 * - `network`: drops every packet to and from its address.
 */
export type Pausable = 'server' | 'etcd' | 'network';

/** The result of a command. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Options for a command. */
export interface ExecOptions {
  readonly input?: string;
  readonly env?: NodeJS.ProcessEnv;
}

/** Real kube-apiservers on one etcd, in the network namespace of this process. */
export interface ControlPlane {
  readonly caFile: string;
  /** The key that signs ServiceAccount tokens. */
  readonly serviceAccountKeyFile: string;
  readonly servers: readonly LabServer[];
  /** The second operator has the same user. Only the user's `uid` in an audit log differs. */
  readonly tokens: Readonly<Record<'admin' | 'reader' | 'operator' | 'secondOperator' | 'proxy', string>>;
  server(name: string): LabServer;
  /** Pauses every member of etcd. */
  pauseEtcd(): void;
  resumeEtcd(): void;
  /** Runs a program. Programs of the control plane, such as `kubectl`, are the lab's own. */
  exec(command: string, args: readonly string[], options?: ExecOptions): Promise<Outcome>;
  /** Starts a program, found in the same way. Its output goes to a log, and `stop` ends it. */
  spawn(
    command: string,
    args: readonly string[],
    options: {
      readonly name: string;
      readonly env?: NodeJS.ProcessEnv;
      /** The version whose program to run; 1.36 by default. */
      readonly version?: Minor;
    },
  ): ChildProcess;
  /** The process id of a server, an etcd member or a spawned program with this name; undefined if it does not run. */
  pidOf(name: string): number | undefined;
  /** The output so far of a spawned program with this name. */
  readLog(name: string): string;
  /** Writes a kubeconfig and returns its path. */
  kubeconfig(access: { readonly server: string; readonly token: string; readonly name: string }): string;
  /** The front-proxy certificate that every server trusts. */
  readonly frontProxyClient: KeyPair;
  /** A client certificate for a subject such as `/O=dev/CN=jane`. */
  issueClientCert(name: string, subject: string, validDays?: string): KeyPair;
  issueServingCert(name: string, dns: readonly string[], ips: readonly string[], validDays?: string): KeyPair;
  /** The last lines of every log. */
  logTails(lines: number): string;
  /** Ends every process and removes every file. */
  stop(): Promise<void>;
}

const firstAddress = 11;
const firstEtcdPort = 2379;

/**
 * One member of the etcd cluster: its name, which is also the name of its log, and its ports for clients and for peers.
 */
interface EtcdMember {
  readonly name: string;
  readonly clientUrl: string;
  readonly peerUrl: string;
}

/**
 * One shared member. If servers have their own members, two more are added, so that a quorum survives the loss of any
 * one.
 */
function planEtcd(servers: readonly ServerOptions[]): readonly EtcdMember[] {
  const own = servers.filter(({ ownEtcd }) => ownEtcd === true).map(({ name }) => `etcd-${name}`);
  return ['etcd', ...(own.length > 0 ? ['etcd-quorum'] : []), ...own].map((name, index) => ({
    name,
    clientUrl: `http://127.0.0.1:${firstEtcdPort + 2 * index}`,
    peerUrl: `http://127.0.0.1:${firstEtcdPort + 2 * index + 1}`,
  }));
}

/** Packets to an address without a device are lost silently; connections stay as they are. */
function setAddress(action: 'add' | 'del', ip: string): void {
  const { status, stderr } = spawnSync('ip', ['address', action, `${ip}/32`, 'dev', 'lo'], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`ip address ${action} ${ip}: ${stderr}`);
}

function flagsOf({ emulatedVersion, runtimeConfig, flags = [] }: Software): readonly string[] {
  return [
    ...(emulatedVersion === undefined ? [] : [`--emulated-version=${emulatedVersion}`]),
    ...(runtimeConfig === undefined ? [] : [`--runtime-config=${runtimeConfig}`]),
    ...flags,
  ];
}

const serviceAccountGroups = 'system:serviceaccounts,system:serviceaccounts:peerdiscovery-system';

/** Starts etcd and the servers. Resolves when all are ready. */
export async function startControlPlane(options: {
  readonly servers: readonly ServerOptions[];
  readonly log: (message: string) => void;
}): Promise<ControlPlane> {
  const versions = [...new Set<Minor>(['1.36', ...options.servers.map(({ version }) => version)])];
  const folders = { ...(await ensureControlPlane({ versions, log: options.log })) };
  const program = (version: Minor, name: string) => join(folders[version] ?? '', name);
  const find = (command: string) =>
    (programs as readonly string[]).includes(command) ? program('1.36', command) : command;

  const folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-lab-'));
  const children = new Map<string, ChildProcess>();
  const commands = new Set<ChildProcess>();
  const logs = new Set<string>();
  // A test run keeps the logs, for readers of a failure.
  const kept = process.env.PEERDISCOVERY_TEST_LOGS;
  const logFolder = kept === undefined ? folder : mkdtempSync(join(kept, 'plane-'));
  const killAll = () => {
    for (const child of [...children.values(), ...commands]) child.kill('SIGKILL');
    // A process that has just been killed may still write a file.
    rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
  };
  process.once('exit', killAll);

  function launch(name: string, command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
    const path = join(logFolder, `${name}.log`);
    logs.add(name);
    const output = openSync(path, 'a');
    const child = spawn(command, args, { stdio: ['ignore', output, output], env: { ...process.env, ...env } });
    closeSync(output);
    children.set(name, child);
    child.once('exit', () => {
      if (children.get(name) === child) children.delete(name);
    });
    child.once('error', (error) => {
      writeFileSync(path, `${error.message}\n`, { flag: 'a' });
      // A program that could not start never exits.
      if (child.pid === undefined && children.get(name) === child) children.delete(name);
    });
    return child;
  }

  function signalTo(name: string, signal: NodeJS.Signals): void {
    if (children.get(name)?.kill(signal) !== true) throw new Error(`${name} does not run`);
  }

  async function end(name: string, signal: NodeJS.Signals): Promise<void> {
    const child = children.get(name);
    if (child === undefined) return;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    // A paused process handles the signal only after SIGCONT.
    child.kill('SIGCONT');
    const impatient = setTimeout(() => child.kill('SIGKILL'), 10_000);
    await exited;
    clearTimeout(impatient);
  }

  const exec: ControlPlane['exec'] = (command, args, { input, env } = {}) =>
    new Promise((resolve, reject) => {
      const child = spawn(find(command), args, {
        env: {
          ...process.env,
          HOME: folder,
          KUBECACHEDIR: join(folder, 'kubectl-cache', randomBytes(4).toString('hex')),
          ...env,
        },
      });
      commands.add(child);
      child.once('exit', () => commands.delete(child));
      let stdout = '';
      let stderr = '';
      child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
      child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
      child.once('error', (error) => reject(new Error(`${command} cannot be run`, { cause: error })));
      child.once('close', (code) => resolve({ code: code ?? 1, stdout, stderr }));
      child.stdin.on('error', () => {});
      child.stdin.end(input ?? '');
    });

  const authority = makeAuthority(folder, 'ca');
  const frontProxyAuthority = makeAuthority(folder, 'front-proxy-ca');
  const frontProxyClient = issue(folder, 'front-proxy-client', frontProxyAuthority, '/CN=front-proxy-client');
  const signing = makeSigningKey(folder);
  const token = () => randomBytes(16).toString('hex');
  const tokens = { admin: token(), reader: token(), operator: token(), secondOperator: token(), proxy: token() };
  const tokenFile = join(folder, 'tokens.csv');
  const account = (name: string) => `system:serviceaccount:peerdiscovery-system:peerdiscovery-${name}`;
  writeFileSync(
    tokenFile,
    [
      `${tokens.admin},admin,admin,"system:masters"`,
      `${tokens.reader},reader,reader`,
      `${tokens.operator},${account('operator')},operator,"${serviceAccountGroups}"`,
      `${tokens.secondOperator},${account('operator')},operator-2,"${serviceAccountGroups}"`,
      `${tokens.proxy},${account('proxy')},proxy,"${serviceAccountGroups}"`,
    ].join('\n'),
    { mode: 0o600 },
  );
  const issueServingCert: ControlPlane['issueServingCert'] = (name, dns, ips, validDays) =>
    issue(
      folder,
      `serving-${name}`,
      authority,
      `/CN=${name}`,
      [...dns.map((host) => `DNS:${host}`), ...ips.map((ip) => `IP:${ip}`)],
      validDays,
    );

  const logTails: ControlPlane['logTails'] = (lines) =>
    [...logs]
      .map(
        (name) =>
          `--- ${name}\n${readFileSync(join(logFolder, `${name}.log`), 'utf8')
            .trimEnd()
            .split('\n')
            .slice(-lines)
            .join('\n')}`,
      )
      .join('\n');

  const etcd = planEtcd(options.servers);
  const etcdOf = ({ name, ownEtcd }: ServerOptions) => (ownEtcd === true ? `etcd-${name}` : 'etcd');
  const initialCluster = etcd.map(({ name, peerUrl }) => `${name}=${peerUrl}`).join(',');
  const startMember = ({ name, clientUrl, peerUrl }: EtcdMember) =>
    launch(name, program('1.36', 'etcd'), [
      `--name=${name}`,
      `--data-dir=${join(folder, name)}`,
      '--unsafe-no-fsync',
      `--listen-client-urls=${clientUrl}`,
      `--advertise-client-urls=${clientUrl}`,
      `--listen-peer-urls=${peerUrl}`,
      `--initial-advertise-peer-urls=${peerUrl}`,
      `--initial-cluster=${initialCluster}`,
    ]);

  function describeServer(server: ServerOptions, index: number): LabServer {
    const processOf = (what: Exclude<Pausable, 'network'>) => {
      if (what === 'server') return server.name;
      if (server.ownEtcd !== true)
        throw new Error(`${server.name} shares its etcd with other servers: start it with ownEtcd`);
      return etcdOf(server);
    };
    const store = etcd.find(({ name }) => name === etcdOf(server));
    const ip = `10.77.0.${firstAddress + index}`;
    const address = `${ip}:6443`;
    const url = `https://${address}`;
    const ownHostname = server.hostname ?? server.name;
    const serving = issueServingCert(
      server.name,
      ['kubernetes.default.svc', 'kubernetes', ...(server.certificateNames ?? [server.name])],
      [ip, '10.96.0.1'],
    );
    const args = [
      `--etcd-servers=${store?.clientUrl}`,
      `--bind-address=${ip}`,
      `--advertise-address=${ip}`,
      '--secure-port=6443',
      `--tls-cert-file=${serving.cert}`,
      `--tls-private-key-file=${serving.key}`,
      `--client-ca-file=${authority.cert}`,
      `--token-auth-file=${tokenFile}`,
      '--service-account-issuer=https://kubernetes.default.svc',
      `--service-account-key-file=${signing.publicKey}`,
      `--service-account-signing-key-file=${signing.privateKey}`,
      '--service-cluster-ip-range=10.96.0.0/16',
      '--authorization-mode=RBAC',
      '--endpoint-reconciler-type=lease',
      `--requestheader-client-ca-file=${frontProxyAuthority.cert}`,
      '--requestheader-allowed-names=front-proxy-client',
      '--requestheader-username-headers=X-Remote-User',
      '--requestheader-group-headers=X-Remote-Group',
      '--requestheader-extra-headers-prefix=X-Remote-Extra-',
      `--proxy-client-cert-file=${frontProxyClient.cert}`,
      `--proxy-client-key-file=${frontProxyClient.key}`,
      ...(server.peerCa === true ? [`--peer-ca-file=${authority.cert}`] : []),
    ];
    const ready = async () => {
      const probe = [
        '-sS',
        '--max-time',
        '5',
        '--cacert',
        authority.cert,
        '-H',
        `Authorization: Bearer ${tokens.admin}`,
      ];
      return (await exec('curl', [...probe, `${url}/readyz`])).stdout === 'ok';
    };
    async function launchServer(hostname: string, software: Software): Promise<void> {
      Object.assign(folders, await ensureControlPlane({ versions: [software.version], log: options.log }));
      // The names of identity Leases depend on the hostname, so every server gets its own.
      const script = 'hostname "$1" && shift && exec "$@"';
      const command = [program(software.version, 'kube-apiserver'), ...args, ...flagsOf(software)];
      const child = launch(server.name, 'unshare', ['--uts', 'sh', '-c', script, 'sh', hostname, ...command]);
      await waitUntil(
        `${server.name} to be ready`,
        async () => {
          if (child.exitCode !== null) throw new Error(`${server.name} ended with ${child.exitCode}\n${logTails(20)}`);
          return ready();
        },
        { boundMs: 180_000, everyMs: 250, seen: () => logTails(20) },
      );
      options.log(`${server.name} is ready`);
    }
    return {
      name: server.name,
      hostname: ownHostname,
      address,
      url,
      version:
        server.emulatedVersion === undefined
          ? `v${server.version}`
          : `v${server.version} emulating ${server.emulatedVersion}`,
      start: (hostname = ownHostname) => launchServer(hostname, server),
      startWith: (flags) => launchServer(ownHostname, { ...server, flags: [...(server.flags ?? []), ...flags] }),
      startAs: (software) => launchServer(ownHostname, software),
      stop: () => end(server.name, 'SIGTERM'),
      kill: () => end(server.name, 'SIGKILL'),
      killEtcd: () => end(processOf('etcd'), 'SIGKILL'),
      startEtcd: () => {
        if (store !== undefined) startMember(store);
      },
      pause: (what) => (what === 'network' ? setAddress('del', ip) : signalTo(processOf(what), 'SIGSTOP')),
      resume: (what) => (what === 'network' ? setAddress('add', ip) : signalTo(processOf(what), 'SIGCONT')),
    };
  }

  const servers = options.servers.map(describeServer);
  const stop = async () => {
    const members = new Set(etcd.map(({ name }) => name));
    for (const name of members) children.get(name)?.kill('SIGCONT');
    await Promise.all([...children.keys()].filter((name) => !members.has(name)).map((name) => end(name, 'SIGTERM')));
    await Promise.all([...members].map((name) => end(name, 'SIGKILL')));
    process.off('exit', killAll);
    killAll();
  };

  try {
    options.log('starting etcd');
    for (const member of etcd) startMember(member);
    const [first, ...others] = servers;
    options.log(`starting ${servers.map(({ name, version }) => `${name} (${version})`).join(', ')}`);
    await first?.start();
    await Promise.all(others.map((server) => server.start()));
  } catch (error) {
    await stop();
    throw error;
  }

  return {
    caFile: authority.cert,
    serviceAccountKeyFile: signing.privateKey,
    servers,
    tokens,
    server(name) {
      const found = servers.find((server) => server.name === name);
      if (found === undefined) throw new Error(`unknown server: ${name}`);
      return found;
    },
    pauseEtcd: () => {
      for (const { name } of etcd) signalTo(name, 'SIGSTOP');
    },
    resumeEtcd: () => {
      for (const { name } of etcd) signalTo(name, 'SIGCONT');
    },
    exec,
    spawn: (command, args, { name, env, version }) =>
      launch(name, version === undefined ? find(command) : program(version, command), args, env),
    pidOf: (name) => children.get(name)?.pid,
    readLog: (name) => readFileSync(join(logFolder, `${name}.log`), 'utf8'),
    kubeconfig({ server, token: bearer, name }) {
      const path = join(folder, `${name}.kubeconfig`);
      const config = {
        apiVersion: 'v1',
        kind: 'Config',
        'current-context': name,
        clusters: [{ name, cluster: { server, 'certificate-authority-data': inlined(authority.cert) } }],
        users: [{ name, user: { token: bearer } }],
        contexts: [{ name, context: { cluster: name, user: name } }],
      };
      writeFileSync(path, JSON.stringify(config, undefined, 2), { mode: 0o600 });
      return path;
    },
    frontProxyClient,
    issueClientCert: (name, subject, validDays) => issue(folder, `client-${name}`, authority, subject, [], validDays),
    issueServingCert,
    logTails,
    stop,
  };
}
