import type { PeerDiscovery, PeerStatus } from '../api/peer-discovery.ts';
import { formatResource, nameOf } from './names.ts';

/** Lists what changed in a status, one line for each change. */
export function describeChanges(
  before: PeerDiscovery | undefined,
  after: PeerDiscovery | undefined,
): readonly string[] {
  if (before === undefined) return after === undefined ? [] : [`PeerDiscovery ${after.metadata.name} was created`];
  if (after === undefined) return [`PeerDiscovery ${before.metadata.name} was deleted`];
  return [
    ...modeChange(before, after),
    ...peerChanges(before.status?.peers ?? [], after.status?.peers ?? []),
    ...conditionChanges(before, after),
    ...divergenceChanges(before, after),
    ...tableChange(before, after),
  ];
}

function modeChange(before: PeerDiscovery, after: PeerDiscovery): readonly string[] {
  const [from, to] = [before.status?.mode, after.status?.mode];
  return from === to || to === undefined ? [] : [`mode: ${from ?? 'none'} -> ${to}`];
}

function peerChanges(before: readonly PeerStatus[], after: readonly PeerStatus[]): readonly string[] {
  const earlier = new Map(before.map((peer) => [peer.id, peer]));
  const later = new Set(after.map(({ id }) => id));
  return [
    ...after.flatMap((peer) => {
      const was = earlier.get(peer.id);
      const name = nameOf(peer);
      if (was === undefined)
        return [
          `peer ${name} appeared: ${stateOf(peer)}, ${peer.version ?? 'version unknown'}, ${peer.address ?? 'no address'}`,
        ];
      const lines: string[] = [];
      if (stateOf(was) !== stateOf(peer))
        lines.push(`peer ${name}: ${was.state === peer.state ? '' : `${was.state} -> `}${stateOf(peer)}`);
      for (const field of ['version', 'address'] as const)
        if (was[field] !== peer[field])
          lines.push(`peer ${name}: ${field} ${was[field] ?? 'unknown'} -> ${peer[field] ?? 'unknown'}`);
      return lines;
    }),
    ...before.filter(({ id }) => !later.has(id)).map((peer) => `peer ${nameOf(peer)} was removed`),
  ];
}

function stateOf({ state, reason, message }: PeerStatus): string {
  const why = message === undefined ? reason : `${reason}: ${message}`;
  return state === reason && message === undefined ? state : `${state} (${why})`;
}

function conditionChanges(before: PeerDiscovery, after: PeerDiscovery): readonly string[] {
  const earlier = new Map((before.status?.conditions ?? []).map((condition) => [condition.type, condition]));
  return (after.status?.conditions ?? []).flatMap(({ type, status, reason, message }) => {
    const was = earlier.get(type);
    if (was?.status === status && was.reason === reason && was.message === message) return [];
    const turned = was === undefined || was.status === status ? status : `${was.status} -> ${status}`;
    return [`${type}: ${turned}, ${reason}: ${message}`];
  });
}

function divergenceChanges(before: PeerDiscovery, after: PeerDiscovery): readonly string[] {
  const [earlier, later] = [differencesOf(before), differencesOf(after)];
  return [
    ...[...later].flatMap(([name, text]) => (earlier.get(name) === text ? [] : [`${name}: ${text}`])),
    ...[...earlier.keys()].filter((name) => !later.has(name)).map((name) => `${name}: no longer differs`),
  ];
}

function differencesOf({ status }: PeerDiscovery): ReadonlyMap<string, string> {
  const names = new Map((status?.peers ?? []).map((peer) => [peer.id, nameOf(peer)]));
  const named = (ids: readonly string[]) => ids.map((id) => names.get(id) ?? id).join(', ');
  return new Map(
    (status?.divergent ?? []).map(({ subresource, servedBy, missingFrom, differences = [], ...resource }) => [
      `${formatResource(resource)}${subresource === undefined ? '' : `/${subresource}`}`,
      [
        `served by ${named(servedBy)}`,
        ...(missingFrom.length > 0 ? [`missing from ${named(missingFrom)}`] : []),
        ...differences.map(({ field }) => `differs in ${field}`),
      ].join(', '),
    ]),
  );
}

function tableChange(before: PeerDiscovery, after: PeerDiscovery): readonly string[] {
  const [from, to] = [before.status?.revision, after.status?.revision];
  if (from === to || to === undefined) return [];
  return [
    `revision: ${from ?? 'none'} -> ${to}, ${after.status?.groups ?? 0} groups, ${after.status?.resources ?? 0} resources`,
  ];
}
