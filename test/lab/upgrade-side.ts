import { tally } from '../../lab/cluster/client-figures.ts';
import { judge } from '../../lab/cluster/samples.ts';
import type { SideRecord } from '../../lab/cluster/upgrade-records.ts';

/** What one side saw of an upgrade without requests: `exec` failed this often, and each server has these watches. */
export function sideWith(failed: number, perServer: readonly number[]): SideRecord {
  const failure = { workload: 'exec', startedAt: 0, ending: 'failed' as const, message: 'no' };
  return {
    requests: judge({ samples: [], sights: [], writes: [], steps: [] }, true),
    clients: {
      tallies: tally(['exec'], Array<typeof failure>(failed).fill(failure), 0),
      informerDifferences: [],
      informerObjects: 1,
      leadersLost: 0,
      namespacesLeft: [],
      orphans: [],
      held: {
        watches: 3,
        requests: 3,
        failed: 0,
        failures: [],
        relisted: 0,
        missed: 0,
        perServer,
        perEndpoint: perServer.map(() => 1),
      },
    },
  };
}
