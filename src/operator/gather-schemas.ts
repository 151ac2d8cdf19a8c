import type { PeerView, UnifiedView } from '../domain/derive-bundle.ts';
import type { GatheredSchemas, SchemaKnowledge } from '../domain/judge-fields.ts';
import {
  type DefinitionDigest,
  digestDefinition,
  type NodePool,
  type OutlineNode,
  type SchemaOutline,
} from '../domain/schema-outline.ts';
import { servedMinor } from '../domain/served-version.ts';
import type { Clock } from '../runtime/clock.ts';
import type { PeerClient } from './ports.ts';

/** Reads the schemas of those group-versions that differ between servers, and no others. */
export interface SchemaGatherer {
  readonly knowledge: SchemaKnowledge;
  /** Drops documents that no server has any more, and starts to read missing ones, one after another. */
  follow(views: readonly PeerView[], unified: UnifiedView): void;
  stop(): void;
}

/** The gatherer's dependencies. */
export interface GathererContext {
  readonly client: PeerClient;
  readonly clock: Clock;
  /** Short hash of a text. */
  readonly hash: (text: string) => string;
  /** Called after every read that was possible. */
  readonly onChange: () => void;
}

/** Delay before a failed read is tried again. */
const retryMs = 30_000;

/** One document, and the servers that have it. */
interface Wanted {
  readonly groupVersion: string;
  readonly hash: string;
  /** Ready servers that have it. */
  readonly addresses: string[];
}

/** Starts empty. While all servers of a control plane have the same schemas, it reads and keeps nothing. */
export function createSchemaGatherer({ client, clock, hash, onChange }: GathererContext): SchemaGatherer {
  const stopping = new AbortController();
  const gathered = new Map<string, GatheredSchemas>();
  const triedAt = new Map<string, number>();
  const pool: NodePool = new Map();
  let wanted: ReadonlyMap<string, Wanted> = new Map();
  let reading = false;
  let revision = 0;

  const isDue = (key: string) => {
    const at = triedAt.get(key);
    return !gathered.has(key) && (at === undefined || clock.now() - at >= retryMs);
  };

  function nextDue(): readonly [string, Wanted] | undefined {
    for (const entry of wanted) if (entry[1].addresses.length > 0 && isDue(entry[0])) return entry;
    return undefined;
  }

  async function readOne(key: string, { groupVersion, hash: expected, addresses }: Wanted): Promise<boolean> {
    triedAt.set(key, clock.now());
    for (const address of addresses) {
      const outline = await client.fetchOutline(address, groupVersion, expected, pool, stopping.signal);
      if (outline === undefined) continue;
      gathered.set(key, { outline, digests: digestKinds(outline, hash) });
      triedAt.delete(key);
      return true;
    }
    return false;
  }

  async function readDue(): Promise<void> {
    let news = false;
    for (let next = nextDue(); next !== undefined; next = nextDue()) if (await readOne(...next)) news = true;
    reading = false;
    if (!news) return;
    revision += 1;
    onChange();
  }

  function forgetOthers(): void {
    const left = [...gathered.keys()].filter((key) => !wanted.has(key));
    for (const key of triedAt.keys()) if (!wanted.has(key)) triedAt.delete(key);
    if (left.length === 0) return;
    for (const key of left) gathered.delete(key);
    revision += 1;
    retainUsed(pool, gathered.values());
  }

  return {
    get knowledge() {
      return { revision, find: (groupVersion: string, of: string) => gathered.get(keyOf(groupVersion, of)) };
    },
    follow(views, unified) {
      wanted = findWanted(views, unified);
      forgetOthers();
      if (reading || stopping.signal.aborted || nextDue() === undefined) return;
      reading = true;
      readDue().catch(() => {
        reading = false;
      });
    },
    stop: () => stopping.abort(),
  };
}

function keyOf(groupVersion: string, hash: string): string {
  return `${groupVersion} ${hash}`;
}

/** Documents of the built-in group-versions whose hashes differ or whose servers serve different versions. */
function findWanted(views: readonly PeerView[], { groupVersions }: UnifiedView): ReadonlyMap<string, Wanted> {
  const peers = views.filter(({ seen, assessment }) => assessment.state !== 'Gone' && seen.schemas !== undefined);
  const wanted = new Map<string, Wanted>();
  if (new Set(peers.map(likeness)).size < 2) return wanted;
  for (const { group, version, origin } of groupVersions) {
    if (origin !== 'BuiltIn') continue;
    const groupVersion = `${group}/${version}`;
    const having = peers.filter(({ seen }) => seen.schemas?.hashes.has(groupVersion));
    if (
      new Set(having.map((view) => `${likenessOfVersion(view)} ${view.seen.schemas?.hashes.get(groupVersion)}`)).size <
      2
    )
      continue;
    for (const { seen, assessment } of having) {
      const hash = seen.schemas?.hashes.get(groupVersion) ?? '';
      const key = keyOf(groupVersion, hash);
      const entry = wanted.get(key) ?? { groupVersion, hash, addresses: [] };
      wanted.set(key, entry);
      const { address } = seen.peer;
      // A server that does not answer is not asked three more times.
      if (assessment.state === 'Ready' && address !== undefined && entry.addresses.length < 3)
        entry.addresses.push(address);
    }
  }
  return wanted;
}

function likeness(view: PeerView): string {
  return `${likenessOfVersion(view)} ${view.seen.schemas?.digest}`;
}

function likenessOfVersion({ seen }: PeerView): string {
  return `${servedMinor(seen)} ${seen.emulatedVersion}`;
}

function digestKinds(outline: SchemaOutline, hash: (text: string) => string): GatheredSchemas['digests'] {
  const digests = new Map<string, DefinitionDigest>();
  for (const [kind, definition] of outline.kinds) {
    const digest = digestDefinition(outline, definition, hash);
    if (digest !== undefined) digests.set(kind, digest);
  }
  return digests;
}

function retainUsed(pool: NodePool, kept: Iterable<GatheredSchemas>): void {
  pool.clear();
  const retain = (node: OutlineNode) => {
    if (pool.has(node.digest)) return;
    pool.set(node.digest, node);
    for (const field of node.fields.values()) retain(field);
  };
  for (const { outline } of kept) for (const node of outline.definitions.values()) retain(node);
}
