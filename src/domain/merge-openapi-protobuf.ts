import { readFields } from './protobuf-reader.ts';
import { bytesField, message, type Part } from './protobuf-writer.ts';

const documentFields = { paths: 8, definitions: 9 } as const;
/** `Paths.path` and `Definitions.additional_properties` are lists of pairs, the name in field 1. */
const listFields = { [documentFields.paths]: 2, [documentFields.definitions]: 1 } as const;

/**
 * Merges OpenAPI v2 documents in protobuf as {@link mergeSwagger} does in JSON, without decoding what they describe.
 *
 * Source: `openapiv2/OpenAPIv2.proto` of google/gnostic-models: `Document.paths` 8 and `.definitions` 9, each a message
 * with a repeated pair of name 1 and value 2.
 * @throws InvalidProtobufError
 */
export function mergeSwaggerProtobuf(documents: readonly Uint8Array[]): Uint8Array {
  const [base, ...others] = documents;
  if (base === undefined) return message();
  let merged: Part = base;
  for (const other of others) merged = mergeTwo(merged, other);
  return merged;
}

function mergeTwo(base: Uint8Array, more: Uint8Array): Uint8Array {
  const additions = new Map<number, Part>();
  for (const id of [documentFields.paths, documentFields.definitions] as const) {
    const known = new Set(readPairs(base, id).map(({ name }) => name));
    const added = readPairs(more, id).filter(({ name }) => !known.has(name));
    if (added.length > 0) additions.set(id, message(...added.map(({ whole }) => whole)));
  }
  if (additions.size === 0) return base;
  const parts: Part[] = [];
  for (const { id, whole, value } of readFields(base)) {
    const addition = additions.get(id);
    additions.delete(id);
    parts.push(addition === undefined || value === undefined ? whole : bytesField(id, message(value, addition)));
  }
  for (const [id, addition] of additions) parts.push(bytesField(id, addition));
  return message(...parts);
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
