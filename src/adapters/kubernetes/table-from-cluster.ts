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

/** Where the table comes from, and how to tell its owner that it is behind. */
export interface TableAccess {
  readonly source: RoutingTableSource;
  readonly reportBehind: (address: string) => void;
}

/** The options for following a table. */
export interface ClusterTableOptions {
  readonly client: ApiClient;
  readonly location: { readonly namespace: string; readonly name: string };
  /** The addresses of the table that this proxy may use. */
  readonly policy: AddressPolicy;
  /** The name in kube-apiservers' certificates. */
  readonly serverName: string;
  /** Receives the servers of the table. */
  readonly servers: KnownServers;
  /** Whether to report a silent operator. */
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
      // A missing confirmation triggers no callback, so this loop checks for it. A failing watch is no doubt by itself:
      // what counts is whether the table is still confirmed, and the same client watches the Lease that confirms it.
      while (!signal.aborted) {
        await clock.sleep(1_000, signal);
        if (reflector.synced) onTrouble(bundleTrouble ?? doubt(revision));
      }
      await reflector.stopped;
    },
  };
  return { source, reportBehind };
}

/** The addresses of kube-apiservers in the table, as far as this proxy may use them. */
function serversOf({ peers }: RoutingTable, policy: AddressPolicy, serverName: string): readonly ServerAddress[] {
  return peers.flatMap(({ address, state }) =>
    address === undefined || state === 'Refused' || !policy.check(address).ok ? [] : [{ address, serverName }],
  );
}
