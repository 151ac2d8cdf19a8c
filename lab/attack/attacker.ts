import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { findAttack } from './find-attack.ts';
import type { Victim } from './open-connections.ts';

const program = fileURLToPath(new URL('run-attack.ts', import.meta.url));

/** The time in which an attack begins, and in which its effects pass. */
export const settleMs = 1_000;

/** The port of a proxy, whose certificate the attacker verifies, as clients do. */
export function proxyVictim(url: string, caFile: string): Victim {
  const { hostname: host, port } = new URL(url);
  return { host, port: Number(port), isSecure: true, ca: readFileSync(caFile, 'utf8') };
}

/**
 * Starts a process that attacks all victims at once until it is killed.
 * @throws Error if no attack has this name.
 */
export function startAttacker(victims: readonly Victim[], attack: string): ChildProcess {
  findAttack(attack);
  return fork(program, [attack, ...victims.map((victim) => JSON.stringify(victim))], { stdio: 'ignore' });
}

/** The result of a measurement during an attack. */
export interface Attacked<Result> {
  readonly result: Result;
  /** False if the attacker ended by itself, so that the result proves nothing. */
  readonly isAlive: boolean;
}

/** Measures while the victims are under attack. The attacker has ended when it resolves. */
export async function underAttack<Result>(
  victims: readonly Victim[],
  attack: string,
  measure: () => Promise<Result>,
): Promise<Attacked<Result>> {
  const attacker = startAttacker(victims, attack);
  try {
    await sleep(settleMs);
    return { result: await measure(), isAlive: attacker.exitCode === null };
  } finally {
    attacker.kill('SIGKILL');
    if (attacker.exitCode === null && attacker.signalCode === null) await once(attacker, 'exit');
  }
}
