import { compareText } from './compare-text.ts';
import type { IdentityLease, LeaseProblem } from './identity-lease.ts';

/** Every source of addresses, the most trusted first; the spec may give another order. */
export const addressSources = ['Static', 'MirrorPod', 'Node', 'EndpointSlice', 'LeaseAnnotation'] as const;

/** Where a peer's address was learnt. */
export type AddressSource = (typeof addressSources)[number];

/** How trustworthy an address is before its certificate has been verified. */
export type Trust = 'High' | 'Medium' | 'Low';

/** An address that belongs to a named host. */
export interface HostAddress {
  readonly hostname: string;
  /** `host:port`. */
  readonly address: string;
}

/** All facts about addresses that one pass has read. */
export interface AddressFacts {
  readonly leases: readonly IdentityLease[];
  /** Names a peer by hostname, Lease name, or a name that the administrator chose. */
  readonly staticEntries: readonly { readonly peer: string; readonly address: string }[];
  /** Only pods that are proved to be mirror pods of their node. */
  readonly mirrorPods: readonly HostAddress[];
  readonly nodes: readonly HostAddress[];
  /** Addresses without identity. */
  readonly endpoints: readonly string[];
}

/** One peer and its address, or the reason why it has none. */
export interface ResolvedPeer {
  readonly id: string;
  readonly hostname?: string;
  readonly lease?: IdentityLease;
  readonly address?: string;
  readonly source?: AddressSource;
  readonly trust?: Trust;
  /** Set if the address is forbidden. The peer is then never contacted. */
  readonly refused?: string;
  /** True if it has a Lease and the EndpointSlice lists its address too. */
  readonly endpoint?: true;
  /** Id of the peer that has the address to which this peer's sources point. This peer then has no address. */
  readonly displacedBy?: string;
}

/** The knowledge about Leases and addresses so far. */
export interface AddressEvidence {
  /** The peers whose Leases are renewed, by the address that each has had so far. */
  readonly holders: ReadonlyMap<string, string>;
  /** The last answer of each address. */
  readonly answers: ReadonlyMap<string, AddressAnswer>;
  /** Names of abandoned Leases, each with its last address. */
  readonly abandoned: ReadonlyMap<string, string | undefined>;
}

/** The answer of an address: a server with a verified certificate and these names, or no server. */
export type AddressAnswer =
  | { readonly verified: true; readonly names: readonly string[] }
  | { readonly verified: false };

/** The peers, and the rest of the evidence. */
export interface Resolution {
  readonly peers: readonly ResolvedPeer[];
  readonly problems: readonly LeaseProblem[];
  /** Addresses that may be a peer's but belong to none now. The operator asks whether a server answers there. */
  readonly candidates: readonly string[];
}

type CheckAddress = (address: string) => { readonly ok: true } | { readonly ok: false; readonly reason: string };

const noEvidence: Readonly<AddressEvidence> = { holders: new Map(), answers: new Map(), abandoned: new Map() };

/**
 * Gives each Lease the address with the best evidence, and each address without a Lease a peer of its own.
 *
 * The order of evidence is: the administrator's word, an address that the EndpointSlice lists too, an address whose
 * certificate names only this Lease's host, an address where a server answers. So a contradicted source blocks nothing.
 * If two Leases have one address, its holder gets it, or else the Lease that was renewed last. The other Lease may be
 * an old name of the same server, or a second server behind a shared address, so it stays a peer without an address.
 *
 * The EndpointSlice itself names no Lease. Every address in it becomes a peer, with or without a Lease.
 */
export function resolvePeers(
  facts: AddressFacts,
  sources: readonly AddressSource[],
  checkAddress: CheckAddress,
  evidence: AddressEvidence = noEvidence,
): Resolution {
  const listed = new Set(sources.includes('EndpointSlice') ? facts.endpoints : []);
  const endpoints = [...listed];
  const claims = placeLeases({ ...facts, endpoints }, listed, sources, evidence);
  const byAddress = new Map<string, ResolvedPeer>();
  const unresolved: ResolvedPeer[] = [];
  for (const { lease, place, yields } of sortByPrecedence(claims, evidence)) {
    const peer: ResolvedPeer = {
      id: lease.name,
      lease,
      ...(lease.hostname !== undefined && { hostname: lease.hostname }),
    };
    const holder = place === undefined ? undefined : byAddress.get(place.address)?.id;
    if (place === undefined) unresolved.push(peer);
    else if (holder !== undefined || yields)
      unresolved.push({ ...peer, address: place.address, displacedBy: holder ?? place.address });
    else byAddress.set(place.address, { ...peer, ...place, ...(listed.has(place.address) && { endpoint: true }) });
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
      `its address ${address} already belongs to ${displacedBy}; while both Leases are renewed, the operator may miss ` +
      'a second server: list the own address of each in spec.addresses.static',
  };
}

