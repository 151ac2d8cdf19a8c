import type { V1ConfigMap } from '@kubernetes/client-node';
import type { RoutingBundle, RoutingTable } from '../../domain/routing-table.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import { type ApiClient, ApiError } from './api-client.ts';
import {
  type BundleHead,
  type BundleShard,
  decodeBundle,
  encodeBundle,
  formatHead,
  hashOf,
  parseHead,
} from './bundle-codec.ts';
import { formatServers, type ServerAddress } from './known-servers-file.ts';
import { type OwnerReference, ownedBy } from './owner-reference.ts';
import { type Reflector, startReflector } from './reflector.ts';

/** Where a bundle is published. */
export interface BundleLocation {
  readonly namespace: string;
  /**
   * Name of the head's ConfigMap, and start of the names of the shards; at most 63 characters, as it is a label value
   * too.
   */
  readonly name: string;
}

/** Where to publish, and as whom. */
export interface PublishLocation extends BundleLocation {
  readonly fieldManager: string;
  /** Name of the PeerDiscovery whose table it is; nobody else may replace it. */
  readonly owner: string;
  /** What is deleted with it. */
  readonly ownerReference?: OwnerReference | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The outcome of a publication. */
export type PublishOutcome =
  /** `leftover` names outdated shards that could not be deleted; the next publication tries again. */
  | { readonly published: true; readonly head: BundleHead; readonly leftover: readonly string[] }
  /** Somebody else published meanwhile, or a revision that is as new or newer: read it and decide anew. */
  | { readonly published: false; readonly reason: 'Conflict' | 'NotNewer'; readonly revision?: number }
  /** The table of this name is that of another PeerDiscovery. */
  | { readonly published: false; readonly reason: 'OfAnother'; readonly owner: string }
  /** The ConfigMap of this name is no routing table. */
  | { readonly published: false; readonly reason: 'NotATable' };

/** What is published now. */
export type HeadOutcome =
  | {
      readonly ok: true;
      readonly head: BundleHead;
      readonly uid: string;
      readonly resourceVersion: string;
      readonly owner?: string;
    }
  | { readonly ok: false; readonly reason: 'Missing'; readonly owner?: undefined }
  | {
      readonly ok: false;
      readonly reason: 'Malformed';
      readonly message: string;
      /** If that much can be read: a reader has perhaps seen it, and takes no lower one. */
      readonly revision?: number;
      readonly resourceVersion: string;
      readonly owner?: string;
      /** True if nothing in it tells that it ever was a routing table. */
      readonly foreign: boolean;
    };

const TABLE_LABEL = 'peerdiscovery.dev/routing-table';
const OWNER_ANNOTATION = 'peerdiscovery.dev/owner';
const SHARD_KEY = 'bundle';
/** Of a mounted head, the file that `--known-servers-file` is to name. */
const SERVERS_KEY = 'servers.json';

/**
 * Publishes a bundle so that a reader sees the old one or the new one whole: shards first, then the head, which swaps.
 * Shards of the head before stay, for readers that are still fetching them; older ones are deleted. Only those that
 * were there before anything was written count as older, so that a slow writer deletes nothing of a newer one.
 */
export async function publishBundle(
  client: ApiClient,
  location: PublishLocation,
  bundle: RoutingBundle,
): Promise<PublishOutcome> {
  const { namespace, name, fieldManager, owner, ownerReference, signal } = location;
  const before = await readHead(client, location);
  if (before.owner !== undefined && before.owner !== owner)
    return { published: false, reason: 'OfAnother', owner: before.owner };
  if (!before.ok && before.reason === 'Malformed' && before.foreign) return { published: false, reason: 'NotATable' };
  const { head, shards } = await encodeBundle(name, bundle);
  if (before.ok && before.head.revision >= head.revision && before.head.sha256 !== head.sha256) {
    return { published: false, reason: 'NotNewer', revision: before.head.revision };
  }
  const kept = new Set([...head.shards, ...(before.ok ? before.head.shards : [])].map((shard) => shard.name));
  const older = (await listShards(client, location).catch(ignoreApiError)).filter((shard) => !kept.has(shard));
  for (const shard of shards) await writeShard(client, location, shard);
  const object = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: {
      ...{ name, namespace, labels: labelsOf(name), annotations: { [OWNER_ANNOTATION]: owner } },
      ...ownedBy(ownerReference),
    },
    data: { ...formatHead(head), [SERVERS_KEY]: formatServers(serversOf(bundle.table)) },
  };
  try {
    // Either way it fails if the head changed meanwhile: by a name that is taken, or a resourceVersion that is old.
    if ('resourceVersion' in before) {
      const metadata = { ...object.metadata, resourceVersion: before.resourceVersion };
      await client.apply(pathOf(namespace, name), { ...object, metadata }, { fieldManager, force: true, signal });
    } else await client.create(collectionOf(namespace), object, { query: { fieldManager }, signal });
  } catch (error) {
    if (error instanceof ApiError && error.code === 409) return { published: false, reason: 'Conflict' };
    throw error;
  }
  return { published: true, head, leftover: await deleteShards(client, location, older) };
}

