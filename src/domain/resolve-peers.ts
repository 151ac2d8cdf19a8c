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

/** What has been learnt of Leases and addresses until now. */
export interface AddressEvidence {
  /** The peers whose Leases are renewed, by the address that each has had until now. */
  readonly holders: ReadonlyMap<string, string>;
  /** What was found at an address when it was asked last. */
  readonly answers: ReadonlyMap<string, AddressAnswer>;
  /** Names of Leases that nobody renews any more, each with the address that it had last. */
  readonly abandoned: ReadonlyMap<string, string | undefined>;
}

/** What was found at an address: a server whose certificate was verified and bears these names, or none. */
export type AddressAnswer =
  | { readonly verified: true; readonly names: readonly string[] }
  | { readonly verified: false };

/** The peers, and what else the evidence says. */
export interface Resolution {
  readonly peers: readonly ResolvedPeer[];
  readonly problems: readonly LeaseProblem[];
  /** Addresses that may be a peer's and are none's now: whether a server answers there is worth knowing. */
  readonly candidates: readonly string[];
}

type CheckAddress = (address: string) => { readonly ok: true } | { readonly ok: false; readonly reason: string };

const noEvidence: AddressEvidence = { holders: new Map(), answers: new Map(), abandoned: new Map() };

/**
 * Gives each Lease the address that the evidence proves best, and each address without a Lease a peer of its own.
 *
 * The administrator's word comes first, then an address that the EndpointSlice lists too, then one whose certificate
 * names the Lease's host and no other's, then one where a server answers. So a source that is contradicted holds up
 * nothing. Of two Leases with one address one gets it: its holder, else the one renewed last. The other may be an old
 * name of the same server, or a second server behind a shared address, so it stays a peer without an address.
 *
 * The EndpointSlice alone names no Lease. Every address that it lists is a peer, with or without a Lease.
 */
export function resolvePeers(
  facts: AddressFacts,
  sources: readonly AddressSource[],
  checkAddress: CheckAddress,
  evidence: AddressEvidence = noEvidence,
): Resolution {
  const endpoints = sources.includes('EndpointSlice') ? [...new Set(facts.endpoints)] : [];
  const claims = placeLeases({ ...facts, endpoints }, sources, evidence);
  const byAddress = new Map<string, ResolvedPeer>();
  const unresolved: ResolvedPeer[] = [];
  for (const { lease, place, yields } of inOrderOfRight(claims, evidence)) {
    const peer: ResolvedPeer = {
      id: lease.name,
      lease,
      ...(lease.hostname !== undefined && { hostname: lease.hostname }),
    };
    const holder = place === undefined ? undefined : byAddress.get(place.address)?.id;
    if (place === undefined) unresolved.push(peer);
    else if (holder !== undefined || yields)
      unresolved.push({ ...peer, address: place.address, displacedBy: holder ?? place.address });
    else
      byAddress.set(place.address, { ...peer, ...place, ...(endpoints.includes(place.address) && { endpoint: true }) });
  }
  if (sources.includes('Static')) {
    const known = new Set(facts.leases.flatMap((lease) => [lease.name, lease.hostname]));
    for (const { peer, address } of facts.staticEntries)
      if (!known.has(peer) && !byAddress.has(address))
        byAddress.set(address, { id: peer, address, source: 'Static', trust: 'High' });
  }
  const duplicates = unresolved.filter(
    ({ id, displacedBy }) => displacedBy !== undefined && !evidence.abandoned.has(id),
  );
  const shared = new Set(duplicates.map(({ address }) => address));
  const nameless = endpoints
    .filter((address) => !byAddress.has(address) && !shared.has(address))
    .map((address): ResolvedPeer => ({ id: address, address, source: 'EndpointSlice', trust: 'Medium' }));
  const peers = [...byAddress.values(), ...unresolved.map(withoutSharedAddress), ...nameless].map((peer) => {
    const verdict = peer.address === undefined ? { ok: true as const } : checkAddress(peer.address);
    return verdict.ok ? peer : { ...peer, refused: verdict.reason };
  });
  const taken = new Set(peers.map(({ address }) => address));
  const candidates = new Set(claims.flatMap(({ places }) => places.map(({ address }) => address)));
  return {
    peers: peers.sort((a, b) => compareText(a.id, b.id)),
    problems: duplicates.map(duplicateAddress),
    candidates: [...candidates].filter((address) => !taken.has(address) && checkAddress(address).ok),
  };
}

function withoutSharedAddress(peer: ResolvedPeer): ResolvedPeer {
  if (peer.displacedBy === undefined) return peer;
  const { address: _, ...rest } = peer;
  return rest;
}

function duplicateAddress({ id, address, displacedBy }: ResolvedPeer): LeaseProblem {
  return {
    lease: id,
    reason: 'DuplicateAddress',
    message:
      `its address ${address} is that of ${displacedBy} already; while both Leases are renewed there may be a ` +
      'second server that is not seen: give each its own address in spec.addresses.static',
  };
}

interface Place {
  readonly address: string;
  readonly source: AddressSource;
  readonly trust: Trust;
}

/** A Lease, the places that may be its server's, and the one that is taken for it. */
interface Claim {
  readonly lease: IdentityLease;
  /** Empty where the place is settled, so that no other needs to be tried. */
  readonly places: readonly Place[];
  readonly place?: Place | undefined;
  /** True if its server answers under another name now. */
  readonly yields?: boolean;
}

function inOrderOfRight(claims: readonly Claim[], { holders }: AddressEvidence): readonly Claim[] {
  const rank = ({ lease, place }: Claim) => (place !== undefined && holders.get(place.address) === lease.name ? 0 : 1);
  return claims.toSorted(
    (a, b) =>
      rank(a) - rank(b) || compareText(b.lease.renewTime, a.lease.renewTime) || compareText(a.lease.name, b.lease.name),
  );
}

