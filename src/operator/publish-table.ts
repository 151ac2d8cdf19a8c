import type { PeerObservation } from '../domain/assess-peer.ts';
import type { UnifiedView } from '../domain/derive-bundle.ts';
import type { RememberedVerdicts } from '../domain/judge-fields.ts';
import { parseDiscoveryList } from '../domain/parse-discovery.ts';
import { rememberPeers } from '../domain/remember-peers.ts';
import { rememberVerdicts } from '../domain/remember-verdicts.ts';
import type { RoutingTable, TableGroupVersion } from '../domain/routing-table.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { Trouble } from './derive-status.ts';
import { createDocumentEncoder } from './encode-documents.ts';
import { type BundleStore, TerminalError } from './ports.ts';

/** Writes one routing table, whenever it changes and only then. */
export interface Publisher {
  /** What is published and is this publisher's own. */
  readonly published: { readonly revision: number; readonly hash: string } | undefined;
  /** What keeps it from publishing or confirming; a failure is a value, and the next call tries again. */
  readonly trouble: Trouble | undefined;
  /** Learns once what an earlier leader published; undefined if that cannot be read now, and nothing may replace it. */
  recall(): Promise<ReadonlyMap<string, PeerObservation> | undefined>;
  /** What that leader found of fields. */
  readonly remembered: RememberedVerdicts | undefined;
  publish(unified: UnifiedView): Promise<void>;
  /**
   * Tells proxies that the table holds, if it is time to or one of them has asked; writes it again if somebody has
   * deleted or replaced it.
   */
  confirm(questions?: readonly string[]): Promise<void>;
}

/** Everything that a publisher depends on. */
export interface PublisherContext {
  /** Name of the PeerDiscovery. */
  readonly owner: string;
  readonly bundles: BundleStore;
  readonly confirmEveryMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** What a publication says. */
interface Content {
  /** All of it but the rows, as text. */
  readonly head: string;
  readonly groupVersions: readonly TableGroupVersion[];
}

/** Revisions follow on the highest that was ever seen, whoever wrote it and whatever became of it. */
export function createPublisher({ owner, bundles, confirmEveryMs, clock, log }: PublisherContext): Publisher {
  const encode = createDocumentEncoder();
  /** The highest that was ever seen; undefined before anything was read. */
  let highest: number | undefined;
  let overtaken = false;
  let published: (Content & { readonly revision: number; readonly hash: string }) | undefined;
  let wanted: UnifiedView | undefined;
  let trouble: Trouble | undefined;
  let unconfirmed: Trouble | undefined;
  let confirmedAt = 0;
  let remembered: RememberedVerdicts | undefined;

  /** Repetitions are not logged. */
  function explain(before: Trouble | undefined, reason: string, error: unknown, what: string): Trouble {
    const after =
      error instanceof TerminalError
        ? { reason: error.reason, message: error.message, terminal: true }
        : { reason, message: `${what}: ${error instanceof Error ? error.message : String(error)}` };
    if (after.message !== before?.message) log.warn(what, { error });
    return after;
  }

  function blame(error: unknown, what: string): void {
    trouble = explain(trouble, 'PublishFailed', error, what);
  }

  async function read(): ReturnType<BundleStore['read']> {
    const found = await bundles.read();
    highest = Math.max(highest ?? 0, found.revision);
    overtaken = false;
    return found;
  }

  async function write(unified: UnifiedView): Promise<void> {
    const { mode, fieldSkew, serverName, peers, groupVersions, doubts } = unified;
    const apis = encode(unified.apis);
    const api = encode(unified.api);
    const etags = `${apis.etag} ${api.etag}`;
    const content: Content = {
      head: JSON.stringify({ mode, fieldSkew, serverName, peers, doubts, etags }),
      groupVersions,
    };
    if (published !== undefined && sameContent(published, content)) return;
    if (highest === undefined || overtaken) await read();
    const next = (highest ?? 0) + 1;
    const complete = doubts.length === 0;
    const table: RoutingTable = {
      apiVersion: 'peerdiscovery.dev/v1alpha1',
      kind: 'RoutingTable',
      owner,
      mode,
      fieldSkew,
      revision: next,
      serverName,
      complete,
      doubts,
      peers,
      groupVersions,
    };
    const bundle = { table, apis: apis.text, apisEtag: apis.etag, api: api.text, apiEtag: api.etag };
    const outcome = await bundles.publish(bundle);
    if (outcome !== undefined) {
      // What is there now is somebody else's, so that not even what was published before may be taken for it.
      overtaken = true;
      published = undefined;
      throw new Error(`another writer has published revision ${outcome.overtakenBy ?? 'meanwhile'}`);
    }
    highest = next;
    published = { ...content, revision: next, hash: apis.etag.slice(0, 16) };
    log.info('published the routing table', { revision: next, complete, peers: peers.length });
  }

  async function publish(unified: UnifiedView): Promise<void> {
    wanted = unified;
    try {
      await write(unified);
      trouble = undefined;
    } catch (error) {
      blame(error, 'the routing table cannot be written');
    }
  }

  return {
    get published() {
      return published;
    },
    get remembered() {
      return remembered;
    },
    get trouble() {
      return trouble ?? unconfirmed;
    },
    async recall() {
      if (highest !== undefined) return new Map();
      try {
        const found = await read();
        if (found.bundle === undefined) return new Map();
        const { table, apis, api } = found.bundle;
        remembered = rememberVerdicts(table);
        const parse = (text: string) => parseDiscoveryList(JSON.parse(text));
        return rememberPeers({ table, apis: parse(apis), api: parse(api) }, clock.now());
      } catch (error) {
        blame(error, 'what is published cannot be read');
        return undefined;
      }
    },
    publish,
    async confirm(questions = []) {
      const at = clock.now();
      const due = at - confirmedAt >= confirmEveryMs || questions.length > 0;
      if (trouble !== undefined || published === undefined || !due) return;
      try {
        const { revision } = published;
        if (await bundles.confirm(revision, questions)) {
          confirmedAt = at;
        } else if (wanted !== undefined) {
          log.warn('the routing table was deleted or replaced; it is written again', { revision });
          // Somebody may have put back an old one, or one of another writer: whatever is there, the next one is newer.
          overtaken = true;
          published = undefined;
          await publish(wanted);
        }
        unconfirmed = undefined;
      } catch (error) {
        unconfirmed = explain(unconfirmed, 'ConfirmFailed', error, 'the routing table cannot be confirmed');
      }
    },
  };
}

/** Rows that nobody changed are the same objects; only the others are compared word for word. */
function sameContent(a: Content, b: Content): boolean {
  return (
    a.head === b.head &&
    a.groupVersions.length === b.groupVersions.length &&
    a.groupVersions.every((row, index) => {
      const other = b.groupVersions[index];
      return row === other || JSON.stringify(row) === JSON.stringify(other);
    })
  );
}
