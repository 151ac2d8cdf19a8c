/** Changes one of the inputs in one to four ways: bytes, pieces, words of the target, parts of another input. */
export function mutate(inputs: readonly Buffer[], words: readonly string[], random: () => number): Buffer {
  const below = (most: number) => Math.floor(random() * most);
  const pick = <T>(list: readonly T[]) => list[below(list.length)];
  let bytes = Buffer.from(pick(inputs) ?? '');
  for (let left = 1 + below(4); left > 0; left--) {
    const at = below(bytes.length + 1);
    const end = Math.min(bytes.length, at + below(16));
    const put = (piece: Uint8Array, until = at) => Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(until)]);
    switch (below(6)) {
      case 0:
        bytes = put(Buffer.from([below(256)]), Math.min(bytes.length, at + 1));
        break;
      case 1:
        bytes = put(Buffer.alloc(0), end);
        break;
      case 2:
        bytes = put(bytes.subarray(at, end));
        break;
      case 3:
        bytes = put(Buffer.from(pick(words) ?? '', 'latin1'), random() < 0.5 ? end : at);
        break;
      case 4:
        bytes = put((pick(inputs) ?? bytes).subarray(below(20)));
        break;
      default:
        bytes = put(Buffer.from([below(256), below(256), below(4)]));
    }
  }
  return bytes.subarray(0, maxBytes);
}

const maxBytes = 8 * 1024;

/** Shrinks an input as long as the failure stays the same. */
export function shrink(input: Buffer, fails: (input: Buffer) => boolean): Buffer {
  let bytes = input;
  for (let size = Math.ceil(bytes.length / 2); size >= 1; size = Math.floor(size / 2))
    for (let at = 0; at + size <= bytes.length; ) {
      const less = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + size)]);
      if (fails(less)) bytes = less;
      else at += size;
    }
  return bytes;
}
