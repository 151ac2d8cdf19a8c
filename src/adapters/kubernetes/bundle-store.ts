import { type BundleStore, TerminalError } from '../../operator/ports.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { ApiClient } from './api-client.ts';
import { ApiError } from './api-error.ts';
import type { BundleHead } from './bundle-codec.ts';
import { type BundleLocation, hasShard, listShards, publishBundle, readBundle, readHead } from './config-map-bundle.ts';
import type { OwnerReference } from './owner-reference.ts';
import { confirmTable, ForeignLeaseError, readConfirmedRevision } from './table-lease.ts';

/** The options of a store. */
export interface BundleStoreOptions {
  readonly client: ApiClient;
  readonly location: BundleLocation;
  /** Name of the PeerDiscovery. */
  readonly owner: string;
  /** The owner that the ConfigMaps and the Lease are deleted with. */
  readonly ownerReference?: OwnerReference;
  readonly fieldManager: string;
  /** The holder that the Lease names. */
  readonly holder: string;
  /** The operator's version, written with each confirmation. */
  readonly operatorVersion?: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Interval between checks that the shards exist, unless a proxy asks. */
const checkShardsEveryMs = 15_000;

/** Keeps bundles in ConfigMaps. If waiting cannot help, it throws a `TerminalError` that says what to change. */
export function createBundleStore({
  client,
  location,
  owner,
  ownerReference,
  fieldManager,
  holder,
  operatorVersion,
  clock,
  signal,
}: BundleStoreOptions): BundleStore {
  const place = { ...location, signal };
  let published: BundleHead | undefined;
  let shardsSeenAt = 0;
  const explained = async <Result>(work: () => Promise<Result>): Promise<Result> => {
    try {
      return await work();
    } catch (error) {
      throw asTerminal(error, location);
    }
  };

  async function isThere({ revision, sha256, shards }: BundleHead, asked: readonly string[]): Promise<boolean> {
    const found = await readHead(client, place);
    if (!found.ok || found.head.revision !== revision || found.head.sha256 !== sha256) return false;
    // Without its shards, no proxy that starts can read the table. Such a proxy asks, so that it need not wait.
    if (asked.length === 0 && clock.now() - shardsSeenAt < checkShardsEveryMs) return true;
    const there = new Set(await listShards(client, place));
    for (const { name } of shards) if (!there.has(name) && !(await hasShard(client, place, name))) return false;
    shardsSeenAt = clock.now();
    return true;
  }

  return {
    read: () =>
      explained(async () => {
        const found = await readHead(client, place);
        const bundle = found.ok ? await readBundle(client, place, found.head) : undefined;
        const other = found.owner ?? bundle?.table.owner ?? owner;
        if (other !== owner) throw tableOfAnother(location, other);
        const { revision: ofHead = 0 } = found.ok ? found.head : found.reason === 'Malformed' ? found : {};
        // Even if the table was deleted, the Lease still has the last revision.
        const revision = Math.max(ofHead, await readConfirmedRevision(client, place));
        return { revision, ...(bundle !== undefined && { bundle }) };
      }),
    publish: (bundle) =>
      explained(async () => {
        const outcome = await publishBundle(client, { ...place, fieldManager, owner, ownerReference }, bundle);
        if (outcome.published) {
          published = outcome.head;
          shardsSeenAt = clock.now();
          return undefined;
        }
        published = undefined;
        if (outcome.reason === 'OfAnother') throw tableOfAnother(location, outcome.owner);
        if (outcome.reason === 'NotATable') throw notATable(location);
        return { overtakenBy: outcome.revision };
      }),
    confirm: (revision, answers = []) =>
      explained(async () => {
        if (published?.revision !== revision || !(await isThere(published, answers))) return false;
        const confirmation = { ...place, fieldManager, holder, operatorVersion, ownerReference };
        await confirmTable(client, confirmation, revision, clock.date(), answers);
        return true;
      }),
  };
}

function tableOfAnother({ namespace, name }: BundleLocation, owner: string): TerminalError {
  return new TerminalError(
    'TableOfAnother',
    `the routing table ${namespace}/${name} belongs to PeerDiscovery ${owner}: set another ` +
      `spec.routingTable.name in one of the two, or, if ${owner} no longer exists, delete the ConfigMap ${name}`,
  );
}

function notATable({ namespace, name }: BundleLocation): TerminalError {
  return new TerminalError(
    'NotATable',
    `the ConfigMap ${namespace}/${name} exists and is not a routing table: set another ` +
      'spec.routingTable.name, or delete the ConfigMap if nobody needs it',
  );
}

/** If the namespace or the rights are missing, waiting does not help. */
function asTerminal(error: unknown, { namespace, name }: BundleLocation): unknown {
  if (error instanceof ForeignLeaseError)
    return new TerminalError(
      'LeaseOfAnother',
      `the operator cannot confirm the routing table with the Lease ${namespace}/${name}: ${error.message}; ` +
        'set another spec.routingTable.name, or delete the Lease if nobody needs it',
      { cause: error },
    );
  if (!(error instanceof ApiError)) return error;
  if (error.code === 404 && error.status?.details?.kind === 'namespaces')
    return new TerminalError(
      'NamespaceMissing',
      `the namespace ${namespace} of the routing table does not exist: create it, or set spec.routingTable.namespace`,
      { cause: error },
    );
  if (error.code === 403)
    return new TerminalError(
      'Forbidden',
      `the operator may not read or write the routing table in namespace ${namespace}: ${error.message}`,
      { cause: error },
    );
  return error;
}
