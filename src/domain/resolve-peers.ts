import { compareText } from './compare-text.ts';
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
  /** True if it has a Lease, and the EndpointSlice lists its address besides. */
  readonly endpoint?: true;
  /** Id of the peer that holds the address which this one's sources give; it has no address then. */
  readonly displacedBy?: string;
}

/**
 * Gives each Lease the first address that its sources prove, and each address without a Lease a peer of its own.
 *
 * An address that the EndpointSlice lists too wins over one that it does not list, so that one wrong source does not hold up
 * the others. Of two Leases with one address one gets it: its holder, else the one renewed last. The other may
 * be an old name of the same server, or a second server behind a shared address, so it stays a peer without an address.
 *
 * A source without identity (the EndpointSlice) never names a Lease; it only corroborates one or adds a peer that is
 * named by its address.
 *
 * @param holders The peers whose Leases are renewed, by the address that each has had until now.
 */
export function resolvePeers(
  facts: AddressFacts,
  sources: readonly AddressSource[],
  checkAddress: (address: string) => { readonly ok: true } | { readonly ok: false; readonly reason: string },
  holders: ReadonlyMap<string, string> = new Map(),
): { readonly peers: readonly ResolvedPeer[]; readonly problems: readonly LeaseProblem[] } {
  const endpoints = sources.includes('EndpointSlice') ? facts.endpoints : [];
  const byAddress = new Map<string, ResolvedPeer>();
  const unresolved: ResolvedPeer[] = [];
  const found = facts.leases.map((lease) => ({
    lease,
    place: findAddress(lease, { ...facts, endpoints }, sources),
  }));
  const rank = ({ lease, place }: (typeof found)[number]) =>
    place !== undefined && holders.get(place.address) === lease.name ? 0 : 1;
  found.sort(
    (a, b) =>
      rank(a) - rank(b) || compareText(b.lease.renewTime, a.lease.renewTime) || compareText(a.lease.name, b.lease.name),
  );
  for (const { lease, place } of found) {
    const peer: ResolvedPeer = {
      id: lease.name,
      lease,
      ...(lease.hostname !== undefined && { hostname: lease.hostname }),
    };
    const holder = place === undefined ? undefined : byAddress.get(place.address);
    if (place === undefined) unresolved.push(peer);
    else if (holder === undefined)
      byAddress.set(place.address, { ...peer, ...place, ...(endpoints.includes(place.address) && { endpoint: true }) });
    else unresolved.push({ ...peer, address: place.address, displacedBy: holder.id });
  }
  if (sources.includes('Static')) {
    const known = new Set(facts.leases.flatMap((lease) => [lease.name, lease.hostname]));
    for (const { peer, address } of facts.staticEntries)
      if (!known.has(peer) && !byAddress.has(address))
        byAddress.set(address, { id: peer, address, source: 'Static', trust: 'High' });
  }
  const peers = [...byAddress.values(), ...unresolved];
  const taken = new Set(peers.map(({ address }) => address));
  const nameless = endpoints
    .filter((address, at) => !taken.has(address) && endpoints.indexOf(address) === at)
    .map((address): ResolvedPeer => ({ id: address, address, source: 'EndpointSlice', trust: 'Medium' }));
  const judged = [...peers.map(withoutSharedAddress), ...nameless].map((peer) => {
    const verdict = peer.address === undefined ? { ok: true as const } : checkAddress(peer.address);
    return verdict.ok ? peer : { ...peer, refused: verdict.reason };
  });
  return {
    peers: judged.sort((a, b) => compareText(a.id, b.id)),
    problems: peers.flatMap((peer) => (peer.displacedBy === undefined ? [] : [duplicate(peer, peer.displacedBy)])),
  };
}

function withoutSharedAddress(peer: ResolvedPeer): ResolvedPeer {
  if (peer.displacedBy === undefined) return peer;
  const { address: _, ...rest } = peer;
  return rest;
}

function duplicate({ id, address }: ResolvedPeer, holder: string): LeaseProblem {
  return {
    lease: id,
    reason: 'DuplicateAddress',
    message:
      `its address ${address} is that of ${holder} already; while both Leases are renewed there may be a ` +
      'second server that is not seen: give each its own address in spec.addresses.static',
  };
}

interface Place {
  readonly address: string;
  readonly source: AddressSource;
  readonly trust: Trust;
}

function findAddress(lease: IdentityLease, facts: AddressFacts, sources: readonly AddressSource[]): Place | undefined {
  const places = sources.flatMap((source) => placesFrom(source, lease, facts));
  const [first] = places;
  // The administrator's word needs nobody else's.
  if (first?.source === 'Static') return first;
  return places.find(({ address }) => facts.endpoints.includes(address)) ?? first;
}

function placesFrom(source: AddressSource, lease: IdentityLease, facts: AddressFacts): readonly Place[] {
  const believed = (addresses: readonly string[], trust: Trust) =>
    addresses.map((address) => ({ address, source, trust }));
  switch (source) {
    case 'Static':
      return believed(
        facts.staticEntries
          .filter(({ peer }) => peer === lease.name || peer === lease.hostname)
          .map(({ address }) => address)
          .slice(0, 1),
        'High',
      );
    case 'MirrorPod':
      return believed(addressesOf(lease.hostname, facts.mirrorPods), 'High');
    case 'Node':
      return believed(addressesOf(lease.hostname, facts.nodes), 'Medium');
    case 'EndpointSlice':
      return [];
    case 'LeaseAnnotation': {
      const address = lease.annotatedAddress;
      if (address === undefined) return [];
      return believed([address], facts.endpoints.includes(address) ? 'Medium' : 'Low');
    }
  }
}

/**
 * The addresses of the host with exactly this name; else in another case, as a kubelet writes its own in lower case; else
 * with or without the domain, if only one host is meant.
 */
function addressesOf(hostname: string | undefined, hosts: readonly HostAddress[]): readonly string[] {
  if (hostname === undefined) return [];
  const name = hostname.toLowerCase();
  const exact = hosts.filter((host) => host.hostname === hostname);
  const alike = hosts.filter((host) => host.hostname.toLowerCase() === name);
  const related = hosts.filter((host) => isQualified(host.hostname.toLowerCase(), name));
  const chosen = [exact, alike].find(({ length }) => length > 0);
  if (chosen !== undefined) return chosen.map(({ address }) => address);
  const names = new Set(related.map((host) => host.hostname.toLowerCase()));
  return names.size === 1 ? related.map(({ address }) => address) : [];
}

function isQualified(one: string, other: string): boolean {
  return one.startsWith(`${other}.`) || other.startsWith(`${one}.`);
}
