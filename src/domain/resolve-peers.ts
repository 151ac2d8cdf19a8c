import type { IdentityLease, LeaseProblem } from './identity-lease.ts';

/** Where a peer's address was learnt; the order in the spec is the order of trust. */
export type AddressSource = 'Static' | 'MirrorPod' | 'Node' | 'EndpointSlice' | 'LeaseAnnotation';

/** How far an address can be believed before its certificate has been verified. */
export type Trust = 'High' | 'Medium' | 'Low';

/** An address that belongs to a named host. */
export interface HostAddress {
  readonly hostname: string;
  /** `host:port`. */
  readonly address: string;
}

/** Everything that one pass has read about who is where. */
export interface AddressFacts {
  readonly leases: readonly IdentityLease[];
  /** The peer is named by hostname, Lease name, or a name of the administrator's choice. */
  readonly staticEntries: readonly { readonly peer: string; readonly address: string }[];
  /** Only pods that are proved to be mirror pods of their node. */
  readonly mirrorPods: readonly HostAddress[];
  readonly nodes: readonly HostAddress[];
  /** Addresses without identity. */
  readonly endpoints: readonly string[];
}

/** One peer and its address, or a reason for having none. */
export interface ResolvedPeer {
  readonly id: string;
  readonly hostname?: string;
  readonly lease?: IdentityLease;
  readonly address?: string;
  readonly source?: AddressSource;
  readonly trust?: Trust;
  /** Set if the address may not be used; it is then never contacted. */
  readonly refused?: string;
}

/**
 * Gives each Lease the first address that its sources prove, and each address without a Lease a peer of its own.
 *
 * A source without identity (the EndpointSlice) never names a Lease; it only corroborates one or adds a peer that is
 * named by its address. Two Leases with one address are two names of one server: the one renewed last keeps it.
 */
export function resolvePeers(
  facts: AddressFacts,
  sources: readonly AddressSource[],
  checkAddress: (address: string) => { readonly ok: true } | { readonly ok: false; readonly reason: string },
): { readonly peers: readonly ResolvedPeer[]; readonly problems: readonly LeaseProblem[] } {
  const problems: LeaseProblem[] = [];
  const byAddress = new Map<string, ResolvedPeer>();
  const unresolved: ResolvedPeer[] = [];
  const newestFirst = [...facts.leases].sort((a, b) => compare(b.renewTime, a.renewTime) || compare(a.name, b.name));
  for (const lease of newestFirst) {
    const found = findAddress(lease, facts, sources);
    const peer: ResolvedPeer = {
      id: lease.name,
      lease,
      ...(lease.hostname !== undefined && { hostname: lease.hostname }),
      ...found,
    };
    if (found === undefined) {
      unresolved.push(peer);
      continue;
    }
    const holder = byAddress.get(found.address);
    if (holder === undefined) byAddress.set(found.address, peer);
    else
      problems.push({
        lease: lease.name,
        reason: 'DuplicateAddress',
        message: `has the address ${found.address} of ${holder.id}, whose Lease was renewed later; this one is ignored`,
      });
  }
  if (sources.includes('Static')) {
    const known = new Set(facts.leases.flatMap((lease) => [lease.name, lease.hostname]));
    for (const { peer, address } of facts.staticEntries)
      if (!known.has(peer) && !byAddress.has(address))
        byAddress.set(address, { id: peer, address, source: 'Static', trust: 'High' });
  }
  if (sources.includes('EndpointSlice'))
    for (const address of facts.endpoints)
      if (!byAddress.has(address))
        byAddress.set(address, { id: address, address, source: 'EndpointSlice', trust: 'Medium' });
  const peers = [...byAddress.values(), ...unresolved].map((peer) => {
    const verdict = peer.address === undefined ? { ok: true as const } : checkAddress(peer.address);
    return verdict.ok ? peer : { ...peer, refused: verdict.reason };
  });
  return { peers: peers.sort((a, b) => compare(a.id, b.id)), problems };
}

function findAddress(lease: IdentityLease, facts: AddressFacts, sources: readonly AddressSource[]) {
  for (const source of sources) {
    const found = fromSource(source, lease, facts);
    if (found !== undefined) return { ...found, source };
  }
  return undefined;
}

function fromSource(
  source: AddressSource,
  lease: IdentityLease,
  facts: AddressFacts,
): { readonly address: string; readonly trust: Trust } | undefined {
  const ofHost = (list: readonly HostAddress[]) => list.find(({ hostname }) => hostname === lease.hostname)?.address;
  const believed = (address: string | undefined, trust: Trust) =>
    address === undefined ? undefined : { address, trust };
  switch (source) {
    case 'Static': {
      const entry = facts.staticEntries.find(({ peer }) => peer === lease.name || peer === lease.hostname);
      return believed(entry?.address, 'High');
    }
    case 'MirrorPod':
      return believed(ofHost(facts.mirrorPods), 'High');
    case 'Node':
      return believed(ofHost(facts.nodes), 'Medium');
    case 'EndpointSlice':
      return undefined;
    case 'LeaseAnnotation': {
      const address = lease.annotatedAddress;
      return believed(address, address !== undefined && facts.endpoints.includes(address) ? 'Medium' : 'Low');
    }
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
