/** Thrown for bytes that are not a protobuf message. */
export class InvalidProtobufError extends Error {
  override readonly name = 'InvalidProtobufError';
}

/** Ten times the paths or kinds of an OpenAPI document with 5,000 kinds of custom resources. */
const maxFields = 250_000;

/** One field of a message. */
export interface Field {
  readonly id: number;
  /** The whole field, tag included. */
  readonly whole: Uint8Array;
  /** The value of wire type 2; undefined for other types. */
  readonly value: Uint8Array | undefined;
}

/**
 * Splits a message into its fields, up to a maximum. Source: the wire format of protocol buffers.
 * @throws InvalidProtobufError
 */
export function readFields(bytes: Uint8Array): Field[] {
  const fields: Field[] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    // Ten bytes at most. Negative numbers have that many.
    for (let factor = 1; factor < 2 ** 70; factor *= 128) {
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
    if (fields.length >= maxFields) throw new InvalidProtobufError(`a message has more than ${maxFields} fields`);
    fields.push({ id: Math.floor(tag / 8), whole: bytes.subarray(start, at), value });
  }
  return fields;
}
