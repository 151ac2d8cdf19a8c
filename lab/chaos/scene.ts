import { readFileSync } from 'node:fs';
import type { MixedPlane } from '../plane/mixed-plane.ts';
import { waitUntil } from '../wait-until.ts';

/** What faults act on. */
export interface Scene {
  readonly mixed: MixedPlane;
  /** A folder for what faults need. */
  readonly folder: string;
  /** The objects of the first routing table, which lists less than servers serve now. */
  readonly firstTable: string;
  /** Path of the library that changes a program's date; undefined where there is none. */
  readonly dateLibrary: string | undefined;
  /** Says whether a server or a proxy is fit for work from now on. */
  mark(name: string, fit: boolean): void;
  /** kubectl with all rights at the first server that is fit. */
  kubectl(args: readonly string[], input?: string): Promise<{ code: number; stdout: string; stderr: string }>;
  /** Starts a program of ours again, by its name, with a command before it and more flags if they are given. */
  start(name: Program, by?: readonly string[], flags?: readonly string[]): Promise<void>;
  /** Sends a program of ours a signal; resolves when it has ended if the signal ends it. */
  signal(name: Program, signal: NodeJS.Signals): Promise<void>;
  /** Process of a program of ours or of a server; undefined if it does not run. */
  pidOf(name: string): number | undefined;
  /** The operator that leads, by its log. */
  leader(): Program;
}

/** Our programs in the laboratory. */
export const programs = ['operator-1', 'operator-2', 'proxy-1', 'proxy-2'] as const;
/** One of them. */
export type Program = (typeof programs)[number];

/** Group of each program's process, by which packets are told apart. */
export const groupIds: Readonly<Record<Program, number>> = {
  'operator-1': 7001,
  'operator-2': 7002,
  'proxy-1': 7003,
  'proxy-2': 7004,
};

/** One thing that breaks, and how it is mended. */
export interface Fault {
  readonly name: string;
  /** What it touches: two faults at once share nothing. */
  readonly touches: readonly string[];
  readonly holdMs: number;
  strike(scene: Scene): Promise<void>;
  heal(scene: Scene): Promise<void>;
}

/** Every server. */
export const servers = ['old-1', 'new-1', 'new-2'] as const;
/** What a fault touches that touches every server. */
export const everyServer = servers.map((name) => `server ${name}`);

/** For a fault that ends by itself. */
export const nothingToMend = async () => {};

/** Resolves after this time. */
export const pause = (ms: number) => new Promise<void>((resolve) => void setTimeout(resolve, ms));

/** kubectl until it succeeds; gives what it says. */
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

/** Resolves when a server says that it is ready, and marks it as fit. */
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

/** What matches every packet of these programs to a server. */
export function packetsTo(scene: Scene, name: string, from: readonly Program[] = programs): string {
  return `ip daddr ${addressOf(scene, name)} meta skgid { ${from.map((program) => groupIds[program]).join(', ')} }`;
}

/** Drops or rejects packets by rules of nftables until `endDrops`. */
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

/** Sets a limit of a process that runs, as prlimit(1) writes it; of one that has just ended it does nothing. */
export async function limitProcess(scene: Scene, name: string, limit: string): Promise<void> {
  const pid = scene.pidOf(name);
  if (pid === undefined) return;
  // Only a process of the same group may do that where root has not all its rights, as in many containers.
  const group = groupIds[name as Program] ?? 0;
  const asGroup = [`--regid=${group}`, '--clear-groups', '--', 'prlimit', '--pid', `${pid}`, limit];
  const { code, stderr } = await scene.mixed.plane.exec('setpriv', asGroup);
  if (code !== 0 && scene.pidOf(name) !== undefined) throw new Error(`prlimit: ${stderr}`);
}

/** How many bytes of memory a process has for itself, as RLIMIT_DATA counts them. */
export function dataBytes(pid: number): number {
  const [, kilobytes = '0'] = /^VmData:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kilobytes) * 1024;
}

/** Faults of one kind differ only in which server or proxy they hit. */
export function kindOf({ name }: Fault): string {
  return name.replaceAll(/\b(?:old|new)-\d/g, 'a server').replaceAll(/\bproxy-\d/g, 'a proxy');
}
