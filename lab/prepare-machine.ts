import { spawnSync } from 'node:child_process';
import { delimiter } from 'node:path';
import { fileURLToPath } from 'node:url';
import { containerdFolder, ensurePrometheus, prometheusFolder } from './build/build-go-tool.ts';
import { findDateLibrary, findProgram } from './build/find-program.ts';
import { browserFolder, ensureBrowser } from './build/unpack-browser.ts';

/** A Prometheus program that the tests of the alerts run. */
export type PrometheusProgram = 'prometheus' | 'promtool';

/** A program that only a Debian package provides here. */
interface SystemProgram {
  readonly program: string;
  readonly debianPackage: string;
}

/** The requirements of a Makefile target. */
interface Needs {
  readonly programs: readonly SystemProgram[];
  /** Optional programs. Tests that need a missing one are skipped. */
  readonly optional: readonly Optional[];
}

interface Optional {
  readonly name: string;
  /** Undefined if the package would change more of a machine than a test may. */
  readonly debianPackage?: string;
  /** The tests that are skipped without it. */
  readonly forWhat: string;
  find(): Promise<boolean>;
  /** Gets the program without Debian's package. Throws if that is impossible. */
  get(log: Log): Promise<unknown>;
}

type Log = (message: string) => void;

const openssl = { program: 'openssl', debianPackage: 'openssl' };
const lab: readonly SystemProgram[] = [
  openssl,
  { program: 'curl', debianPackage: 'curl' },
  { program: 'ip', debianPackage: 'iproute2' },
  { program: 'unshare', debianPackage: 'util-linux' },
];

/** The folder in which Debian installs the network programs for containers. */
const pluginFolder = '/usr/lib/cni';

/** Programs that a machine of the cluster runs, or that build its images. */
const cluster: readonly SystemProgram[] = [
  { program: 'runc', debianPackage: 'runc' },
  { program: 'buildah', debianPackage: 'buildah' },
  { program: 'host-local', debianPackage: 'containernetworking-plugins' },
  { program: 'iptables', debianPackage: 'iptables' },
  { program: 'nft', debianPackage: 'nftables' },
  { program: 'ipset', debianPackage: 'ipset' },
  { program: 'gcc', debianPackage: 'gcc' },
];

/** The names of Chromium on different systems. */
const browsers = ['chromium', 'chromium-browser', 'google-chrome'];

const alerts: Optional = {
  name: 'Prometheus',
  debianPackage: 'prometheus',
  forWhat: 'the tests of the alerts with a real Prometheus',
  find: async () =>
    (await findPrometheus('prometheus')) !== undefined && (await findPrometheus('promtool')) !== undefined,
  get: ensurePrometheus,
};

const pages: Optional = {
  name: 'Chromium',
  debianPackage: 'chromium',
  forWhat: 'the tests of the status page in a browser',
  find: async () => (await findBrowser()) !== undefined,
  get: ensureBrowser,
};

const dates: Optional = {
  name: 'libfaketime',
  debianPackage: 'libfaketime',
  forWhat: 'the clock faults',
  find: async () => findDateLibrary() !== undefined,
  get: () => Promise.reject(new Error('it cannot be downloaded here: install it')),
};

const containers: Optional = {
  name: 'buildah, runc and containerd',
  forWhat: 'the tests of `make image` and `make load` on a real containerd',
  find: async () => (await findContainers()) !== undefined,
  get: () => Promise.reject(new Error('install the packages buildah, runc and containerd')),
};

/** Requirements by their names on the command line. */
const needs: Readonly<Record<string, Needs>> = {
  unit: { programs: [openssl], optional: [] },
  e2e: { programs: lab, optional: [alerts, pages, containers] },
  others: { programs: lab, optional: [alerts] },
  demo: { programs: lab, optional: [] },
  chaos: { programs: [...lab, { program: 'nft', debianPackage: 'nftables' }], optional: [dates] },
  cluster: { programs: [...lab, ...cluster], optional: [] },
};

