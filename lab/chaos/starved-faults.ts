import { readdirSync } from 'node:fs';
import { dataBytes, type Fault, limitProcess, type Program, ready, type Scene, servers } from './scene.ts';

/** Restarts a program without its limit. Kills it first if it still runs. */
async function startAnew(scene: Scene, name: string): Promise<void> {
  if ((servers as readonly string[]).includes(name)) {
    const server = scene.mixed.plane.server(name);
    await server.kill();
    await server.start();
    scene.mark(name, true);
    return;
  }
  await scene.signal(name as Program, 'SIGKILL');
  await scene.start(name as Program);
}

/** Lowers the memory limit of a running process below its use, so that one of its next allocations kills it. */
function withoutMemory(name: string, touches: readonly string[]): Fault {
  return {
    name: `${name} runs out of memory, dies and is restarted`,
    touches,
    holdMs: 8_000,
    async strike(scene) {
      scene.mark(name, false);
      const pid = scene.pidOf(name);
      if (pid !== undefined) await limitProcess(scene, name, `--data=${Math.floor(dataBytes(pid) * 0.9)}`);
    },
    heal: (scene) => startAnew(scene, name),
  };
}

/** Lowers the descriptor limit of a running process to the number that it has open. */
function withoutDescriptors(name: string, touches: readonly string[]): Fault {
  return {
    name: `${name} can open no more descriptors`,
    touches,
    holdMs: 12_000,
    async strike(scene) {
      scene.mark(name, false);
      const pid = scene.pidOf(name);
      if (pid !== undefined) await limitProcess(scene, name, `--nofile=${readdirSync(`/proc/${pid}/fd`).length}:`);
    },
    async heal(scene) {
      await limitProcess(scene, name, '--nofile=4096:');
      if ((servers as readonly string[]).includes(name)) await ready(scene, name);
      else scene.mark(name, true);
    },
  };
}

const victims: readonly (readonly [name: string, touches: readonly string[]])[] = [
  ['proxy-1', ['proxy-1']],
  ['operator-1', ['operators']],
  ['new-1', ['server new-1']],
];

/** Faults in which memory or descriptors run out. */
export const starvedFaults: readonly Fault[] = victims.flatMap((victim) => [
  withoutMemory(...victim),
  withoutDescriptors(...victim),
]);
