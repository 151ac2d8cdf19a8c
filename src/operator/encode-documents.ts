import type { GroupDiscovery } from '../domain/discovery-document.ts';
import { encodeGroup, joinGroups } from '../domain/encode-discovery.ts';
import { etagOf } from '../runtime/discovery-etag.ts';

/** A unified document in its served form, and its ETag without quotes. */
export interface EncodedDocument {
  readonly text: string;
  readonly etag: string;
}

/** Encodes documents. It does not encode a group or list again if it is the same object as before. */
export function createDocumentEncoder(): (groups: readonly GroupDiscovery[]) => EncodedDocument {
  const texts = new WeakMap<GroupDiscovery, string>();
  const documents = new WeakMap<readonly GroupDiscovery[], EncodedDocument>();
  const textOf = (group: GroupDiscovery): string => {
    const text = texts.get(group) ?? encodeGroup(group);
    texts.set(group, text);
    return text;
  };
  return (groups) => {
    const known = documents.get(groups);
    if (known !== undefined) return known;
    const parts = groups.map(textOf);
    const text = joinGroups(parts, { typeMeta: true });
    const document = { text, etag: etagOf(joinGroups(parts, { typeMeta: false })) };
    documents.set(groups, document);
    return document;
  };
}
