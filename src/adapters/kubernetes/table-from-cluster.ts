import type { RoutingTable } from '../../domain/routing-table.ts';
import type { RoutingTableSource } from '../../proxy/ports.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { AddressPolicy } from '../peers/address-policy.ts';
import type { ApiClient } from './api-client.ts';
import { createAsker, createBehindReporter } from './behind-report.ts';
import { watchBundle } from './config-map-bundle.ts';
import type { ServerAddress } from './known-servers-file.ts';
import type { KnownServers } from './remember-servers.ts';
import { reportSilence } from './silence-report.ts';
import { watchConfirmations } from './table-lease.ts';

/** Where the table comes from, and how its owner is told that it is behind. */
export interface TableAccess {
  readonly source: RoutingTableSource;
  readonly reportBehind: (address: string) => void;
}

/** Which table to follow, and what to do with what it says. */
export interface ClusterTableOptions {
  readonly client: ApiClient;
  readonly location: { readonly namespace: string; readonly name: string };
  /** Which addresses of the table this proxy may go to. */
  readonly policy: AddressPolicy;
  /** The name that the certificates of kube-apiservers bear. */
  readonly serverName: string;
  /** Learns the servers of the table. */
  readonly servers: KnownServers;
  /** Whether to report an operator that has gone silent. */
  readonly reportsSilence: boolean;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

/** Follows the published table, and tells the proxy as soon as it is no longer confirmed. */
export function tableFromCluster(options: ClusterTableOptions): TableAccess {
  const { client, location, policy, serverName, servers, reportsSilence, clock, random, log } = options;
  const reportBehind = createBehindReporter(client, location, { clock, log });
  const source: RoutingTableSource = {
    start: async (onBundle, onTrouble, signal) => {
      let bundleTrouble: string | undefined;
      let revision = 0;
      let owner: string | undefined;
      const common = { client, ...location, clock, log, signal };
      const onHeard = reportsSilence ? reportSilence({ ...common, owner: () => owner }) : () => {};
      const doubt = watchConfirmations({
        ...common,
        onHeard,
        ask: createAsker(client, location, log),
        onAnswered: () => {
          if (revision > 0) onTrouble(bundleTrouble ?? doubt(revision));
        },
        random,
      });
      const reflector = watchBundle({
        client,
        ...location,
        onBundle: (bundle) => {
          servers.learn(location.name, serversOf(bundle.table, policy, serverName));
          ({ revision, owner } = bundle.table);
          onBundle(bundle);
          onTrouble(doubt(revision));
        },
        onTrouble: (reason, message) => {
          bundleTrouble = reason === undefined ? undefined : `${reason}: ${message}`;
          onTrouble(bundleTrouble ?? doubt(revision));
        },
        clock,
        log,
        signal,
        random,
      });
      // A confirmation that does not come calls nobody back. A watch that fails for a while is no doubt by itself: what
      // counts is whether the table is still confirmed, and the Lease that says so is watched by the same client.
      while (!signal.aborted) {
        await clock.sleep(1_000, signal);
        if (reflector.synced) onTrouble(bundleTrouble ?? doubt(revision));
      }
      await reflector.stopped;
    },
  };
  return { source, reportBehind };
}

/** Where kube-apiservers are by the table, as far as this proxy may go there. */
function serversOf({ peers }: RoutingTable, policy: AddressPolicy, serverName: string): readonly ServerAddress[] {
  return peers.flatMap(({ address, state }) =>
    address === undefined || state === 'Refused' || !policy.check(address).ok ? [] : [{ address, serverName }],
  );
}
