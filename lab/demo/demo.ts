import { onUnwanted } from '../on-unwanted.ts';
import { startMixedPlane } from '../plane/mixed-plane.ts';
import { tellFieldLoss } from './demo-fields.ts';
import { tellNamespaceDeletion } from './demo-namespace.ts';
import { createSimulatedNarrator, tellSimulatedStory } from './demo-simulated.ts';
import { type StoryPlane, tellStory } from './demo-story.ts';
import { createNarrator, type Narrator } from './narrator.ts';
import { startSimulatedPlane } from './simulated-plane.ts';

const once = process.argv.includes('--once');
const simulated = process.argv.includes('--simulated');

/** A control plane with its story. */
interface Show {
  readonly mixed: StoryPlane & { stop(): Promise<void> };
  readonly tell: () => Promise<void>;
  /** A command prefix that reaches it from another terminal. */
  readonly enter: string;
}

async function startReal(narrator: Narrator): Promise<Show> {
  narrator.chapter('0. A real control plane on this machine');
  narrator.say('   etcd and three kube-apiservers start now, which takes 10 to 30 seconds. The story takes 50 more.\n');
  // The last chapters need alpha APIs.
  const young = {
    version: '1.36' as const,
    runtimeConfig: 'scheduling.k8s.io/v1alpha2=true',
    flags: ['--feature-gates=GenericWorkload=true'],
  };
  const mixed = await startMixedPlane({
    servers: [
      { name: 'old-1', version: '1.36', emulatedVersion: '1.33' },
      { name: 'new-1', ...young },
      { name: 'new-2', ...young },
    ],
    home: 'old-1',
    log: narrator.progress,
  });
  const tell = async () => {
    await tellStory(mixed, narrator, () => tellNamespaceDeletion(mixed, narrator));
    await tellFieldLoss(mixed, narrator);
  };
  return { mixed, tell, enter: `nsenter --target ${process.env.LAB_NAMESPACE_PID ?? process.pid} --net ` };
}

async function startSimulated(narrator: Narrator): Promise<Show> {
  narrator.chapter('0. A control plane on this machine');
  narrator.say(
    '   The kube-apiservers of this demo are SIMULATED, in one process; the operator and the proxy are real.',
  );
  const mixed = await startSimulatedPlane();
  return { mixed, tell: () => tellSimulatedStory(mixed, narrator), enter: '' };
}

async function main(): Promise<number> {
  // For signals in the middle of the story: the lab's `exit` handlers end every process and remove every file.
  let end = (status: number): void => process.exit(status);
  onUnwanted((status) => end(status));
  const narrator = simulated ? createSimulatedNarrator() : createNarrator();
  const { say, broken } = narrator;
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
      await new Promise<void>((resolve) => {
        // An open timer keeps the process alive until a signal arrives.
        const alive = setInterval(() => {}, 60_000);
        end = () => {
          clearInterval(alive);
          resolve();
        };
      });
      end = () => {};
      say('\nstopping …');
    }
    return broken.length === 0 ? 0 : 1;
  } catch (error) {
    process.stderr.write(`${mixed.plane.logTails(5)}\n`);
    throw error;
  } finally {
    await mixed.stop();
  }
}

process.exitCode = await main();
