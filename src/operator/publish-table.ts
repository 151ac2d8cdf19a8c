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
import type { Trouble } from './derive-status.ts';
import type { EncodedDocument } from './encode-documents.ts';
import { type BundleStore, TerminalError } from './ports.ts';

/** What is known of the published table. */
export interface Publication {
  /** The highest revision that was ever seen, whoever wrote it; undefined before anything was read. */
  readonly highest?: number | undefined;
  /** True if somebody else has written since: the highest revision is to be read again. */
  readonly overtaken: boolean;
  /** What is there and is this publisher's own. */
  readonly published?: (Content & { readonly revision: number; readonly hash: string }) | undefined;
  /** What was to be published last, whether that succeeded or not. */
  readonly wanted?: UnifiedView | undefined;
  /** What keeps it from being published or read. */
  readonly failed?: Trouble | undefined;
  /** What keeps it from being confirmed. */
  readonly unconfirmed?: Trouble | undefined;
  readonly confirmedAt: number;
  /** What an earlier leader found of fields. */
  readonly remembered?: RememberedVerdicts | undefined;
}

/** Nothing is known yet. */
export const unreadPublication: Publication = { overtaken: false, confirmedAt: 0 };

/** Everything that publishing depends on. */
export interface PublisherContext {
  /** Name of the PeerDiscovery. */
  readonly owner: string;
  /** What the table says of where it is kept; the same as where `bundles` keep it. */
  readonly location: TableLocation;
  readonly bundles: BundleStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly encode: (groups: readonly GroupDiscovery[]) => EncodedDocument;
}

/** A table but for its revision, with its documents. */
interface Content {
  readonly table: Omit<RoutingTable, 'revision'>;
  readonly apis: EncodedDocument;
  readonly api: EncodedDocument;
}

/** What keeps the operator from publishing or confirming. */
export function publicationTrouble({ failed, unconfirmed }: Publication): Trouble | undefined {
  return failed ?? unconfirmed;
}

/**
 * Learns once what an earlier leader published, and of which servers; `known` is undefined if that cannot be read now,
 * and then nothing may replace it.
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
    const failed = explain(before.failed, 'PublishFailed', error, 'what is published cannot be read', log);
    return { publication: { ...before, failed } };
  }
}

/** The content to publish, undefined if that is what is published. */
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
 * Publishes what is wanted unless it is published already. A failure is a value, and the next call tries again.
 *
 * Revisions follow on the highest that was ever seen, whoever wrote it and whatever became of it.
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
      // What is there now is somebody else's, so that not even what was published before may be taken for it.
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

/** True if proxies are to be told by now that the table holds. */
export function isConfirmationDue({ confirmedAt }: Publication, everyMs: number, now: number): boolean {
  return now - confirmedAt >= everyMs;
}

/**
 * Tells proxies that the table holds, and which of their questions that answers; writes it again if somebody has
 * deleted or replaced it. Tells nobody while a table could not be published.
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
    const what = 'the routing table cannot be confirmed';
    return { ...before, unconfirmed: explain(before.unconfirmed, 'ConfirmFailed', error, what, log) };
  }
  if (wanted === undefined) return { ...before, unconfirmed: undefined };
  log.warn('the routing table was deleted or replaced; it is written again', { revision });
  // Somebody may have put back an old one, or one of another writer: whatever is there, the next one is newer.
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
    failed: explain(before, 'PublishFailed', error, 'the routing table cannot be written', log),
  };
}

/** Repetitions are not logged. */
function explain(before: Trouble | undefined, reason: string, error: unknown, what: string, log: Log): Trouble {
  const after =
    error instanceof TerminalError
      ? { reason: error.reason, message: error.message, terminal: true }
      : { reason, message: `${what}: ${error instanceof Error ? error.message : String(error)}` };
  if (after.message !== before?.message) log.warn(what, { error });
  return after;
}

function parse(text: string): readonly GroupDiscovery[] {
  return parseDiscoveryList(JSON.parse(text));
}

/** Documents are compared by their ETags; rows that nobody changed are the same objects. */
function sameContent(a: Content, b: Content): boolean {
  return a.apis.etag === b.apis.etag && a.api.etag === b.api.etag && sameValue(a.table, b.table);
}
