import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureControlPlane } from '../build/build-control-plane.ts';
import { lifelineVariable, onUnwanted } from '../on-unwanted.ts';
import { prepareMachine } from '../prepare-machine.ts';
import { createNarrator } from './narrator.ts';

const patienceMs = 15_000;
const usage = `Tells the story of a wrong 404 on a mixed control plane, on this machine.

Usage: make demo [ARGS="--once --simulated"]

  --once        end after the story, with exit status 0 if it held
  --simulated   simulated kube-apiservers: neither Go nor kubectl nor root is needed
  --help        print this
`;

const args = process.argv.slice(2);
const narrator = createNarrator();
const pathOf = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/**
 * Finds or builds a real control plane while this process still has the machine's network; undefined if there is none.
 */
async function findControlPlane(): Promise<string | undefined> {
  if (args.includes('--simulated')) return undefined;
  try {
    await prepareMachine('demo', narrator.progress);
    return (await ensureControlPlane({ versions: ['1.36', '1.35'], log: narrator.progress }))['1.36'];
  } catch (error) {
    narrator.say(`\nNo real control plane can be started here: ${error instanceof Error ? error.message : error}`);
    narrator.say('The demo uses a simulated one instead.');
    return undefined;
  }
}

/** Runs the demo. Its folder is removed when this process ends. Its lifeline closes then, too. */
function startDemo(assets: string | undefined, folder: string): ChildProcess {
  const demo = [process.execPath, pathOf('demo.ts'), ...args];
  // Only real servers need their own network.
  const [file = '', ...rest] =
    assets === undefined
      ? [...demo, ...(args.includes('--simulated') ? [] : ['--simulated'])]
      : [process.execPath, pathOf('../enter-netns.ts'), '--', ...demo];
  const env = { ...process.env, TMPDIR: folder, [lifelineVariable]: '1' };
  return spawn(file, rest, {
    stdio: ['inherit', 'inherit', 'inherit', 'pipe'],
    env: assets === undefined ? env : { ...env, KUBEBUILDER_ASSETS: assets },
  });
}

/** Resolves to the demo's exit status once every process that holds its end of the lifeline has ended. */
async function untilEnded(child: ChildProcess, lifeline: Socket): Promise<number> {
  const closed = once(lifeline.on('error', () => {}).resume(), 'close');
  const [status] = (await once(child, 'exit')) as [number | null];
  const impatient = setTimeout(() => lifeline.destroy(), patienceMs);
  lifeline.end();
  await closed;
  clearTimeout(impatient);
  return status ?? 1;
}

async function main(): Promise<number> {
  let end = (status: number): void => process.exit(status);
  onUnwanted((status) => end(status));
  // Node ignores SIGPIPE by default. A signal to `make` alone shows here as the end of `make`.
  process.on('SIGPIPE', () => end(141));
  narrator.heading('PeerDiscovery: a control plane of mixed versions that answers as one');
  narrator.say(
    '   Ten chapters on this machine, in a minute or two. The demo needs no cluster and leaves nothing behind.',
  );
  const assets = await findControlPlane();
  const folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-demo-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 }));
  const child = startDemo(assets, folder);
  const lifeline = child.stdio[3] as Socket;
  let asked: number | undefined;
  // Closing the lifeline tells the demo to stop everything it has started.
  end = (status) => {
    asked = status;
    lifeline.end();
  };
  const status = await untilEnded(child, lifeline);
  return status === 0 ? 0 : (asked ?? status);
}

if (args.includes('--help')) process.stdout.write(usage);
else process.exitCode = await main();
