import { joinBytes } from './join-bytes.ts';
import type { SwaggerMerge } from './merge-swagger.ts';
import { readFields } from './protobuf-reader.ts';
import { bytesField, type Part } from './protobuf-writer.ts';

const documentFields = { paths: 8, definitions: 9 } as const;
/** `Paths.path` and `Definitions.additional_properties` are lists of pairs, the name in field 1. */
const listFields = { [documentFields.paths]: 2, [documentFields.definitions]: 1 } as const;

/**
 * Merges OpenAPI v2 documents in protobuf, as {@link createSwaggerMerge} does in JSON, without decoding the
 * descriptions.
 *
 * Source: `openapiv2/OpenAPIv2.proto` of google/gnostic-models: `Document.paths` 8 and `.definitions` 9 are messages
 * with a repeated pair of name 1 and value 2. It throws InvalidProtobufError for unreadable bytes.
 */
export function createProtobufMerge(): SwaggerMerge {
  let merged: Uint8Array | undefined;
  return {
    add: (document) => {
      if (merged === undefined) {
        // The first document is kept unchanged if it can be read.
        for (const id of [documentFields.paths, documentFields.definitions] as const) readPairs(document, id);
        merged = document;
      } else merged = mergeTwo(merged, document);
    },
    finish: () => joinBytes(merged === undefined ? [] : [merged]),
  };
}

function mergeTwo(base: Uint8Array, more: Uint8Array): Uint8Array {
  const additions = new Map<number, Part>();
  for (const id of [documentFields.paths, documentFields.definitions] as const) {
    const known = new Set(readPairs(base, id).map(({ name }) => name));
    const added = readPairs(more, id).filter(({ name }) => !known.has(name));
    if (added.length > 0) additions.set(id, joinBytes(added.map(({ whole }) => whole)));
  }
  if (additions.size === 0) return base;
  const parts: Part[] = [];
  for (const { id, whole, value } of readFields(base)) {
    const addition = additions.get(id);
    additions.delete(id);
    parts.push(addition === undefined || value === undefined ? whole : bytesField(id, joinBytes([value, addition])));
  }
  for (const [id, addition] of additions) parts.push(bytesField(id, addition));
  return joinBytes(parts);
}

function readPairs(document: Uint8Array, id: 8 | 9): { readonly name: string; readonly whole: Uint8Array }[] {
  const decoder = new TextDecoder();
  return readFields(document)
    .filter((field) => field.id === id)
    .flatMap(({ value }) => (value === undefined ? [] : readFields(value)))
    .filter((field) => field.id === listFields[id])
    .map(({ value, whole }) => {
      const name = value === undefined ? undefined : readFields(value).find((field) => field.id === 1)?.value;
      return { name: decoder.decode(name), whole };
    });
}
