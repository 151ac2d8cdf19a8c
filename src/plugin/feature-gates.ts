import type { PeerStatus } from '../api/peer-discovery.ts';
import { minorOf, servedMinor, showServedVersion } from '../domain/served-version.ts';
import type { Check } from './checks.ts';
import { nameOf } from './names.ts';

/** A server's feature gates, as read from its metrics. */
export type GatesOfPeer =
  | { readonly kind: 'read'; readonly peer: PeerStatus; readonly gates: ReadonlyMap<string, boolean> }
  | { readonly kind: 'unread'; readonly peer: PeerStatus; readonly message: string };

const name = 'feature gates';
const maxNamed = 8;

/**
 * Servers that share their version with another one, so that their gates can be compared.
 *
 * Different gates between versions are not a fault, because gates graduate.
 */
export function comparablePeers(peers: readonly PeerStatus[]): readonly PeerStatus[] {
  const live = peers.filter(({ state }) => state !== 'Gone');
  return live.filter((peer) => live.some((other) => other !== peer && likenessOf(other) === likenessOf(peer)));
}

/**
 * The state of each gate, by name.
 *
 * Source: `kubernetes_feature_enabled` of k8s.io/component-base, which counts 1 for a gate that is on.
 */
export function readGates(metrics: string): ReadonlyMap<string, boolean> {
  const gates = new Map<string, boolean>();
  for (const [, gate = '', value] of metrics.matchAll(
    /^kubernetes_feature_enabled\{(?:[^}]*,)?name="(\w+)"[^}]*\} ([01])$/gm,
  ))
    gates.set(gate, value === '1');
  return gates;
}

/** Checks whether servers of one version have the same gates on; pure. */
export function checkGates(found: readonly GatesOfPeer[]): readonly Check[] {
  const read = found.filter((gates) => gates.kind === 'read');
  const differences = [...groupByVersion(read).values()].flatMap(compareGates);
  const unread = found.filter((gates) => gates.kind === 'unread');
  return [...(unread.length === found.length && found.length > 0 ? [] : [judge(read, differences)]), ...skip(unread)];
}

type ReadGates = Extract<GatesOfPeer, { kind: 'read' }>;

function judge(read: readonly ReadGates[], differences: readonly string[]): Check {
  if (differences.length === 0) {
    const message =
      read.length < 2
        ? 'no two servers of one version could be compared'
        : `the same at all ${read.length} servers that share a version`;
    return { name, level: 'ok', message };
  }
  const shown = differences.slice(0, maxNamed);
  const more = differences.length - shown.length;
  const named = `${shown.join('; ')}${more > 0 ? `; and ${more} more` : ''}`;
  return {
    ...{ name, level: 'warn' },
    message:
      `${differences.length} differ between servers of one version, so one may drop a field that ` +
      `another keeps: ${named}`,
    cure: 'give all servers of one version the same --feature-gates and --runtime-config; kubernetes_feature_enabled in the /metrics of each server lists its gates',
  };
}

function skip(unread: readonly Extract<GatesOfPeer, { kind: 'unread' }>[]): readonly Check[] {
  if (unread.length === 0) return [];
  const said = unread.map(({ peer, message }) => `${nameOf(peer)}: ${message}`);
  return [
    {
      ...{ name, level: 'skip', message: said.join('; ') },
      cure:
        'ask for the right to get /metrics (the ClusterRole system:monitoring has it), and use ' +
        "a machine that reaches each server's own address",
    },
  ];
}

function groupByVersion(read: readonly ReadGates[]): ReadonlyMap<string, readonly ReadGates[]> {
  const groups = new Map<string, ReadGates[]>();
  for (const gates of read) {
    const likeness = likenessOf(gates.peer);
    const group = groups.get(likeness) ?? [];
    groups.set(likeness, group);
    group.push(gates);
  }
  return groups;
}

/** One line for each gate that is on at some of the servers and off at others. */
function compareGates(servers: readonly ReadGates[]): readonly string[] {
  const version = servers[0] === undefined ? '' : (showServedVersion(servers[0].peer) ?? '');
  const names = new Set(servers.flatMap(({ gates }) => [...gates.keys()]));
  return [...names].sort().flatMap((gate) => {
    const where = (wanted: boolean) =>
      servers.filter(({ gates }) => gates.get(gate) === wanted).map(({ peer }) => nameOf(peer));
    const [on, off] = [where(true), where(false)];
    if (on.length === 0 || off.length === 0) return [];
    return [`${gate} is on at ${on.join(', ')} and off at ${off.join(', ')} (${version})`];
  });
}

function likenessOf(peer: PeerStatus): string {
  return `${minorOf(peer.version)} ${servedMinor(peer)}`;
}
