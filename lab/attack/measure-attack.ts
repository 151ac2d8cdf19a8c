import { readdirSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { memoryBytes } from '../bench/process.ts';
import { proxyVictim, settleMs, underAttack } from './attacker.ts';
import { type Served, serveUsers, type UsersScene } from './serve-users.ts';

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
export interface AttackScene extends UsersScene {
  readonly proxyPid: number;
  readonly seconds: number;
}

/** Measures known users first without an attack, then during it. */
export async function measureAttack(scene: AttackScene, attack: string): Promise<AttackOutcome> {
  const { url, caFile, proxyPid, seconds } = scene;
  const quiet = await serveUsers(scene, seconds);
  // Resets the kernel's peak of the process. Source: proc(5), clear_refs.
  writeFileSync(`/proc/${proxyPid}/clear_refs`, '5');
  const serve = () => serveUsers(scene, seconds);
  const { result: attacked, isAlive } = await underAttack([proxyVictim(url, caFile)], attack, serve);
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

/** The number of open descriptors of a process. */
export function openDescriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}
