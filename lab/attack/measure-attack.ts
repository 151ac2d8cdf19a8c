import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { memoryBytes } from '../bench/process.ts';
import { createHttp1Client, createHttp2Client } from '../chaos/client.ts';
import { attacks } from './attacks.ts';

/** The requests of other users, and how the proxy answered them. */
export interface Served {
  readonly requests: number;
  /** Requests without an answer, or with a status other than 200. */
  readonly failed: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** The effects of one attack. */
export interface AttackOutcome {
  readonly attack: string;
  readonly quiet: Served;
  readonly attacked: Served;
  /** Peak memory of the proxy since the attack began. */
  readonly peakBytes: number;
  readonly residentAfterBytes: number;
  readonly descriptorsAfter: number;
  readonly isAlive: boolean;
}

/** The inputs of a measurement. */
export interface AttackScene {
  /** The URL of the proxy. */
  readonly url: string;
  readonly caFile: string;
  /** Tokens of two users that the servers know. */
  readonly tokens: readonly string[];
  /** The path that these users request. */
  readonly paths: readonly string[];
  readonly proxyPid: number;
  readonly seconds: number;
  readonly now: () => number;
}

const program = fileURLToPath(new URL('run-attack.ts', import.meta.url));
const boundMs = 20_000;
const settleMs = 1_000;

/** Measures known users first without an attack, then during it. */
export async function measureAttack(scene: AttackScene, attack: string): Promise<AttackOutcome> {
  const { url, caFile, proxyPid, seconds } = scene;
  const quiet = await serveUsers(scene, seconds);
  // Resets the kernel's peak of the process. Source: proc(5), clear_refs.
  writeFileSync(`/proc/${proxyPid}/clear_refs`, '5');
  const attacker = startAttacker(url, caFile, attack);
  await sleep(settleMs);
  const attacked = await serveUsers(scene, seconds);
  const isAlive = attacker.exitCode === null;
  attacker.kill('SIGKILL');
  if (attacker.exitCode === null && attacker.signalCode === null) await once(attacker, 'exit');
  const peakBytes = memoryBytes(proxyPid, 'VmHWM');
  await sleep(settleMs);
  const descriptorsAfter = openDescriptors(proxyPid);
  return {
    attack,
    quiet,
    attacked,
    peakBytes,
    residentAfterBytes: memoryBytes(proxyPid, 'VmRSS'),
    descriptorsAfter,
    isAlive,
  };
}

/**
 * Starts a process that attacks until it is killed.
 * @throws Error if no attack has this name.
 */
export function startAttacker(url: string, caFile: string, attack: string): ChildProcess {
  if (!Object.hasOwn(attacks, attack)) throw new Error(`unknown attack: ${attack}`);
  const { hostname, port } = new URL(url);
  return fork(program, [attack, hostname, port, caFile], { stdio: 'ignore' });
}

/** Two users, each over both protocols, send one request after another on kept connections, and some on new ones. */
export async function serveUsers(
  scene: Pick<AttackScene, 'url' | 'caFile' | 'tokens' | 'paths' | 'now'>,
  forSeconds: number,
): Promise<Served> {
  const { url, caFile, tokens, paths, now } = scene;
  const ca = readFileSync(caFile, 'utf8');
  const until = now() + forSeconds * 1_000;
  const took: number[] = [];
  let failed = 0;
  const ask = async (make: typeof createHttp1Client, token: string, renews: boolean) => {
    let client = make(url, ca);
    for (let at = 0; now() < until; at++) {
      const started = now();
      const { status } = await client.ask({ method: 'GET', path: paths[at % paths.length] ?? '', token }, boundMs);
      took.push(now() - started);
      if (status !== 200) failed++;
      await sleep(20);
      if (!renews || at % 5 !== 4) continue;
      client.close();
      client = make(url, ca);
    }
    client.close();
  };
  const clients = [createHttp1Client, createHttp2Client];
  await Promise.all(
    clients.flatMap((make) => tokens.flatMap((token) => [false, true].map((renews) => ask(make, token, renews)))),
  );
  took.sort((a, b) => a - b);
  const at = (share: number) => took[Math.floor(took.length * share)] ?? forSeconds * 1_000;
  return { requests: took.length, failed, p50Ms: at(0.5), p99Ms: at(0.99) };
}

/** The number of open descriptors of a process. */
export function openDescriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}
