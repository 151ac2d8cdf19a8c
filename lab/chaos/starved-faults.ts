import { readdirSync } from 'node:fs';
import { dataBytes, type Fault, limitProcess, type Program, ready, type Scene, servers } from './scene.ts';

/** Starts what has ended, and ends before it what goes on with a limit. */
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

/** A process gets no more memory than it has: the next piece that it asks for ends it, sooner or later. */
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

/** A process that runs can open no more descriptors than it has open. */
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

/** Memory and descriptors are short. */
export const starvedFaults: readonly Fault[] = victims.flatMap((victim) => [
  withoutMemory(...victim),
  withoutDescriptors(...victim),
]);