function serversOf({ peers, serverName }: RoutingTable): readonly ServerAddress[] {
  return peers.flatMap(({ address, state }) =>
    address === undefined || state === 'Refused' ? [] : [{ address, serverName }],
  );
}

/** Names of the shards that are there, of this head and of others. */
export async function listShards(
  client: ApiClient,
  { namespace, name, signal }: BundleLocation & { readonly signal?: AbortSignal | undefined },
): Promise<string[]> {
  // Version 0: from kube-apiserver's memory, at no cost to etcd. What has come since is not older than what is written.
  const query = { labelSelector: `${TABLE_LABEL}=${name}`, resourceVersion: '0' };
  const found = await client.list<V1ConfigMap>(collectionOf(namespace), { query, signal, metadataOnly: true });
  return found.items.map(({ metadata }) => metadata?.name ?? '').filter((shard) => shard.startsWith(`${name}-`));
}

/** The published head, without its shards. */
export async function readHead(
  client: ApiClient,
  location: BundleLocation & { readonly signal?: AbortSignal | undefined },
): Promise<HeadOutcome> {
  const { namespace, name, signal } = location;
  const found = await client.get<V1ConfigMap>(pathOf(namespace, name), { signal });
  if (!found) return { ok: false, reason: 'Missing' };
  const { uid = '', resourceVersion = '', annotations, labels } = found.metadata ?? {};
  const owner = annotations?.[OWNER_ANNOTATION];
  const place = { resourceVersion, ...(owner !== undefined && { owner }) };
  const parsed = parseHead(found.data);
  if (parsed.ok) return { ok: true, head: parsed.head, uid, ...place };
  const { reason: message, revision } = parsed;
  const foreign = owner === undefined && labels?.[TABLE_LABEL] === undefined;
  return { ok: false, reason: 'Malformed', message, ...(revision !== undefined && { revision }), ...place, foreign };
}

/** The bundle that a head names, read once; undefined if it is not there whole. */
export async function readBundle(
  client: ApiClient,
  location: BundleLocation & { readonly signal?: AbortSignal | undefined },
  head: BundleHead,
): Promise<RoutingBundle | undefined> {
  const { namespace, signal } = location;
  const shards: BundleShard[] = [];
  for (const { name } of head.shards) {
    const found = await client.get<V1ConfigMap>(pathOf(namespace, name), { signal });
    const encoded = found?.binaryData?.[SHARD_KEY];
    if (encoded === undefined) return undefined;
    shards.push({ name, bytes: Buffer.from(encoded, 'base64') });
  }
  const decoded = await decodeBundle(head, shards);
  return decoded.ok ? decoded.bundle : undefined;
}

/** Why a reader has no bundle, or not the newest. */
export type BundleTrouble =
  /** There is no head. */
  | 'Missing'
  /** The head, a shard or the bundle is not what it should be. */
  | 'Invalid'
  /** The head is another and not newer, though it is the same object: somebody restored or forged it. */
  | 'OlderRevision';

/** What a proxy follows a bundle with. */
export interface WatchBundleOptions extends BundleLocation {
  readonly client: ApiClient;
  /** Called with whole, valid bundles only, each newer than the one before unless the head was re-created. */
  readonly onBundle: (bundle: RoutingBundle) => void;
  /** Called when the trouble changes; undefined when it is over. The last bundle stays in force. */
  readonly onTrouble: (reason: BundleTrouble | undefined, message: string) => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly random: () => number;
}

