import { waitUntil } from '../wait-until.ts';
import type { Outcome } from './control-plane.ts';

/**
 * Waits until the API server serves the resources of all CustomResourceDefinitions. `kubectl wait` alone fails at once
 * if the server has not yet set the conditions of a new one.
 */
export async function waitForDefinitions(kubectl: (args: readonly string[]) => Promise<Outcome>): Promise<void> {
  let last: Outcome | undefined;
  await waitUntil(
    'the CustomResourceDefinitions to be established',
    async () => {
      last = await kubectl(['wait', '--for=condition=Established', '--timeout=60s', 'crd', '--all']);
      return last.code === 0;
    },
    { seen: () => last?.stderr ?? '' },
  );
}
