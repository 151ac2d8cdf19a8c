import type { V1ConfigMap } from '@kubernetes/client-node';
import type { RoutingBundle, RoutingTable } from '../../domain/routing-table.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { ApiClient } from './api-client.ts';
import { ApiError } from './api-error.ts';
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
import { managedBy } from './managed-by.ts';
import { type OwnerReference, ownedBy } from './owner-reference.ts';
import { type Reflector, startReflector } from './reflector.ts';

/** Where a bundle is published. */
export interface BundleLocation {
  readonly namespace: string;
  /**
   * Name of the head's ConfigMap and prefix of the shards' names. At most 63 characters, because it is a label value
   * too.
   */
  readonly name: string;
}

/** Where to publish, and in whose name. */
export interface PublishLocation extends BundleLocation {
  readonly fieldManager: string;
  /** Name of the PeerDiscovery that owns the table. No other one may replace it. */
  readonly owner: string;
  /** The owner that the objects are deleted with. */
  readonly ownerReference?: OwnerReference | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The outcome of a publication. */
export type PublishOutcome =
  /** `leftover` names outdated shards that could not be deleted. The next publication tries again. */
  | { readonly published: true; readonly head: BundleHead; readonly leftover: readonly string[] }
  /** Another publisher has published the same or a newer revision meanwhile. Read it and decide again. */
  | { readonly published: false; readonly reason: 'Conflict' | 'NotNewer'; readonly revision?: number }
  /** The table with this name belongs to another PeerDiscovery. */
  | { readonly published: false; readonly reason: 'OfAnother'; readonly owner: string }
  /** The ConfigMap with this name is not a routing table. */
  | { readonly published: false; readonly reason: 'NotATable' };

/** The state of the published head. */
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
      /** Set if it can be read: a reader that has seen it takes no lower one. */
      readonly revision?: number;
      readonly resourceVersion: string;
      readonly owner?: string;
      /** True if nothing shows that the ConfigMap was once a routing table. */
      readonly foreign: boolean;
    };

const tableLabel = 'peerdiscovery.dev/routing-table';
const ownerAnnotation = 'peerdiscovery.dev/owner';
const shardKey = 'bundle';
/** The file of a mounted head for `--known-servers-file`. */
const serversKey = 'servers.json';

/**
 * Publishes a bundle so that a reader sees either the old or the new one, complete. It writes the shards first, then
 * the head, which makes the switch. The previous head's shards stay, because readers may still be fetching them. It
 * deletes older shards, but only those that existed before it started writing, so that a slow writer never deletes a
 * newer one's.
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
      ...{ name, namespace, labels: labelsOf(name), annotations: { [ownerAnnotation]: owner } },
      ...ownedBy(ownerReference),
    },
    data: { ...formatHead(head), [serversKey]: formatServers(serversOf(bundle.table)) },
  };
  try {
    // In both cases it fails if the head changed meanwhile: the name is taken, or the resourceVersion is old.
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

/** Names of the existing shards, of this head and others. */
export async function listShards(
  client: ApiClient,
  { namespace, name, signal }: BundleLocation & { readonly signal?: AbortSignal | undefined },
): Promise<string[]> {
  // Version 0 reads from kube-apiserver's cache, without cost for etcd. Anything newer is not older than what is
  // written now.
  const query = { labelSelector: `${tableLabel}=${name}`, resourceVersion: '0' };
  const found = await client.list<V1ConfigMap>(collectionOf(namespace), { query, signal, metadataOnly: true });
  return found.items.map(({ metadata }) => metadata?.name ?? '').filter((shard) => shard.startsWith(`${name}-`));
}

/** True if a shard exists now. A server whose cache is behind may not list one that was just written. */
export async function hasShard(
  client: ApiClient,
  { namespace, signal }: BundleLocation & { readonly signal?: AbortSignal | undefined },
  shard: string,
): Promise<boolean> {
  return (await client.get<V1ConfigMap>(pathOf(namespace, shard), { signal })) !== undefined;
}

/** Reads the published head, without its shards. */
export async function readHead(
  client: ApiClient,
  location: BundleLocation & { readonly signal?: AbortSignal | undefined },
): Promise<HeadOutcome> {
  const { namespace, name, signal } = location;
  const found = await client.get<V1ConfigMap>(pathOf(namespace, name), { signal });
  if (!found) return { ok: false, reason: 'Missing' };
  const { uid = '', resourceVersion = '', annotations, labels } = found.metadata ?? {};
  const owner = annotations?.[ownerAnnotation];
  const place = { resourceVersion, ...(owner !== undefined && { owner }) };
  const parsed = parseHead(found.data);
  if (parsed.ok) return { ok: true, head: parsed.head, uid, ...place };
  const { reason: message, revision } = parsed;
  const foreign = owner === undefined && labels?.[tableLabel] === undefined;
  return { ok: false, reason: 'Malformed', message, ...(revision !== undefined && { revision }), ...place, foreign };
}

/** Reads the bundle of a head; undefined if it is incomplete. */
export async function readBundle(
  client: ApiClient,
  location: BundleLocation & { readonly signal?: AbortSignal | undefined },
  head: BundleHead,
): Promise<RoutingBundle | undefined> {
  const { namespace, signal } = location;
  const shards: BundleShard[] = [];
  for (const { name } of head.shards) {
    const found = await client.get<V1ConfigMap>(pathOf(namespace, name), { signal });
    const encoded = found?.binaryData?.[shardKey];
    if (encoded === undefined) return undefined;
    shards.push({ name, bytes: Buffer.from(encoded, 'base64') });
  }
  const decoded = await decodeBundle(head, shards);
  return decoded.ok ? decoded.bundle : undefined;
}

