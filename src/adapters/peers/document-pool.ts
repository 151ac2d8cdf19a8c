import { createHash } from 'node:crypto';
import type { PeerDocuments } from '../../domain/assess-peer.ts';
import type { GroupDiscovery, ResourceDiscovery, VersionDiscovery } from '../../domain/discovery-document.ts';

/** Makes equal parts of documents one object while anything uses them. */
export interface DocumentPool {
  /** The document that an equal text was parsed to, perhaps another peer's. Undefined if nothing uses it any more. */
  recall(textHash: string): ReadDocument | undefined;
  remember(textHash: string, form: PeerDocuments['form'], groups: readonly GroupDiscovery[]): void;
  /** The same document, built from objects that other documents share. */
  share(groups: readonly GroupDiscovery[]): readonly GroupDiscovery[];
  /** A hash of the groups' content, whatever objects they consist of. */
  hashOf(groups: readonly GroupDiscovery[]): string;
  /** Number of known parts, including those that nothing uses any more. */
  readonly size: number;
}

interface ReadDocument {
  readonly form: PeerDocuments['form'];
  readonly groups: readonly GroupDiscovery[];
}

/** Unused parts are collected whenever there are twice as many as after the last time. */
const firstSweepAt = 10_000;

/**
 * Opens a pool. 100 servers with one document cost little more than one server.
 *
 * It saves memory and comparisons: merging code can tell equal parts by identity. Resources are identified by their
 * text, and everything above by the numbers of its parts.
 */
export function createDocumentPool(): DocumentPool {
  const parts = new Map<string, WeakRef<object>>();
  const numbers = new WeakMap<object, number>();
  const texts = new Map<
    string,
    { readonly form: PeerDocuments['form']; readonly groups: WeakRef<readonly GroupDiscovery[]> }
  >();
  const hashes = new WeakMap<readonly GroupDiscovery[], string>();
  let next = 1;
  let sweepAt = firstSweepAt;

  function intern<Part extends object>(key: string, part: Part): Part {
    const known = parts.get(key)?.deref() as Part | undefined;
    if (known !== undefined) return known;
    if (parts.size >= sweepAt) sweep();
    parts.set(key, new WeakRef(part));
    numbers.set(part, next++);
    return part;
  }

  function sweep(): void {
    for (const [key, part] of parts) if (part.deref() === undefined) parts.delete(key);
    for (const [key, { groups }] of texts) if (groups.deref() === undefined) texts.delete(key);
    sweepAt = Math.max(firstSweepAt, 2 * parts.size);
  }

  /** An absent list differs from an empty one. */
  function keyOf(list: readonly object[] | undefined): string {
    return list === undefined ? '-' : list.map((part) => numbers.get(part)).join();
  }

  function shareResource(resource: ResourceDiscovery): ResourceDiscovery {
    return intern(`resource ${JSON.stringify(resource)}`, resource);
  }

  function shareVersion(version: VersionDiscovery): VersionDiscovery {
    const { resources, ...fields } = version;
    const shared = resources?.map(shareResource);
    const key = `version ${JSON.stringify(fields)} ${keyOf(shared)}`;
    return intern(key, shared === undefined ? version : { ...fields, resources: shared });
  }

  function shareGroup(group: GroupDiscovery): GroupDiscovery {
    const { versions, ...fields } = group;
    const shared = versions?.map(shareVersion);
    const key = `group ${JSON.stringify(fields)} ${keyOf(shared)}`;
    return intern(key, shared === undefined ? group : { ...fields, versions: shared });
  }

  function share(groups: readonly GroupDiscovery[]): readonly GroupDiscovery[] {
    const shared = groups.map(shareGroup);
    return intern(`list ${keyOf(shared)}`, shared);
  }

  return {
    recall(textHash) {
      const text = texts.get(textHash);
      const groups = text?.groups.deref();
      return text === undefined || groups === undefined ? undefined : { form: text.form, groups };
    },
    remember(textHash, form, groups) {
      texts.set(textHash, { form, groups: new WeakRef(groups) });
    },
    share,
    hashOf(groups) {
      const hash = hashes.get(groups) ?? createHash('sha256').update(JSON.stringify(groups)).digest('hex');
      hashes.set(groups, hash);
      return hash;
    },
    get size() {
      return parts.size;
    },
  };
}