interface Place {
  readonly address: string;
  readonly source: AddressSource;
  readonly trust: Trust;
}

/** A Lease, the places where its server may be, and the place that was chosen. */
interface Claim {
  readonly lease: IdentityLease;
  /** Empty if the place is settled and no other needs a try. */
  readonly places: readonly Place[];
  readonly place?: Place | undefined;
  /** True if its server now answers under another name. */
  readonly yields?: boolean;
}

function sortByPrecedence(claims: readonly Claim[], { holders }: AddressEvidence): readonly Claim[] {
  const rank = ({ lease, place }: Claim) => (place !== undefined && holders.get(place.address) === lease.name ? 0 : 1);
  return claims.toSorted(
    (a, b) =>
      rank(a) - rank(b) || compareText(b.lease.renewTime, a.lease.renewTime) || compareText(a.lease.name, b.lease.name),
  );
}

function placeLeases(
  facts: AddressFacts,
  listed: ReadonlySet<string>,
  sources: readonly AddressSource[],
  evidence: AddressEvidence,
): readonly Claim[] {
  const claims = facts.leases.map((lease): Claim => {
    const places = sources.flatMap((source) => placesFrom(source, lease, facts, listed));
    const [first] = places;
    // The administrator's word needs no confirmation.
    const settled =
      first?.source === 'Static'
        ? first
        : (places.find(({ address }) => listed.has(address)) ?? lastPlace(lease, listed, evidence));
    return settled === undefined ? { lease, places } : { lease, places: [], place: settled };
  });
  const renewed = claims.filter(({ lease }) => !evidence.abandoned.has(lease.name));
  const open = renewed.filter(({ place }) => place === undefined);
  // A renamed server still has its old Lease. The sources may know the old name but not yet the new one.
  const isVerified = (address: string) => evidence.answers.get(address)?.verified === true;
  const isFoundNowhere = open.some(({ places }) =>
    places.every(({ address }) => evidence.answers.get(address)?.verified === false),
  );
  const isLeftOver = ({ lease, place }: Claim) =>
    isFoundNowhere &&
    evidence.abandoned.has(lease.name) &&
    place !== undefined &&
    place.source !== 'Static' &&
    isVerified(place.address);
  const judged = claims.map((claim) => (isLeftOver(claim) ? { ...claim, yields: true } : claim));
  const taken = new Set(judged.flatMap(({ place, yields }) => (place === undefined || yields ? [] : [place.address])));
  const free = facts.endpoints.filter((address) => !taken.has(address));
  const ownerOf = nameOwners(renewed, evidence);
  const proved = proveEndpoints(open, free, ownerOf, evidence);
  const isShared = findShared(claims);
  const surplus = free.length >= open.length && free.length > proved.size;
  return judged.map((claim) => {
    if (claim.place !== undefined) return claim;
    const address = proved.get(claim.lease.name);
    if (address !== undefined) return { ...claim, place: { address, source: 'EndpointSlice', trust: 'Medium' } };
    return { ...claim, place: choosePlace(claim, isShared, surplus, ownerOf, evidence) };
  });
}

/** The last place of an abandoned Lease's server, if the EndpointSlice still lists it. */
function lastPlace(
  { name }: IdentityLease,
  listed: ReadonlySet<string>,
  { abandoned }: AddressEvidence,
): Place | undefined {
  const address = abandoned.get(name);
  if (address === undefined || !listed.has(address)) return undefined;
  return { address, source: 'EndpointSlice', trust: 'Medium' };
}

/** Returns the Lease whose host the certificate at an address names; undefined if it names none or several. */
type OwnerOf = (address: string) => IdentityLease | undefined;

