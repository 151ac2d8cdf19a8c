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
 * A source without identity (the EndpointSlice) never names a Lease; it only corroborates one or adds a peer that is
 * named by its address. Of two Leases with one address one gets it: its holder, else the one renewed last. The other may
 * be an old name of the same server, or a second server behind a shared address, so it stays a peer without an address.
 *
 * @param holders The peers whose Leases are renewed, by the address that each has had until now.
 */
export function resolvePeers(
  facts: AddressFacts,
  sources: readonly AddressSource[],
  checkAddress: (address: string) => { readonly ok: true } | { readonly ok: false; readonly reason: string },
  holders: ReadonlyMap<string, string> = new Map(),
): { readonly peers: readonly ResolvedPeer[]; readonly problems: readonly LeaseProblem[] } {
  const problems: LeaseProblem[] = [];
  const byAddress = new Map<string, ResolvedPeer>();
  const unresolved: ResolvedPeer[] = [];
  const found = facts.leases.map((lease) => ({ lease, place: findAddress(lease, facts, sources) }));
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
    else if (holder === undefined) {
      const endpoint = sources.includes('EndpointSlice') && facts.endpoints.includes(place.address);
      byAddress.set(place.address, { ...peer, ...place, ...(endpoint && { endpoint }) });
    } else {
      unresolved.push({ ...peer, displacedBy: holder.id });
      problems.push({
        lease: lease.name,
        reason: 'DuplicateAddress',
        message:
          `its address ${place.address} is that of ${holder.id} already; while both Leases are renewed there may be a ` +
          'second server that is not seen: give each its own address in spec.addresses.static',
      });
    }
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
  return { peers: peers.sort((a, b) => compareText(a.id, b.id)), problems };
}

function findAddress(
  lease: IdentityLease,
  facts: AddressFacts,
  sources: readonly AddressSource[],
): { readonly address: string; readonly source: AddressSource; readonly trust: Trust } | undefined {
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