/** Why a reader has no bundle, or an outdated one. */
export type BundleTrouble =
  /** There is no head. */
  | 'Missing'
  /** The head, a shard or the bundle is invalid. */
  | 'Invalid'
  /** The head changed but is not newer, although it is the same object: it was restored or forged. */
  | 'OlderRevision';

/** The options for following a bundle. */
export interface WatchBundleOptions extends BundleLocation {
  readonly client: ApiClient;
  /** Called only with complete, valid bundles, each newer than the last unless the head was created again. */
  readonly onBundle: (bundle: RoutingBundle) => void;
  /** Called when the trouble changes; undefined when it is over. The last bundle stays in use. */
  readonly onTrouble: (reason: BundleTrouble | undefined, message: string) => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly random: () => number;
}

/** Enough for the longest table and the one before it, in Base64. */
const maxWatchedBytes = 64 * 1024 * 1024;
/** How long nothing is read after a table whose content was refused. */
const refusalPauseMs = 1_000;

/** Follows the published bundle. It validates everything that it hands out. */
export function watchBundle(options: WatchBundleOptions): Reflector<V1ConfigMap> {
  const { client, namespace, name, signal } = options;
  const log = options.log.child({ bundle: `${namespace}/${name}` });
  const headKey = `${namespace}/${name}`;
  let accepted: { uid: string; head: BundleHead } | undefined;
  /** The last head whose content was refused. It is not read again. */
  let refused: { readonly sha256: string; readonly message: string } | undefined;
  let trouble: string | undefined;
  let assembling: Promise<void> = Promise.resolve();
  let wanted = false;

  function report(reason: BundleTrouble | undefined, message: string) {
    const next = reason && `${reason}: ${message}`;
    if (next === trouble) return;
    trouble = next;
    const inUse = accepted?.head.revision;
    if (reason)
      log.warn('the published routing table is not usable; keeping the last good one', { reason, message, inUse });
    options.onTrouble(reason, message);
  }

  /** Assemblies run one at a time. Events during an assembly share the next one. */
  function assembleSoon() {
    if (wanted) return;
    wanted = true;
    assembling = assembling
      .then(() => {
        wanted = false;
        return signal.aborted ? undefined : assemble();
      })
      .catch((error: unknown) => log.error('the routing table could not be taken over', { error }));
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
      // Each revision has one table: another table with the same number is not newer.
      if (head.revision <= accepted.head.revision) {
        return report('OlderRevision', `revision ${head.revision} after ${accepted.head.revision}`);
      }
    }
    if (refused?.sha256 === head.sha256) return report('Invalid', refused.message);
    const shards: BundleShard[] = [];
    for (const reference of head.shards) {
      const content = items.get(`${namespace}/${reference.name}`)?.binaryData?.[shardKey];
      if (content !== undefined) shards.push({ name: reference.name, bytes: Buffer.from(content, 'base64') });
    }
    const decoded = await decodeBundle(head, shards);
    if (signal.aborted) return;
    if (!decoded.ok) {
      const message = `revision ${head.revision}: ${decoded.reason}`;
      report('Invalid', message);
      if (decoded.isWhole !== true) return;
      refused = { sha256: head.sha256, message };
      // Reading costs time, so a writer that publishes such tables one after another gets no more of it.
      await options.clock.sleep(refusalPauseMs, signal);
      return;
    }
    accepted = { uid, head };
    report(undefined, '');
    options.onBundle(decoded.bundle);
  }

  const reflector: Reflector<V1ConfigMap> = startReflector<V1ConfigMap>({
    client,
    path: collectionOf(namespace),
    labelSelector: `${tableLabel}=${name}`,
    // During the first list, a head may arrive before its shards.
    onChange: (event) => {
      if (event.type === 'Synced' || reflector.synced) assembleSoon();
    },
    clock: options.clock,
    log: options.log,
    signal,
    random: options.random,
    // Shards are large, so pages are small.
    pageSize: 20,
    maxBytes: maxWatchedBytes,
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
    binaryData: { [shardKey]: Buffer.from(shard.bytes).toString('base64') },
  };
  const create = () => client.create(collectionOf(namespace), object, { signal });
  try {
    await create();
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 409) throw error;
    // The name is a hash of the content, so an existing shard is an earlier one of ours, unless it was tampered with.
    const existing = await client.get<V1ConfigMap>(pathOf(namespace, shard.name), { signal });
    const content = Buffer.from(existing?.binaryData?.[shardKey] ?? '', 'base64');
    const labelled = existing?.metadata?.labels?.[tableLabel] === name;
    if (labelled && hashOf(content) === hashOf(shard.bytes)) return;
    await client.delete(pathOf(namespace, shard.name), { signal });
    await create();
  }
}

/** Shards that cannot be listed are not deleted. That does not prevent publishing. */
function ignoreApiError(error: unknown): string[] {
  if (error instanceof ApiError) return [];
  throw error;
}

/** Returns the names of those that could not be deleted. */
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
  return { ...managedBy, [tableLabel]: name };
}

function collectionOf(namespace: string): string {
  return `/api/v1/namespaces/${namespace}/configmaps`;
}

function pathOf(namespace: string, name: string): string {
  return `${collectionOf(namespace)}/${name}`;
}
