import type { PeerDiscovery, PeerStatus } from '../api/peer-discovery.ts';
import { servedMinor, showServedVersion } from '../domain/served-version.ts';
import type { Check } from './checks.ts';
import { nameOf } from './names.ts';
import { conditionOf, formatAge } from './show-status.ts';

/** An older confirmation means that no operator looks after the table, even if the two machines' clocks differ. */
export const confirmedWithinMs = 60_000;

/** Checks whether the control plane and its PeerDiscovery are ready for an upgrade; pure. */
export function checkReadiness(
  object: PeerDiscovery,
  facts: { readonly confirmationAgeMs: number | undefined; readonly targetVersion: string | undefined },
): readonly Check[] {
  const peers = object.status?.peers ?? [];
  return [
    checkCondition(object),
    checkMode(object),
    checkConfirmed(facts.confirmationAgeMs),
    checkPeers(peers),
    checkConverged(object),
    checkSpare(peers),
    checkTrust(peers),
    checkVersions(peers, facts.targetVersion),
    checkFields(object),
  ];
}

/** Checks whether the operator reports Ready. */
export function checkCondition(object: PeerDiscovery): Check {
  const name = 'Ready';
  const ready = conditionOf(object, 'Ready');
  if (ready === undefined)
    return {
      ...{ name, level: 'fail', message: 'the operator has not written a status yet' },
      cure: "check that the operator's Pods run, and read their log",
    };
  if (ready.status === 'True') return { name, level: 'ok', message: ready.message };
  return {
    ...{ name, level: 'fail', message: `${ready.reason}: ${ready.message}` },
    cure:
      `fix what the message names, then wait: kubectl wait --for=condition=Ready ` +
      `peerdiscovery/${object.metadata.name}`,
  };
}

/** Checks whether the operator still confirms the table. */
export function checkConfirmed(ageMs: number | undefined): Check {
  const name = 'table confirmed';
  if (ageMs !== undefined && ageMs <= confirmedWithinMs)
    return { name, level: 'ok', message: `the operator confirmed the routing table ${formatAge(ageMs)} ago` };
  return {
    name,
    level: 'fail',
    message:
      ageMs === undefined
        ? 'the operator has never confirmed the routing table'
        : `the operator has not confirmed the routing table for ${formatAge(ageMs)}, so proxies answer 503 where they would answer 404`,
    cure: "check that the operator's Pods run, and read their log",
  };
}

function checkMode({ metadata, status, spec }: PeerDiscovery): Check {
  const mode = status?.mode ?? spec?.mode ?? 'Observe';
  if (mode === 'Route')
    return { name: 'mode', level: 'ok', message: 'Route: requests go to a server that can serve them' };
  return {
    ...{ name: 'mode', level: 'fail', message: 'Observe: nothing is routed while versions are mixed' },
    cure: `kubectl patch peerdiscovery ${metadata.name} --type=merge -p '{"spec":{"mode":"Route"}}'`,
  };
}

/** Checks whether writes keep the fields that only some servers know now. */
function checkFields({ metadata, spec, status }: PeerDiscovery): Check {
  const name = 'fields';
  const count = status?.fieldDifferentResources;
  if (count === undefined)
    return {
      ...{ name, level: 'skip', message: 'the operator has not compared fields' },
      cure: 'upgrade the operator',
    };
  if (count === 0) return { name, level: 'ok', message: 'all servers know the same fields' };
  const found = `${count} resources have fields that some servers do not know${describeFields(status)}`;
  if (spec?.routing?.fieldSkew !== 'Ignore')
    return { name, level: 'ok', message: `${found}; writes go to servers that know all` };
  return {
    ...{ name, level: 'warn', message: `${found}; an older server drops those that it does not know` },
    cure: `kubectl patch peerdiscovery ${metadata.name} --type=merge -p '{"spec":{"routing":{"fieldSkew":"Preserve"}}}'`,
  };
}

/** The first fields that the newer version adds, and those that it removes. */
function describeFields(status: PeerDiscovery['status']): string {
  const rows = status?.fieldDifferences ?? [];
  const first = (side: 'appearing' | 'disappearing') => {
    const named = rows.flatMap((row) => row[side]?.paths.map((path) => `${row.resource} ${path}`) ?? []);
    const total = rows.reduce((sum, row) => sum + (row[side]?.count ?? 0), 0);
    const [field] = named;
    return field === undefined ? [] : [`${total} ${side}, such as ${field}`];
  };
  const said = [...first('appearing'), ...first('disappearing')];
  return said.length === 0 ? '' : ` (${said.join('; ')})`;
}

