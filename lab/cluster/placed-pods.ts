import { type ConfinedPod, containersOf, processesOf } from './confinement.ts';
import type { Machine } from './machine.ts';

/** A Pod with the machine on which it runs. */
export interface Placed {
  readonly pod: ConfinedPod & { readonly metadata: { readonly labels?: Readonly<Record<string, string>> } };
  readonly machine: Machine;
}

/** All Pods of these namespaces with their machines. */
export async function placedPods(
  machines: readonly Machine[],
  from: readonly string[],
  selector = '',
): Promise<readonly Placed[]> {
  const [first] = machines;
  const placed: Placed[] = [];
  for (const namespace of from) {
    const list = await first?.must(['kubectl', 'get', 'pods', '-n', namespace, '-l', selector, '-o', 'json']);
    const { items } = JSON.parse(list ?? '') as { readonly items: readonly Placed['pod'][] };
    for (const pod of items) {
      const machine = machines.find(({ name }) => name === pod.spec.nodeName);
      if (machine !== undefined) placed.push({ pod, machine });
    }
  }
  return placed;
}

/** Resolves to the number of a process of the Pod's first container, as its machine sees it. */
export async function firstProcess(machine: Machine, pod: ConfinedPod): Promise<number> {
  const [container] = containersOf(pod);
  const [pid] = container === undefined ? [] : await processesOf(machine, container);
  if (pid === undefined) throw new Error(`${pod.metadata.name} has no process`);
  return pid;
}
