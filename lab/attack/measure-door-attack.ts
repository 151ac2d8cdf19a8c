import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { memoryBytes } from '../bench/process.ts';
import { underAttack } from './attacker.ts';
import type { AttackScene } from './measure-attack.ts';
import type { Victim } from './open-connections.ts';
import { answerBoundMs, type Served, serveUsers, summarize } from './serve-users.ts';

/** A client that must get its answers. It asks over a new connection each time. */
export interface Visitor {
  readonly name: string;
  readonly door: Victim;
  readonly path: string;
  readonly token?: string;
}

/** The dependencies of a measurement. */
export interface DoorScene extends AttackScene {
  readonly visitors: readonly Visitor[];
  /** Of the operator and the proxy. */
  readonly pids: readonly number[];
}

/** The effects of one attack on all these ports. */
export interface DoorOutcome {
  readonly attack: string;
  /** The answers to kubelets, Prometheus and readers of the status page together. */
  readonly visits: Served;
  /** One line for each visit that failed. */
  readonly failures: readonly string[];
  /** The answers to users of the proxy at the same time. */
  readonly users: Served;
  /** The peak memory of the larger program. */
  readonly peakBytes: number;
  readonly isAlive: boolean;
}

/** Attacks all ports at once, while visitors ask there and users ask the proxy. */
export async function measureDoorAttack(scene: DoorScene, attack: string): Promise<DoorOutcome> {
  const doors = new Map(scene.visitors.map(({ door }) => [`${door.host}:${door.port}`, door]));
  const failures: string[] = [];
  const { result, isAlive } = await underAttack([...doors.values()], attack, async () => {
    const [visits, users] = await Promise.all([visit(scene, failures), serveUsers(scene, scene.seconds)]);
    return { visits, users, peakBytes: Math.max(...scene.pids.map((pid) => memoryBytes(pid, 'VmHWM'))) };
  });
  return { attack, ...result, failures, isAlive };
}

async function visit({ visitors, seconds, now }: DoorScene, failures: string[]): Promise<Served> {
  const until = now() + seconds * 1_000;
  const took: number[] = [];
  const go = async (visitor: Visitor) => {
    while (now() < until) {
      const began = now();
      const outcome = await ask(visitor);
      took.push(now() - began);
      if (outcome !== 'ok') failures.push(`${visitor.name}: ${outcome}`);
      await sleep(100);
    }
  };
  await Promise.all(visitors.map(go));
  return summarize(took, failures.length, seconds);
}

/** Resolves to `ok`, or to the status or error that came instead of 200. */
function ask({ door: { host, port, isSecure }, path, token }: Visitor): Promise<string> {
  const headers = { connection: 'close', ...(token !== undefined && { authorization: `Bearer ${token}` }) };
  return new Promise((resolve) => {
    const send = isSecure ? httpsRequest : httpRequest;
    const request = send({ host, port, path, headers, agent: false, rejectUnauthorized: false }, (response) => {
      response.resume();
      response.once('end', () => resolve(response.statusCode === 200 ? 'ok' : `${response.statusCode}`));
    });
    const bound = setTimeout(() => request.destroy(new Error('no answer')), answerBoundMs);
    request.once('error', ({ message }) => resolve(message));
    request.once('close', () => {
      clearTimeout(bound);
      resolve('closed');
    });
    request.end();
  });
}
