import type { Fault } from '../../http/client/dispatch.ts';
import type { Log } from '../../runtime/log.ts';
import type { PeerTarget, ProxyMetrics } from '../ports.ts';
import type { PeerHealth } from './peer-health.ts';

/** Observations of servers from the requests that they get. */
export interface ServerReports {
  /** False for a server that has not been seen ready since it failed: it may not have read its RBAC rules yet. */
  knowsItsUsers(target: PeerTarget): boolean;
  /** `isServers` is false if the server may be healthy because something else may have broken the connection. */
  noteFault(target: PeerTarget, fault: Fault, cause: { readonly isServers: boolean }): void;
  /** The server or a backend of it is shutting down: it refused a request before processing it. */
  noteShutdown(target: PeerTarget, answer: { readonly fromBackend: boolean }): void;
  /** A server does not know a resource that the table lists for it. */
  noteTableBehind(target: PeerTarget, path: string): void;
  /** A request goes to a different server than the first. */
  noteFailover(): void;
}

/** Passes reports on to the health of the servers, the metrics and the log. */
export function createServerReports({
  health,
  metrics,
  log,
  reportBehind,
}: {
  readonly health: Pick<PeerHealth, 'isWell' | 'markDown' | 'probeNow'>;
  readonly metrics: Pick<ProxyMetrics, 'peerErrors' | 'tableBehind' | 'failovers'>;
  readonly log: Log;
  /** Tells the table's owner that the server at this address does not serve what the table lists. */
  readonly reportBehind: (address: string) => void;
}): ServerReports {
  return {
    knowsItsUsers: ({ address }) => health.isWell(address),
    noteFault: (target, fault, { isServers }) => {
      if (fault.kind === 'aborted' || fault.kind === 'request') return;
      metrics.peerErrors.inc({ type: fault.kind === 'address' ? 'endpoint_resolution' : 'proxy_transport' });
      // The server is alive: one client's odd request must not take it from all others.
      if (fault.kind === 'saturated' || fault.kind === 'answer') return;
      if (isServers) health.markDown(target, fault.error.message);
      else health.probeNow(target.address);
    },
    noteShutdown: (target, { fromBackend }) => {
      if (fromBackend) health.probeNow(target.address);
      else health.markDown(target, 'it is shutting down');
    },
    noteTableBehind: ({ id, address }, path) => {
      metrics.tableBehind.inc();
      log.warn('a kube-apiserver does not know a resource that the routing table says it serves', { peer: id, path });
      reportBehind(address);
    },
    noteFailover: () => metrics.failovers.inc(),
  };
}
