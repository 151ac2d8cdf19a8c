const encoder = new TextEncoder();

/** One encoded field, or several of them in order. */
export type Part = Uint8Array;

/** Joins fields into one message. */
export function message(...parts: readonly Part[]): Part {
  let length = 0;
  for (const part of parts) length += part.length;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** A field of wire type 2: a message, bytes or text. */
export function bytesField(id: number, value: Part | string): Part {
  const bytes = typeof value === 'string' ? encoder.encode(value) : value;
  return message(varint(id * 8 + 2), varint(bytes.length), bytes);
}

/** One field for each text. */
export function textsField(id: number, values: readonly string[] | null | undefined): Part {
  return message(...(values ?? []).map((value) => bytesField(id, value)));
}

/** A field of wire type 0. */
export function numberField(id: number, value: number): Part {
  return message(varint(id * 8), varint(value));
}

function varint(value: number): Part {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
  return Uint8Array.from(bytes);
}