/** Follows the published bundle; of what it hands out, everything was checked. */
export function watchBundle(options: WatchBundleOptions): Reflector<V1ConfigMap> {
  const { client, namespace, name, signal } = options;
  const log = options.log.child({ bundle: `${namespace}/${name}` });
  const headKey = `${namespace}/${name}`;
  let accepted: { uid: string; head: BundleHead } | undefined;
  let trouble: string | undefined;
  let assembling: Promise<void> = Promise.resolve();
  let wanted = false;

  function report(reason: BundleTrouble | undefined, message: string) {
    const next = reason && `${reason}: ${message}`;
    if (next === trouble) return;
    trouble = next;
    if (reason) log.warn('published routing table is not usable; the last good one stays', { reason, message });
    options.onTrouble(reason, message);
  }

  /** Assemblies run one after another, and events that come meanwhile share the next one. */
  function assembleSoon() {
    if (wanted) return;
    wanted = true;
    assembling = assembling
      .then(() => {
        wanted = false;
        return signal.aborted ? undefined : assemble();
      })
      .catch((error: unknown) => log.error('routing table was not taken over', { error }));
  }

  async function assemble() {
    const items = reflector.items();
    const object = items.get(headKey);
    if (!object) return report('Missing', `ConfigMap ${headKey} does not exist`);
    const parsed = parseHead(object.data);
    if (!parsed.ok) return report('Invalid', `ConfigMap ${headKey}: ${parsed.reason}`);
    const { head } = parsed;
    const uid = object.metadata?.uid ?? '';
    if (accepted?.uid === uid) {
      if (accepted.head.sha256 === head.sha256) return report(undefined, '');
      // Of one revision there is one table: another of the same number is no newer.
      if (head.revision <= accepted.head.revision) {
        return report('OlderRevision', `revision ${head.revision} after ${accepted.head.revision}`);
      }
    }
    const shards: BundleShard[] = [];
    for (const reference of head.shards) {
      const content = items.get(`${namespace}/${reference.name}`)?.binaryData?.[SHARD_KEY];
      if (content !== undefined) shards.push({ name: reference.name, bytes: Buffer.from(content, 'base64') });
    }
    const decoded = await decodeBundle(head, shards);
    if (signal.aborted) return;
    if (!decoded.ok) return report('Invalid', `revision ${head.revision}: ${decoded.reason}`);
    accepted = { uid, head };
    report(undefined, '');
    options.onBundle(decoded.bundle);
  }

  const reflector: Reflector<V1ConfigMap> = startReflector<V1ConfigMap>({
    client,
    path: collectionOf(namespace),
    labelSelector: `${TABLE_LABEL}=${name}`,
    // Within a first list, a head may come before its shards.
    onChange: (event) => {
      if (event.type === 'Synced' || reflector.synced) assembleSoon();
    },
    clock: options.clock,
    log: options.log,
    signal,
    random: options.random,
    // Shards are large; a page of them should not be.
    pageSize: 20,
  });
  return reflector;
}

async function writeShard(
  client: ApiClient,
  { namespace, name, ownerReference, signal }: PublishLocation,
  shard: BundleShard,
): Promise<void> {
  const object = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: shard.name, namespace, labels: labelsOf(name), ...ownedBy(ownerReference) },
    immutable: true,
    binaryData: { [SHARD_KEY]: Buffer.from(shard.bytes).toString('base64') },
  };
  const create = () => client.create(collectionOf(namespace), object, { signal });
  try {
    await create();
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 409) throw error;
    // Names tell the content, so an existing one is ours from before, unless somebody tampered with it.
    const existing = await client.get<V1ConfigMap>(pathOf(namespace, shard.name), { signal });
    const content = Buffer.from(existing?.binaryData?.[SHARD_KEY] ?? '', 'base64');
    const labelled = existing?.metadata?.labels?.[TABLE_LABEL] === name;
    if (labelled && hashOf(content) === hashOf(shard.bytes)) return;
    await client.delete(pathOf(namespace, shard.name), { signal });
    await create();
  }
}

/** What cannot be listed is not deleted; that is no reason not to publish. */
function ignoreApiError(error: unknown): string[] {
  if (error instanceof ApiError) return [];
  throw error;
}

/** Names of those that could not be deleted. */
async function deleteShards(
  client: ApiClient,
  { namespace, signal }: BundleLocation & { readonly signal?: AbortSignal | undefined },
  shards: readonly string[],
): Promise<string[]> {
  const leftover: string[] = [];
  for (const shard of shards) {
    try {
      await client.delete(pathOf(namespace, shard), { signal });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      leftover.push(shard);
    }
  }
  return leftover;
}

function labelsOf(name: string): Record<string, string> {
  return { 'app.kubernetes.io/managed-by': 'peerdiscovery', [TABLE_LABEL]: name };
}

function collectionOf(namespace: string): string {
  return `/api/v1/namespaces/${namespace}/configmaps`;
}

function pathOf(namespace: string, name: string): string {
  return `${collectionOf(namespace)}/${name}`;
}
