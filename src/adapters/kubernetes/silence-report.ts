import { apiVersion, type Condition, kind, type PeerDiscovery } from '../../api/peer-discovery.ts';
import { rfc3339 } from '../../api/rfc3339.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { ApiClient } from './api-client.ts';
import type { BundleLocation } from './config-map-bundle.ts';
import { peerDiscoveriesPath } from './peer-discovery-status.ts';
import { confirmedAt } from './table-lease.ts';

/** A status is withdrawn if no operator has confirmed its table for this long. */
const silentAfterMs = 60_000;
const fieldManager = 'peerdiscovery-proxy';
const lookEveryMs = 5_000;

/** The options of the report. */
export interface SilenceReportOptions extends BundleLocation {
  readonly client: ApiClient;
  /** Name of the PeerDiscovery that owns the table; undefined before a table was read. */
  readonly owner: () => string | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/**
 * Withdraws the status of the table's PeerDiscovery if no operator has confirmed the table for a minute, as the node
 * controller does for a silent kubelet.
 *
 * The status has no heartbeat, so otherwise it would for ever show what the last operator saw. An operator that
 * confirms the table is alive. So the proxy withdraws the status only if the Lease was not renewed for a minute, and a
 * read that bypasses the watch agrees. The text depends only on the last confirmation, so all proxies write the same,
 * and only the first write changes anything. An operator that comes back writes the whole status again. Call the result
 * at each confirmation.
 */
export function reportSilence(options: SilenceReportOptions): (renewTime: string) => void {
  const { client, clock, log, signal, owner } = options;
  let heard: { readonly renewTime: string; readonly at: number } | undefined;
  let reported: string | undefined;

  async function report(renewTime: string, name: string): Promise<void> {
    const now = await confirmedAt(client, { ...options, signal });
    if (now !== renewTime) {
      // Only the watch is late, not the operator.
      if (now !== undefined) heard = { renewTime: now, at: clock.now() };
      return;
    }
    const object = await client.get<PeerDiscovery>(`${peerDiscoveriesPath}/${name}`, { signal });
    const status = object && withdraw(object.status, renewTime);
    if (status === undefined) {
      reported = renewTime;
      return;
    }
    log.warn('no operator has confirmed the routing table for a minute; marking its status as unknown', {
      name,
      renewTime,
    });
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
        log.debug('cannot mark the status as unknown; trying again', { error });
      }
    }
  }
  void run();
  return (renewTime) => {
    heard = { renewTime, at: clock.now() };
  };
}

/** The withdrawn parts of a status; undefined if it does not claim that all is well. */
function withdraw(status: PeerDiscovery['status'], renewTime: string): object | undefined {
  const before = status?.conditions ?? [];
  if (before.find(({ type }) => type === 'Ready')?.status !== 'True') return undefined;
  const since = Date.parse(renewTime);
  const withdrawn = (type: string): Condition => ({
    type,
    status: 'Unknown',
    reason: 'OperatorSilent',
    message:
      `no operator has confirmed this status since ${rfc3339(since)}: check that one runs and ` +
      `reaches the API server`,
    lastTransitionTime: rfc3339(since + silentAfterMs),
  });
  return {
    conditions: before.flatMap(({ type }) => (type === 'Ready' || type === 'Converged' ? [withdrawn(type)] : [])),
    converged: 'Unknown',
    ...(status?.peerCounts !== undefined && { peerCounts: { ready: 0, stale: status.peerCounts.total } }),
  };
}