/** The path of Prometheus or promtool, from the machine or the lab; undefined without one. */
export async function findPrometheus(program: PrometheusProgram): Promise<string | undefined> {
  return findProgram([program], withFolder(await prometheusFolder()));
}

/** The path of a Chromium, from the machine or the lab; undefined without one. */
export async function findBrowser(): Promise<string | undefined> {
  return findProgram(browsers, withFolder(await browserFolder()));
}

/** A PATH with buildah, runc, containerd and ctr, from the machine or the cluster; undefined if one is missing. */
export async function findContainers(): Promise<string | undefined> {
  const path = withFolder(await containerdFolder());
  const missing = ['buildah', 'runc', 'containerd', 'ctr'].some((name) => findProgram([name], path) === undefined);
  return missing ? undefined : path;
}

const withFolder = (folder: string) => [process.env.PATH ?? '', folder].join(delimiter);

/**
 * Installs what is missing. Throws if a required program cannot be installed, and reports which tests will be skipped.
 */
export async function prepareMachine(name: string, log: Log): Promise<void> {
  const needed = needs[name];
  if (needed === undefined) throw new Error(`unknown need: ${name} (known: ${Object.keys(needs).join(', ')})`);
  const { programs, optional } = needed;
  const debian = createInstaller(log);
  const isAbsent = ({ program }: SystemProgram) => findProgram([program], withFolder(pluginFolder)) === undefined;
  const absent = programs.filter(isAbsent);
  for (const { debianPackage } of absent) debian.install(debianPackage);
  const still = absent.filter(isAbsent);
  if (still.length > 0) {
    const names = still.map(({ program }) => program).join(', ');
    const packages = still.map(({ debianPackage }) => debianPackage).join(' ');
    throw new Error(`cannot install ${names} here (${debian.why()}): install the packages ${packages}`);
  }
  for (const tool of optional) await getOptional(tool, debian, log);
}

async function getOptional(tool: Optional, debian: Installer, log: Log): Promise<void> {
  if (await tool.find()) return;
  if (tool.debianPackage !== undefined) {
    debian.install(tool.debianPackage);
    if (await tool.find()) return;
  }
  try {
    await tool.get(log);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    log(`SKIPPED: ${tool.forWhat}, because ${tool.name} is missing.`);
    if (tool.debianPackage !== undefined) log(`  Debian's package ${tool.debianPackage}: ${debian.why()}`);
    log(`  ${tool.debianPackage === undefined ? 'To run them' : 'Without it'}: ${why.trim()}`);
  }
}

interface Installer {
  install(debianPackage: string): void;
  /** Why the last package was not installed. */
  why(): string;
}

/** Installs Debian packages if possible: as root, with apt-get. */
function createInstaller(log: Log): Installer {
  const possible = process.getuid?.() === 0 && findProgram(['apt-get']) !== undefined;
  let failure = possible ? '' : 'installing packages needs root and apt-get';
  let updated = false;
  const apt = (args: readonly string[]): boolean => {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    const { status, stderr, error } = spawnSync('apt-get', args, { env, encoding: 'utf8' });
    if (status === 0) return true;
    failure = error?.message ?? (stderr.trim().split('\n').at(-1) || `apt-get ended with ${status}`);
    return false;
  };
  return {
    install(debianPackage) {
      if (!possible) return;
      log(`installing Debian's package ${debianPackage}`);
      if (!updated) apt(['update', '-qq']);
      updated = true;
      apt(['install', '-y', '-qq', '--no-install-recommends', debianPackage]);
    },
    why: () => failure,
  };
}

async function main(names: readonly string[]): Promise<void> {
  const log = (message: string) => void process.stderr.write(`${message}\n`);
  for (const name of names) await prepareMachine(name, log);
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  await main(process.argv.slice(2)).catch((error: Error) => {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  });
