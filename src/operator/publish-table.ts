import type { PeerObservation } from '../domain/assess-peer.ts';
import type { UnifiedView } from '../domain/derive-bundle.ts';
import type { GroupDiscovery } from '../domain/discovery-document.ts';
import type { RememberedVerdicts } from '../domain/judge-fields.ts';
import { parseDiscoveryList } from '../domain/parse-discovery.ts';
import { rememberPeers } from '../domain/remember-peers.ts';
import { rememberVerdicts } from '../domain/remember-verdicts.ts';
import type { RoutingBundle, RoutingTable, TableLocation } from '../domain/routing-table.ts';
import { sameValue } from '../domain/same-value.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import { messageOf } from '../runtime/message-of.ts';
import type { Trouble } from './derive-status.ts';
import type { EncodedDocument } from './encode-documents.ts';
import { type BundleStore, TerminalError } from './ports.ts';

/** The state of the published table. */
export interface Publication {
  /** The highest revision ever seen, from any writer; undefined before the first read. */
  readonly highest?: number | undefined;
  /** True if another writer has written since, so that the highest revision must be read again. */
  readonly overtaken: boolean;
  /** The content that this publisher itself has published. */
  readonly published?: (Content & { readonly revision: number; readonly hash: string }) | undefined;
  /** The content of the last attempt, whether or not it succeeded. */
  readonly wanted?: UnifiedView | undefined;
  /** Why it cannot be published or read. */
  readonly failed?: Trouble | undefined;
  /** Why it cannot be confirmed. */
  readonly unconfirmed?: Trouble | undefined;
  readonly confirmedAt: number;
  /** An earlier leader's verdicts on fields. */
  readonly remembered?: RememberedVerdicts | undefined;
}

/** Nothing is known yet. */
export const unreadPublication: Readonly<Publication> = { overtaken: false, confirmedAt: 0 };

/** The dependencies of publishing. */
export interface PublisherContext {
  /** Name of the PeerDiscovery. */
  readonly owner: string;
  /** The location in the table's text; the same as where `bundles` stores it. */
  readonly location: TableLocation;
  readonly bundles: BundleStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly encode: (groups: readonly GroupDiscovery[]) => EncodedDocument;
}

/** A table without its revision, with its documents. */
interface Content {
  readonly table: Omit<RoutingTable, 'revision'>;
  readonly apis: EncodedDocument;
  readonly api: EncodedDocument;
}

/** Why the operator cannot publish or confirm. */
export function publicationTrouble({ failed, unconfirmed }: Publication): Trouble | undefined {
  return failed ?? unconfirmed;
}

/**
 * Reads once the content that an earlier leader published, and its servers. `known` is undefined if that cannot be read
 * now; then nothing may replace it.
 */
export async function recallPublication(
  before: Publication,
  { bundles, log }: Pick<PublisherContext, 'bundles' | 'log'>,
  now: number,
): Promise<{ readonly publication: Publication; readonly known?: ReadonlyMap<string, PeerObservation> }> {
  if (before.highest !== undefined) return { publication: before, known: new Map() };
  try {
    const found = await bundles.read();
    const publication = { ...before, highest: found.revision };
    if (found.bundle === undefined) return { publication, known: new Map() };
    const { table, apis, api } = found.bundle;
    const known = rememberPeers({ table, apis: parse(apis), api: parse(api) }, now);
    return { publication: { ...publication, remembered: rememberVerdicts(table) }, known };
  } catch (error) {
    const failed = explain(before.failed, 'PublishFailed', error, 'cannot read the published routing table', log);
    return { publication: { ...before, failed } };
  }
}

/** The content to publish; undefined if it is already published. */
function contentToPublish(
  { published }: Publication,
  unified: UnifiedView,
  { owner, location, encode }: Pick<PublisherContext, 'owner' | 'location' | 'encode'>,
): Content | undefined {
  const { mode, fieldSkew, serverName, peers, groupVersions, doubts } = unified;
  const complete = doubts.length === 0;
  const content: Content = {
    table: {
      apiVersion: 'peerdiscovery.dev/v1alpha1',
      kind: 'RoutingTable',
      owner,
      location,
      mode,
      fieldSkew,
      serverName,
      complete,
      doubts,
      peers,
      groupVersions,
    },
    apis: encode(unified.apis),
    api: encode(unified.api),
  };
  return published !== undefined && sameContent(published, content) ? undefined : content;
}