function placeLeases(
  facts: AddressFacts,
  sources: readonly AddressSource[],
  evidence: AddressEvidence,
): readonly Claim[] {
  const { endpoints } = facts;
  const claims = facts.leases.map((lease): Claim => {
    const places = sources.flatMap((source) => placesFrom(source, lease, facts));
    const [first] = places;
    // The administrator's word needs nobody else's.
    const settled =
      first?.source === 'Static'
        ? first
        : (places.find(({ address }) => endpoints.includes(address)) ?? lastPlace(lease, endpoints, evidence));
    return settled === undefined ? { lease, places } : { lease, places: [], place: settled };
  });
  const renewed = claims.filter(({ lease }) => !evidence.abandoned.has(lease.name));
  const open = renewed.filter(({ place }) => place === undefined);
  // A server that was renamed still has its old Lease, which the sources may know by name while they do not know the
  // new one.
  const isVerified = (address: string) => evidence.answers.get(address)?.verified === true;
  const isLeftOver = ({ lease, place }: Claim) =>
    evidence.abandoned.has(lease.name) &&
    place !== undefined &&
    place.source !== 'Static' &&
    isVerified(place.address) &&
    open.some(({ places }) => places.every(({ address }) => evidence.answers.get(address)?.verified === false));
  const judged = claims.map((claim) => (isLeftOver(claim) ? { ...claim, yields: true } : claim));
  const taken = new Set(judged.flatMap(({ place, yields }) => (place === undefined || yields ? [] : [place.address])));
  const free = endpoints.filter((address) => !taken.has(address));
  const ownerOf = nameOwners(renewed, evidence);
  const proved = new Map(
    open.flatMap(({ lease }) => {
      const address = provedEndpoint(lease, free, ownerOf, evidence);
      return address === undefined ? [] : [[lease.name, address] as const];
    }),
  );
  const surplus = free.length - open.length >= 0 && free.length > proved.size;
  return judged.map((claim) => {
    if (claim.place !== undefined) return claim;
    const address = proved.get(claim.lease.name);
    if (address !== undefined) return { ...claim, place: { address, source: 'EndpointSlice', trust: 'Medium' } };
    return { ...claim, place: choosePlace(claim, claims, surplus, ownerOf, evidence) };
  });
}

/** Where the server of a Lease was that nobody renews, while the EndpointSlice still lists that. */
function lastPlace(
  { name }: IdentityLease,
  endpoints: readonly string[],
  { abandoned }: AddressEvidence,
): Place | undefined {
  const address = abandoned.get(name);
  if (address === undefined || !endpoints.includes(address)) return undefined;
  return { address, source: 'EndpointSlice', trust: 'Medium' };
}

/** The Lease whose host is named by the certificate at an address; undefined if it names none, or several. */
type OwnerOf = (address: string) => IdentityLease | undefined;

function nameOwners(renewed: readonly Claim[], { answers }: AddressEvidence): OwnerOf {
  return (address) => {
    const answer = answers.get(address);
    if (answer?.verified !== true) return undefined;
    const named = renewed.filter(({ lease }) => answer.names.some((name) => isNameOf(name, lease.hostname)));
    return named.length === 1 ? named[0]?.lease : undefined;
  };
}

/** An address of the EndpointSlice that is this Lease's by the certificate there, or was and is no other's. */
function provedEndpoint(
  lease: IdentityLease,
  free: readonly string[],
  ownerOf: OwnerOf,
  { holders }: AddressEvidence,
): string | undefined {
  const held = free.find((address) => holders.get(address) === lease.name);
  if (held !== undefined && (ownerOf(held) ?? lease).name === lease.name) return held;
  const proved = free.filter((address) => ownerOf(address)?.name === lease.name);
  return proved.length === 1 ? proved[0] : undefined;
}

/**
 * The best of a Lease's places that the EndpointSlice does not list; none if all are contradicted.
 *
 * @param surplus True if the EndpointSlice lists an address without a Lease for each Lease without an address. One that
 * does not answer, or is given for several Leases, is then contradicted: the server is at one of those.
 */
function choosePlace(
  { lease, places }: Claim,
  claims: readonly Claim[],
  surplus: boolean,
  ownerOf: OwnerOf,
  { holders, answers }: AddressEvidence,
): Place | undefined {
  const isShared = ({ address }: Place) =>
    claims.some((claim) => claim.lease !== lease && claim.places.some((place) => place.address === address));
  const contradicted = (place: Place) => {
    const owner = ownerOf(place.address);
    if (owner !== undefined) return owner !== lease;
    return surplus && (isShared(place) || answers.get(place.address)?.verified === false);
  };
  const score = (place: Place) => {
    if (ownerOf(place.address) === lease) return 4;
    const answer = answers.get(place.address)?.verified === true && !isShared(place) ? 2 : 0;
    return answer + (holders.get(place.address) === lease.name ? 1 : 0);
  };
  const possible = places.filter((place) => !contradicted(place));
  const best = Math.max(...possible.map(score));
  return possible.find((place) => score(place) === best);
}

/** Names of the Service, which every kube-apiserver's certificate bears. */
const commonNames = /^(?:localhost|kubernetes)(?:\.|$)/;

function isNameOf(name: string, hostname: string | undefined): boolean {
  if (hostname === undefined || commonNames.test(name.toLowerCase())) return false;
  const [one, other] = [name.toLowerCase(), hostname.toLowerCase()];
  return one === other || isQualified(one, other);
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
 * The addresses of the host with exactly this name; else in another case, as a kubelet writes its own in lower case;
 * else with or without the domain, if only one host is meant.
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