function checkPeers(peers: readonly PeerStatus[]): Check {
  const unready = peers.filter(({ state }) => state !== 'Ready');
  if (peers.length === 0)
    return {
      ...{ name: 'peers ready', level: 'fail', message: 'no kube-apiserver was found' },
      cure: 'see the sources of addresses: "kubectl peerdiscovery doctor"',
    };
  if (unready.length === 0) return { name: 'peers ready', level: 'ok', message: `all ${peers.length} peers are Ready` };
  const who = unready.map((peer) => `${nameOf(peer)} is ${peer.state} (${peer.reason})`);
  return {
    ...{ name: 'peers ready', level: 'fail', message: who.join(', ') },
    cure: 'repair or remove these servers first: during an upgrade one more is away',
  };
}

function checkConverged(object: PeerDiscovery): Check {
  const condition = conditionOf(object, 'Converged');
  if (condition?.status === 'True') return { name: 'converged', level: 'ok', message: condition.message };
  return {
    ...{ name: 'converged', level: 'fail' },
    message: `${condition?.message ?? 'unknown'}: an upgrade is under way, or an earlier one was not finished`,
    cure: 'finish it first; "kubectl peerdiscovery diff PEER PEER" shows the differences',
  };
}

function checkSpare(peers: readonly PeerStatus[]): Check {
  const ready = peers.filter(({ state }) => state === 'Ready').length;
  if (ready >= 2)
    return { name: 'spare server', level: 'ok', message: `${ready - 1} of ${ready} may be away at a time` };
  return {
    ...{
      name: 'spare server',
      level: 'warn',
      message: 'there is only one server: its restart is an outage of the API',
    },
    cure: 'plan for it, or run at least two kube-apiservers',
  };
}

function checkTrust(peers: readonly PeerStatus[]): Check {
  const low = peers.filter(({ trust }) => trust === 'Low').map(nameOf);
  if (low.length === 0)
    return { name: 'addresses', level: 'ok', message: 'no address rests on the word of a Lease alone' };
  return {
    ...{
      name: 'addresses',
      level: 'warn',
      message: `known from the Lease alone, which others can forge: ${low.join(', ')}`,
    },
    cure: 'list their addresses in spec.addresses.static, or label control-plane Nodes',
  };
}

/**
 * Servers of one control plane may be one minor version apart. Source:
 * https://kubernetes.io/releases/version-skew-policy/.
 */
function checkVersions(peers: readonly PeerStatus[], target: string | undefined): Check {
  const name = 'version step';
  const minors = peers.flatMap((peer) => minorNumber(servedMinor(peer)) ?? []);
  const [oldest, newest] = [Math.min(...minors), Math.max(...minors)];
  if (target === undefined)
    return {
      ...{ name, level: 'skip', message: `servers are at ${spanOf(peers)}` },
      cure: 'give --target-version, such as v1.37.0, to check the step',
    };
  const to = minorNumber(target);
  if (to === undefined || minors.length === 0)
    return {
      ...{ name, level: 'fail', message: `--target-version ${target} is no version` },
      cure: 'write it as v1.37.0 or 1.37',
    };
  if (to > oldest + 1)
    return {
      ...{ name, level: 'fail', message: `from ${spanOf(peers)} to ${target} skips a minor version` },
      cure: `upgrade to 1.${oldest + 1} first: servers of one control plane may be one minor version apart`,
    };
  if (to < newest)
    return {
      ...{ name, level: 'fail', message: `from ${spanOf(peers)} to ${target} is a downgrade` },
      cure: 'restore a backup of etcd instead: kube-apiserver does not support it',
    };
  return { name, level: 'ok', message: `from ${spanOf(peers)} to ${target}` };
}

function spanOf(peers: readonly PeerStatus[]): string {
  return [...new Set(peers.map((peer) => showServedVersion(peer) ?? 'unknown'))].sort().join(' and ');
}

function minorNumber(version: string | undefined): number | undefined {
  const minor = /^v?1\.(\d+)/.exec(version ?? '')?.[1];
  return minor === undefined ? undefined : Number(minor);
}