/**
 * Publishes the wanted content unless it is published already. A failure is a value, and the next call tries again.
 *
 * Each revision follows the highest one ever seen, from any writer and whatever became of it.
 */
export async function publish(
  before: Publication,
  unified: UnifiedView,
  context: PublisherContext,
): Promise<Publication> {
  const content = contentToPublish(before, unified, context);
  const wanted = { ...before, wanted: unified, failed: undefined };
  if (content === undefined) return wanted;
  try {
    const latest = await readHighest(wanted, context.bundles);
    const next = (latest.highest ?? 0) + 1;
    const outcome = await context.bundles.publish(bundleOf(content, next));
    if (outcome !== undefined) {
      const error = new Error(`another writer has published revision ${outcome.overtakenBy ?? 'meanwhile'}`);
      // Another writer's table is there now, so this publisher's earlier one no longer counts as published.
      return { ...blame(latest, before.failed, error, context.log), overtaken: true, published: undefined };
    }
    const { complete, peers } = content.table;
    context.log.info('published the routing table', { revision: next, complete, peers: peers.length });
    return {
      ...latest,
      highest: next,
      published: { ...content, revision: next, hash: content.apis.etag.slice(0, 16) },
    };
  } catch (error) {
    return blame(wanted, before.failed, error, context.log);
  }
}

/** True if it is time to confirm the table to proxies. */
export function isConfirmationDue({ confirmedAt }: Publication, everyMs: number, now: number): boolean {
  return now - confirmedAt >= everyMs;
}

/**
 * Confirms the table to proxies, and answers their questions. Writes the table again if it was deleted or replaced.
 * Confirms nothing while a table could not be published.
 */
export async function confirm(
  before: Publication,
  questions: readonly string[],
  context: PublisherContext,
): Promise<Publication> {
  const { published, failed, wanted } = before;
  if (failed !== undefined || published === undefined) return before;
  const { bundles, clock, log } = context;
  const at = clock.now();
  const { revision } = published;
  try {
    if (await bundles.confirm(revision, questions)) return { ...before, confirmedAt: at, unconfirmed: undefined };
  } catch (error) {
    const what = 'cannot confirm the routing table';
    return { ...before, unconfirmed: explain(before.unconfirmed, 'ConfirmFailed', error, what, log) };
  }
  if (wanted === undefined) return { ...before, unconfirmed: undefined };
  log.warn('the routing table was deleted or replaced; writing it again', { revision });
  // An old table may have been restored, or another writer may have written one. The next revision is higher than any
  // of them.
  return publish({ ...before, overtaken: true, published: undefined, unconfirmed: undefined }, wanted, context);
}

async function readHighest(before: Publication, bundles: BundleStore): Promise<Publication> {
  if (before.highest !== undefined && !before.overtaken) return before;
  const { revision } = await bundles.read();
  return { ...before, highest: Math.max(before.highest ?? 0, revision), overtaken: false };
}

function bundleOf({ table, apis, api }: Content, revision: number): RoutingBundle {
  return { table: { ...table, revision }, apis: apis.text, apisEtag: apis.etag, api: api.text, apiEtag: api.etag };
}

function blame(publication: Publication, before: Trouble | undefined, error: unknown, log: Log): Publication {
  return {
    ...publication,
    failed: explain(before, 'PublishFailed', error, 'cannot write the routing table', log),
  };
}

/** Repetitions are not logged. */
function explain(before: Trouble | undefined, reason: string, error: unknown, what: string, log: Log): Trouble {
  const after =
    error instanceof TerminalError
      ? { reason: error.reason, message: error.message, terminal: true }
      : { reason, message: `${what}: ${messageOf(error)}` };
  if (after.message !== before?.message) log.warn(what, { error });
  return after;
}

function parse(text: string): readonly GroupDiscovery[] {
  return parseDiscoveryList(JSON.parse(text));
}

/** Compares documents by ETag. Rows that did not change are the same objects. */
function sameContent(a: Content, b: Content): boolean {
  return a.apis.etag === b.apis.etag && a.api.etag === b.api.etag && sameValue(a.table, b.table);
}
