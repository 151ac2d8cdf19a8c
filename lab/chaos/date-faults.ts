import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Fault, type Program, pause, type Scene } from './scene.ts';

/*
 * These faults change only the clocks of our own programs: kube-apiservers are static programs, so no library can
 * change their clock, and time namespaces do not cover the real-time clock.
 */

const hourSeconds = 3_600;
const dateFile = (scene: Scene, name: Program) => join(scene.folder, `${name}.date`);

/** Shifts the real-time clock of a program; its monotonic clock continues. */
function setDate(scene: Scene, name: Program, offsetSeconds: number): void {
  writeFileSync(dateFile(scene, name), `${offsetSeconds < 0 ? '' : '+'}${offsetSeconds}\n`);
}

async function startWithDate(scene: Scene, name: Program, offsetSeconds: number): Promise<void> {
  if (scene.dateLibrary === undefined) throw new Error('libfaketime is missing: install the package faketime');
  setDate(scene, name, offsetSeconds);
  await end(scene, name, 'SIGTERM');
  const library = [`LD_PRELOAD=${scene.dateLibrary}`, `FAKETIME_TIMESTAMP_FILE=${dateFile(scene, name)}`];
  const manner = ['FAKETIME_CACHE_DURATION=1', 'FAKETIME_DONT_FAKE_MONOTONIC=1'];
  await scene.start(name, ['env', ...library, ...manner]);
}

async function end(scene: Scene, name: Program, signal: NodeJS.Signals): Promise<void> {
  if (name.startsWith('proxy')) scene.mark(name, false);
  await scene.signal(name, signal);
}

async function startPlain(scene: Scene, names: readonly Program[]): Promise<void> {
  for (const name of names) {
    await end(scene, name, 'SIGKILL');
    await scene.start(name);
  }
}

/** Restarts the programs with the right clock, then sets it an hour ahead and back again. */
function forthAndBack(who: string, names: readonly Program[], touches: readonly string[]): Fault {
  return {
    name: `the clock of ${who} is set an hour ahead and back`,
    touches,
    holdMs: 8_000,
    async strike(scene) {
      for (const name of names) await startWithDate(scene, name, 0);
      await pause(6_000);
      for (const name of names) setDate(scene, name, hourSeconds);
      await pause(10_000);
      for (const name of names) setDate(scene, name, 0);
    },
    heal: (scene) => startPlain(scene, names),
  };
}

const operators = ['operator-1', 'operator-2'] as const;

/** Faults in which a clock is wrong. */
export const dateFaults: readonly Fault[] = [
  forthAndBack('the operators', operators, ['operators']),
  forthAndBack('proxy-1', ['proxy-1'], ['proxy-1']),
  {
    name: 'the clocks of the operators differ by an hour',
    touches: ['operators'],
    holdMs: 15_000,
    async strike(scene) {
      await startWithDate(scene, 'operator-1', hourSeconds);
      await scene.signal('operator-2', 'SIGKILL');
      await pause(10_000);
      // The election Lease now has a time in the future.
      await scene.start('operator-2');
      await scene.signal('operator-1', 'SIGKILL');
    },
    heal: (scene) => startPlain(scene, ['operator-1']),
  },
  {
    name: 'the clock of proxy-2 is a day before any certificate is valid',
    touches: ['proxy-2'],
    holdMs: 10_000,
    async strike(scene) {
      await startWithDate(scene, 'proxy-2', -24 * hourSeconds);
      // The proxy can trust no server, so it is not fit; its answers must be right all the same.
      scene.mark('proxy-2', false);
    },
    heal: (scene) => startPlain(scene, ['proxy-2']),
  },
];
