import { bytesField, message, type Part } from './protobuf-writer.ts';

/** Raised for bytes that are no protobuf message. */
export class InvalidProtobufError extends Error {
  override readonly name = 'InvalidProtobufError';
}

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

interface Field {
  readonly id: number;
  /** Tag included. */
  readonly whole: Uint8Array;
  /** Of wire type 2 only. */
  readonly value: Uint8Array | undefined;
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

/** Splits a message into its fields. Source: the wire format of protocol buffers. */
function readFields(bytes: Uint8Array): Field[] {
  const fields: Field[] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let factor = 1; factor < 2 ** 63; factor *= 128) {
      const byte = bytes[at++];
      if (byte === undefined) break;
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
    throw new InvalidProtobufError(`no number at byte ${at}`);
  };
  while (at < bytes.length) {
    const start = at;
    const tag = varint();
    const wireType = tag % 8;
    let value: Uint8Array | undefined;
    if (wireType === 0) varint();
    else if (wireType === 1) at += 8;
    else if (wireType === 5) at += 4;
    else if (wireType === 2) {
      const length = varint();
      value = bytes.subarray(at, at + length);
      at += length;
    } else throw new InvalidProtobufError(`wire type ${wireType} at byte ${start}`);
    if (at > bytes.length) throw new InvalidProtobufError(`a field at byte ${start} is longer than the message`);
    fields.push({ id: Math.floor(tag / 8), whole: bytes.subarray(start, at), value });
  }
  return fields;
}
