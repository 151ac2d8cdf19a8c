import { apiVersion, type Condition, kind, type PeerDiscovery } from '../../api/peer-discovery.ts';
import { rfc3339 } from '../../api/rfc3339.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { ApiClient } from './api-client.ts';
import type { BundleLocation } from './config-map-bundle.ts';
import { peerDiscoveriesPath } from './peer-discovery-status.ts';
import { confirmedAt } from './table-lease.ts';

/** How long nobody has to have confirmed a table before its status is taken back. */
const silentAfterMs = 60_000;
const fieldManager = 'peerdiscovery-proxy';
const lookEveryMs = 5_000;

/** What the report needs. */
export interface SilenceReportOptions extends BundleLocation {
  readonly client: ApiClient;
  /** Name of the PeerDiscovery whose table it is; undefined before a table was read. */
  readonly owner: () => string | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/**
 * Takes back, in the status of the table's PeerDiscovery, what no operator has stood behind for a minute: as the node
 * controller does for a kubelet that is silent.
 *
 * The status has no heartbeat, so it would say for ever what the last operator saw. Whoever confirms the table is
 * alive, so the report is made only if the Lease was not renewed for a minute, and a read past the watch says so too.
 * What it writes follows from the last confirmation alone, so that all proxies write the same and only the first
 * changes anything. An operator that comes back writes the whole status anew. The result is to be called at each
 * confirmation that is seen.
 */
export function reportSilence(options: SilenceReportOptions): (renewTime: string) => void {
  const { client, clock, log, signal, owner } = options;
  let heard: { readonly renewTime: string; readonly at: number } | undefined;
  let reported: string | undefined;

  async function report(renewTime: string, name: string): Promise<void> {
    const now = await confirmedAt(client, { ...options, signal });
    if (now !== renewTime) {
      // The watch is late; it is not the operator.
      if (now !== undefined) heard = { renewTime: now, at: clock.now() };
      return;
    }
    const object = await client.get<PeerDiscovery>(`${peerDiscoveriesPath}/${name}`, { signal });
    const status = object && withdraw(object.status, renewTime);
    if (status === undefined) {
      reported = renewTime;
      return;
    }
    log.warn('no operator has confirmed the routing table for a minute; its status is taken back', { name, renewTime });
    const patch = { apiVersion, kind, metadata: { name }, status };
    await client.apply(`${peerDiscoveriesPath}/${name}`, patch, {
      fieldManager,
      force: true,
      subresource: 'status',
      signal,
    });
    reported = renewTime;
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      await clock.sleep(lookEveryMs, signal);
      const name = owner();
      if (signal.aborted || heard === undefined || name === undefined) continue;
      if (heard.renewTime === reported || clock.now() - heard.at < silentAfterMs) continue;
      try {
        await report(heard.renewTime, name);
      } catch (error) {
        log.debug('the status could not be taken back; it is tried again', { error });
      }
    }
  }
  void run();
  return (renewTime) => {
    heard = { renewTime, at: clock.now() };
  };
}

/** What of a status is taken back; undefined if it does not say that all is well. */
function withdraw(status: PeerDiscovery['status'], renewTime: string): object | undefined {
  const before = status?.conditions ?? [];
  if (before.find(({ type }) => type === 'Ready')?.status !== 'True') return undefined;
  const since = Date.parse(renewTime);
  const withdrawn = (type: string): Condition => ({
    type,
    status: 'Unknown',
    reason: 'OperatorSilent',
    message: `no operator has stood behind this status since ${rfc3339(since)}: see that one runs and reaches the API server`,
    lastTransitionTime: rfc3339(since + silentAfterMs),
  });
  return {
    conditions: before.flatMap(({ type }) => (type === 'Ready' || type === 'Converged' ? [withdrawn(type)] : [])),
    converged: 'Unknown',
    ...(status?.peerCounts !== undefined && { peerCounts: { ready: 0, stale: status.peerCounts.total } }),
  };
}
