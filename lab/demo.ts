import { ensureControlPlane } from './build-control-plane.ts';
import { tellNamespaceDeletion } from './demo-namespace.ts';
import { createSimulatedNarrator, tellSimulatedStory } from './demo-simulated.ts';
import { type StoryPlane, tellStory } from './demo-story.ts';
import { type MixedPlane, startMixedPlane } from './mixed-plane.ts';
import { createNarrator, type Narrator } from './narrator.ts';
import { startSimulatedPlane } from './simulated-plane.ts';

const once = process.argv.includes('--once');
const simulated = process.argv.includes('--simulated');

/** A control plane with its story. */
interface Show {
  readonly mixed: StoryPlane & { stop(): Promise<void> };
  readonly tell: () => Promise<void>;
  /** How to reach it from another terminal. */
  readonly enter: string;
}

async function startReal(narrator: Narrator): Promise<Show> {
  narrator.chapter('0. A real control plane on this machine');
  const mixed = await startRealPlane(narrator);
  const tell = () => tellStory(mixed, narrator, () => tellNamespaceDeletion(mixed, narrator));
  return { mixed, tell, enter: `nsenter --target ${process.env.LAB_NAMESPACE_PID ?? process.pid} --net ` };
}

async function startSimulated(narrator: Narrator): Promise<Show> {
  narrator.chapter('0. A control plane on this machine');
  const mixed = await startSimulatedPlane();
  return { mixed, tell: () => tellSimulatedStory(mixed, narrator), enter: '' };
}

/** A real control plane: built from Go modules, or found in `KUBEBUILDER_ASSETS`. */
async function startRealPlane({ progress }: Narrator): Promise<MixedPlane> {
  await ensureControlPlane({ versions: ['1.36'], log: progress });
  return startMixedPlane({
    servers: [
      { name: 'old-1', version: '1.36', emulatedVersion: '1.33' },
      { name: 'new-1', version: '1.36' },
      { name: 'new-2', version: '1.36' },
    ],
    home: 'old-1',
    log: progress,
  });
}

const endings = ['SIGINT', 'SIGTERM'] as const;

/** A signal in the middle of the story; what the lab does at `exit` ends every process and removes every file. */
const interrupt = () => process.exit(130);

/** Resolves at Ctrl-C or SIGTERM. */
function untilTold(): Promise<void> {
  return new Promise((resolve) => {
    for (const name of endings) process.off(name, interrupt);
    // An open timer keeps the process alive until a signal comes.
    const alive = setInterval(() => {}, 60_000);
    for (const name of endings)
      process.once(name, () => {
        clearInterval(alive);
        resolve();
      });
  });
}

async function main(): Promise<number> {
  for (const name of endings) process.on(name, interrupt);
  const narrator = simulated ? createSimulatedNarrator() : createNarrator();
  const { say, chapter, broken } = narrator;
  chapter('PeerDiscovery: a control plane of mixed versions that answers as one');
  const { mixed, tell, enter } = simulated ? await startSimulated(narrator) : await startReal(narrator);
  try {
    await tell();
    if (broken.length > 0) say(`\nThe story did not hold:\n${broken.map((claim) => `  - ${claim}\n`).join('')}`);
    else say(`\nThe story held${simulated ? ' (simulated)' : ''}.`);
    if (!once) {
      say(`\nThe proxy:   ${mixed.proxyUrl}`);
      say(`kubeconfig:  ${mixed.proxyKubeconfig}`);
      say(enter === '' ? 'From another terminal:' : `From another terminal, in the demo's network:`);
      say(`  ${enter}kubectl --kubeconfig ${mixed.proxyKubeconfig} get peerdiscovery`);
      say('Ctrl-C stops everything and leaves nothing behind.');
      await untilTold();
      say('\nstopping …');
    }
    return broken.length === 0 ? 0 : 1;
  } catch (error) {
    say(mixed.plane.logTails(20));
    throw error;
  } finally {
    await mixed.stop();
  }
}

process.exitCode = await main();
