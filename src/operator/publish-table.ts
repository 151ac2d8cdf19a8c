import type { PeerObservation } from '../domain/assess-peer.ts';
import type { UnifiedView } from '../domain/derive-bundle.ts';
import { parseDiscoveryList } from '../domain/parse-discovery.ts';
import { rememberPeers } from '../domain/remember-peers.ts';
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
  /** What keeps it from publishing; a failure is a value, and the next call tries again. */
  readonly trouble: Trouble | undefined;
  /** Learns once what an earlier leader published; undefined if that cannot be read now, and nothing may replace it. */
  recall(): Promise<ReadonlyMap<string, PeerObservation> | undefined>;
  publish(unified: UnifiedView): Promise<void>;
  /** Tells proxies that the table holds, if it is time to. */
  confirm(): Promise<void>;
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

/** Revisions follow on those that are there, whoever wrote them. */
export function createPublisher({ owner, bundles, confirmEveryMs, clock, log }: PublisherContext): Publisher {
  const encode = createDocumentEncoder();
  let revision: number | undefined;
  let published: (Content & { readonly revision: number; readonly hash: string }) | undefined;
  let trouble: Trouble | undefined;
  let confirmedAt = 0;

  /** Repetitions are not logged. */
  function blame(error: unknown, what: string): void {
    const before = trouble?.message;
    trouble =
      error instanceof TerminalError
        ? { reason: error.reason, message: error.message, terminal: true }
        : { reason: 'PublishFailed', message: `${what}: ${error instanceof Error ? error.message : String(error)}` };
    if (trouble.message !== before) log.warn(what, { error });
  }

  async function write(unified: UnifiedView): Promise<void> {
    const { mode, serverName, peers, groupVersions, doubts } = unified;
    const apis = encode(unified.apis);
    const api = encode(unified.api);
    const etags = `${apis.etag} ${api.etag}`;
    const content: Content = { head: JSON.stringify({ mode, serverName, peers, doubts, etags }), groupVersions };
    if (published !== undefined && sameContent(published, content)) return;
    revision ??= (await bundles.read()).revision;
    const next = revision + 1;
    const complete = doubts.length === 0;
    const table: RoutingTable = {
      apiVersion: 'peerdiscovery.dev/v1alpha1',
      kind: 'RoutingTable',
      owner,
      mode,
      revision: next,
      serverName,
      complete,
      doubts,
      peers,
      groupVersions,
    };
    const bundle = { table, apis: apis.text, apisEtag: apis.etag, api: api.text, apiEtag: api.etag };
    const overtaken = await bundles.publish(bundle);
    if (overtaken !== undefined) {
      // What is there now is somebody else's, so that not even what was published before may be taken for it.
      revision = undefined;
      published = undefined;
      throw new Error(`another writer has published revision ${overtaken.overtakenBy ?? 'meanwhile'}`);
    }
    revision = next;
    published = { ...content, revision: next, hash: apis.etag.slice(0, 16) };
    log.info('published the routing table', { revision: next, complete, peers: peers.length });
  }

  return {
    get published() {
      return published;
    },
    get trouble() {
      return trouble;
    },
    async recall() {
      if (revision !== undefined) return new Map();
      try {
        const found = await bundles.read();
        revision = found.revision;
        if (found.bundle === undefined) return new Map();
        const { table, apis, api } = found.bundle;
        const parse = (text: string) => parseDiscoveryList(JSON.parse(text));
        return rememberPeers({ table, apis: parse(apis), api: parse(api) }, clock.now());
      } catch (error) {
        blame(error, 'what is published cannot be read');
        return undefined;
      }
    },
    async publish(unified) {
      try {
        await write(unified);
        trouble = undefined;
      } catch (error) {
        blame(error, 'the routing table cannot be written');
      }
    },
    async confirm() {
      const at = clock.now();
      if (trouble !== undefined || published === undefined || at - confirmedAt < confirmEveryMs) return;
      await bundles.confirm(published.revision);
      confirmedAt = at;
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