/** Looks at each Lease once, and at each address once. A forger can write any number of Leases. */
function nameOwners(renewed: readonly Claim[], { answers }: AddressEvidence): OwnerOf {
  // A name and its qualified form have the same first label.
  const byLabel = new Map<string, IdentityLease[]>();
  for (const { lease } of renewed) {
    const label = firstLabel(lease.hostname ?? '');
    const others = byLabel.get(label);
    if (others === undefined) byLabel.set(label, [lease]);
    else others.push(lease);
  }
  const known = new Map<string, IdentityLease | undefined>();
  const find = (address: string) => {
    const answer = answers.get(address);
    if (answer?.verified !== true) return undefined;
    const named = new Set(
      answer.names.flatMap((name) =>
        (byLabel.get(firstLabel(name)) ?? []).filter(({ hostname }) => isNameOf(name, hostname)),
      ),
    );
    const [owner, another] = named;
    return another === undefined ? owner : undefined;
  };
  return (address) => {
    if (!known.has(address)) known.set(address, find(address));
    return known.get(address);
  };
}

function firstLabel(name: string): string {
  return name.split('.', 1)[0]?.toLowerCase() ?? '';
}

/**
 * The addresses of the EndpointSlice that belong to Leases, because the certificate says so, or because it did before
 * and belongs to no other Lease. By the Lease's name.
 */
function proveEndpoints(
  open: readonly Claim[],
  free: readonly string[],
  ownerOf: OwnerOf,
  { holders }: AddressEvidence,
): ReadonlyMap<string, string> {
  const held = new Map<string, string>();
  const owned = new Map<string, readonly string[]>();
  for (const address of free) {
    const holder = holders.get(address);
    if (holder !== undefined && !held.has(holder)) held.set(holder, address);
    const owner = ownerOf(address)?.name;
    if (owner !== undefined) owned.set(owner, [...(owned.get(owner) ?? []), address]);
  }
  const prove = ({ name }: IdentityLease) => {
    const before = held.get(name);
    if (before !== undefined && (ownerOf(before)?.name ?? name) === name) return before;
    const [address, another] = owned.get(name) ?? [];
    return another === undefined ? address : undefined;
  };
  return new Map(
    open.flatMap(({ lease }) => {
      const address = prove(lease);
      return address === undefined ? [] : [[lease.name, address] as const];
    }),
  );
}

/** True if the places of several Leases have this address. */
function findShared(claims: readonly Claim[]): (address: string) => boolean {
  const counts = new Map<string, number>();
  for (const { places } of claims)
    for (const address of new Set(places.map((place) => place.address)))
      counts.set(address, (counts.get(address) ?? 0) + 1);
  return (address) => (counts.get(address) ?? 0) > 1;
}

/**
 * The best of a Lease's places outside the EndpointSlice; undefined if all are contradicted.
 *
 * @param surplus True if the EndpointSlice lists an address without a Lease for each Lease without an address. Then a
 *   place is contradicted if it does not answer or belongs to several Leases, because the server is at one of those
 *   addresses.
 */
function choosePlace(
  { lease, places }: Claim,
  isShared: (address: string) => boolean,
  surplus: boolean,
  ownerOf: OwnerOf,
  { holders, answers }: AddressEvidence,
): Place | undefined {
  const contradicted = (place: Place) => {
    const owner = ownerOf(place.address);
    if (owner !== undefined) return owner !== lease;
    return surplus && (isShared(place.address) || answers.get(place.address)?.verified === false);
  };
  const score = (place: Place) => {
    if (ownerOf(place.address) === lease) return 4;
    const answer = answers.get(place.address)?.verified === true && !isShared(place.address) ? 2 : 0;
    return answer + (holders.get(place.address) === lease.name ? 1 : 0);
  };
  const possible = places.filter((place) => !contradicted(place));
  const best = Math.max(...possible.map(score));
  return possible.find((place) => score(place) === best);
}

/** Names of the Service, which every kube-apiserver's certificate contains. */
const commonNames = /^(?:localhost|kubernetes)(?:\.|$)/;

function isNameOf(name: string, hostname: string | undefined): boolean {
  if (hostname === undefined || commonNames.test(name.toLowerCase())) return false;
  const [one, other] = [name.toLowerCase(), hostname.toLowerCase()];
  return one === other || isQualified(one, other);
}

function placesFrom(
  source: AddressSource,
  lease: IdentityLease,
  facts: AddressFacts,
  listed: ReadonlySet<string>,
): readonly Place[] {
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
      return believed([address], listed.has(address) ? 'Medium' : 'Low');
    }
  }
}

/**
 * The addresses of the host with exactly this name. Failing that, ignores case, since kubelets write their names in
 * lower case. Failing that, ignores the domain, if only one host matches.
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
