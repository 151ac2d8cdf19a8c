import { parseDuration } from '../api/duration.ts';
import { type CompleteSpec, type PeerDiscovery, withDefaults } from '../api/peer-discovery.ts';
import { defaultTableName, findTableConflict } from '../api/table-name.ts';
import type { AddressSource } from '../domain/resolve-peers.ts';
import type { FieldSkew, Mode, TableLocation } from '../domain/routing-table.ts';
import { describeCaFault } from '../runtime/describe-ca-fault.ts';
import { messageOf } from '../runtime/message-of.ts';
import type { MonitorTiming } from './peer-monitor.ts';

/** One PeerDiscovery's spec with its defaults, in the code's units. */
export interface ControllerSettings {
  /** Name of the PeerDiscovery. */
  readonly name: string;
  readonly generation: number;
  readonly mode: Mode;
  readonly fieldSkew: FieldSkew;
  readonly serverName: string;
  /** True if the Leases are kube-apiservers' own, so that their names can be checked against their hostnames. */
  readonly checkLeaseNames: boolean;
  readonly sources: readonly AddressSource[];
  readonly staticEntries: readonly { readonly peer: string; readonly address: string }[];
  readonly nodePort: number;
  readonly checkAddress: (address: string) => { readonly ok: true } | { readonly ok: false; readonly reason: string };
  readonly staleAfterMs: number;
  readonly goneAfterMs: number;
  readonly timing: MonitorTiming;
  /** Between two confirmations of the published table. */
  readonly confirmEveryMs: number;
  readonly routingTable: { readonly namespace: string; readonly name: string };
}

/** What settings need besides the object. */
export interface SettingsContext {
  /** Namespace of the routing table if the spec names none. */
  readonly namespace: string;
  /** The tables that other objects have now. */
  readonly tablesOfOthers?: Iterable<{ readonly owner: string; readonly table: TableLocation }>;
  /** Throws an error that names the bad entry. */
  readonly createAddressPolicy: (allowedCIDRs: readonly string[]) => {
    readonly check: ControllerSettings['checkAddress'];
  };
}

/** Settings of a PeerDiscovery, or all problems of its spec. */
export type SettingsResult =
  | {
      readonly ok: true;
      readonly settings: ControllerSettings;
      readonly spec: CompleteSpec;
      /** The CA bundle of the spec as PEM; undefined if it names none. */
      readonly caPem: string | undefined;
    }
  | { readonly ok: false; readonly problems: readonly string[] };

const kubeApiserverSelector = 'apiserver.kubernetes.io/identity=kube-apiserver';

/** Turns a spec into settings, and checks the fields that the API server's validation could not check. */
export function readSettings(object: PeerDiscovery, context: SettingsContext): SettingsResult {
  const spec = withDefaults(object.spec);
  const problems: string[] = [];
  const attempt = <T>(field: string, read: () => T): T | undefined => {
    try {
      return read();
    } catch (error) {
      problems.push(`spec.${field}: ${messageOf(error)}`);
      return undefined;
    }
  };
  const policy = attempt('addresses.allowedCIDRs', () => context.createAddressPolicy(spec.addresses.allowedCIDRs));
  const pollIntervalMs = attempt('polling.interval', () => parseDuration(spec.polling.interval));
  const staleAfterMs = attempt('staleAfter', () => parseDuration(spec.staleAfter));
  const goneAfterMs = attempt('goneAfter', () => parseDuration(spec.goneAfter));
  attempt('polling.timeout', () => parseDuration(spec.polling.timeout));
  const name = object.metadata?.name ?? '';
  const routingTable = {
    namespace: spec.routingTable.namespace ?? context.namespace,
    name: spec.routingTable.name ?? defaultTableName(name),
  };
  const { caBundle } = spec.tls;
  const caPem = caBundle === undefined ? undefined : Buffer.from(caBundle, 'base64').toString('utf8');
  const caFault = caPem === undefined ? undefined : describeCaFault(caPem);
  if (caFault !== undefined)
    problems.push(
      `spec.tls.caBundle: ${caFault}; give PEM certificates, for example the output of "base64 -w0 ca.crt"`,
    );
  const conflict = findTableConflict(routingTable, context.tablesOfOthers ?? []);
  if (conflict !== undefined) problems.push(`spec.routingTable.name: ${conflict}`);
  if (policy === undefined || pollIntervalMs === undefined || staleAfterMs === undefined || goneAfterMs === undefined)
    return { ok: false, problems };
  if (problems.length > 0) return { ok: false, problems };
  const settings: ControllerSettings = {
    name,
    generation: object.metadata?.generation ?? 0,
    mode: spec.mode,
    fieldSkew: spec.routing.fieldSkew,
    serverName: spec.tls.serverName,
    checkLeaseNames: spec.leases.labelSelector === kubeApiserverSelector,
    sources: spec.addresses.sources,
    staticEntries: spec.addresses.static,
    nodePort: spec.addresses.port,
    checkAddress: policy.check,
    staleAfterMs,
    goneAfterMs,
    timing: {
      pollIntervalMs,
      probeIntervalMs: 2_000,
      eagerProbeIntervalMs: 250,
      maxBackoffMs: Math.max(pollIntervalMs, 10_000),
    },
    confirmEveryMs: 5_000,
    routingTable,
  };
  return { ok: true, settings, spec, caPem };
}
