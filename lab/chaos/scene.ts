import { readFileSync } from 'node:fs';
import type { MixedPlane } from '../plane/mixed-plane.ts';
import { waitUntil } from '../wait-until.ts';

/** The environment that faults act on. */
export interface Scene {
  readonly mixed: MixedPlane;
  /** A folder for files of the faults. */
  readonly folder: string;
  /** The objects of the first routing table. It lists less than the servers serve now. */
  readonly firstTable: string;
  /** The path of the library that changes a program's clock; undefined if it is missing. */
  readonly dateLibrary: string | undefined;
  /** Marks a server or a proxy as fit or unfit from now on. */
  mark(name: string, fit: boolean): void;
  /** Runs kubectl with all rights at the first fit server. */
  kubectl(args: readonly string[], input?: string): Promise<{ code: number; stdout: string; stderr: string }>;
  /** Restarts one of our programs by its name. A command may run it, and it may get more flags. */
  start(name: Program, by?: readonly string[], flags?: readonly string[]): Promise<void>;
  /** Sends a signal to one of our programs. Resolves when the program has ended, if the signal ends it. */
  signal(name: Program, signal: NodeJS.Signals): Promise<void>;
  /** The process id of one of our programs or a server; undefined if it does not run. */
  pidOf(name: string): number | undefined;
  /** The leading operator, according to its log. */
  leader(): Program;
}

/** Our programs in the lab. */
export const programs = ['operator-1', 'operator-2', 'proxy-1', 'proxy-2'] as const;
/** The name of one of our programs. */
export type Program = (typeof programs)[number];

/** The group id of each program's process. Packet filters tell programs apart by it. */
export const groupIds: Readonly<Record<Program, number>> = {
  'operator-1': 7001,
  'operator-2': 7002,
  'proxy-1': 7003,
  'proxy-2': 7004,
};

/** One fault, and how it heals. */
export interface Fault {
  readonly name: string;
  /** Parts of the scene that the fault touches. Two simultaneous faults must not share any. */
  readonly touches: readonly string[];
  readonly holdMs: number;
  strike(scene: Scene): Promise<void>;
  heal(scene: Scene): Promise<void>;
}

/** Every server. */
export const servers = ['old-1', 'new-1', 'new-2'] as const;
/** The parts that a fault touches if it touches every server. */
export const everyServer = servers.map((name) => `server ${name}`);

/** The heal of a fault that ends by itself. */
export const nothingToMend = async () => {};

/** Resolves after this time. */
export const pause = (ms: number) => new Promise<void>((resolve) => void setTimeout(resolve, ms));

/** Runs kubectl until it succeeds. Returns its output. */
export async function must(scene: Scene, args: readonly string[], input?: string): Promise<string> {
  let said = '';
  return waitUntil(
    `kubectl ${args.join(' ')}`,
    async () => {
      const { code, stdout, stderr } = await scene.kubectl(args, input);
      said = stderr;
      return code === 0 ? stdout || ' ' : undefined;
    },
    { everyMs: 500, seen: () => said },
  );
}

/** Resolves when a server reports that it is ready, and marks it as fit. */
export async function ready(scene: Scene, name: string): Promise<void> {
  const { plane } = scene.mixed;
  const { url } = plane.server(name);
  const ca = ['-s', '--max-time', '3', '--cacert', plane.caFile];
  const probe = [...ca, '-H', `Authorization: Bearer ${plane.tokens.admin}`];
  await waitUntil(
    `${name} to be ready`,
    async () => (await plane.exec('curl', [...probe, `${url}/readyz`])).stdout === 'ok',
  );
  scene.mark(name, true);
}

/** The IP address of a server. */
export function addressOf(scene: Scene, name: string): string {
  const { address } = scene.mixed.plane.server(name);
  return address.slice(0, address.lastIndexOf(':'));
}

/** An nftables expression that matches every packet of these programs to a server. */
export function packetsTo(scene: Scene, name: string, from: readonly Program[] = programs): string {
  return `ip daddr ${addressOf(scene, name)} meta skgid { ${from.map((program) => groupIds[program]).join(', ')} }`;
}

/** Drops or rejects packets by nftables rules until `endDrops`. */
export async function dropPackets(scene: Scene, rules: readonly string[]): Promise<void> {
  const chain = ['type filter hook output priority 0', ...rules].join('\n');
  const { code, stderr } = await scene.mixed.plane.exec('nft', ['-f', '-'], {
    input: `table inet chaos {\nchain output {\n${chain}\n}\n}\n`,
  });
  if (code !== 0) throw new Error(`nft: ${stderr}`);
}

/** Lets all packets through again. */
export async function endDrops(scene: Scene): Promise<void> {
  await scene.mixed.plane.exec('nft', ['delete', 'table', 'inet', 'chaos']);
}

/** Sets a limit of a running process, in the syntax of prlimit(1). Does nothing if the process has just ended. */
export async function limitProcess(scene: Scene, name: string, limit: string): Promise<void> {
  const pid = scene.pidOf(name);
  if (pid === undefined) return;
  // Only a process of the same group may set it if root lacks some rights, as in many containers.
  const group = groupIds[name as Program] ?? 0;
  const asGroup = [`--regid=${group}`, '--clear-groups', '--', 'prlimit', '--pid', `${pid}`, limit];
  const { code, stderr } = await scene.mixed.plane.exec('setpriv', asGroup);
  if (code !== 0 && scene.pidOf(name) !== undefined) throw new Error(`prlimit: ${stderr}`);
}

/** The private memory of a process in bytes, as RLIMIT_DATA counts it. */
export function dataBytes(pid: number): number {
  const [, kilobytes = '0'] = /^VmData:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kilobytes) * 1024;
}

/** The kind of a fault: its name without the name of the server or proxy that it hits. */
export function kindOf({ name }: Fault): string {
  return name.replaceAll(/\b(?:old|new)-\d/g, 'a server').replaceAll(/\bproxy-\d/g, 'a proxy');
}
