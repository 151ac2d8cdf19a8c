/**
 * Code length in bits of each byte and, last, of EOS: digit `a` means 5. In RFC 7541, appendix B, codes are ordered
 * by length, then by byte, so the lengths determine the codes.
 */
const lengths =
  'isxxxxxxxtzxxzxxxxxxxxzxxxxxxxxxbffhibdgffdgdbbbaaabbbbbbbcdkbhfibccccccccccccccccccccccdcdioijbkabababbbaccbbbabcbaabccccckgj' +
  'ixprpprrrsrssssststtrstssssqrsrsstrqprrssqsrrtqrssqqrqsrssprrrsrrsvvporsruvvvwwvtuoqvwwvwtqqvvxwwwptpqrqqsrruuttvsvwvvwwwwwxwwwwwvz';
const endMark = 256;

/** Flag of a step that completes a byte. */
const emits = 1 << 16;
const fails = 1 << 17;

interface DecodingTables {
  /** The next step for each state and each nibble: `state | byte << 8 | flags`. */
  readonly steps: Readonly<Uint32Array>;
  /** States in which text may end: after a whole byte, or within up to seven bits of padding, which are all ones. */
  readonly mayEnd: Readonly<Uint8Array>;
}

/** Each node of the code tree has two branches: a further node, or a byte as a negative number. */
type Tree = [number, number][];

function plantTree(): Tree {
  const tree: Tree = [[0, 0]];
  const order = [...lengths].map((letter, symbol) => ({ symbol, length: letter.charCodeAt(0) - 0x61 + 5 }));
  order.sort((one, other) => one.length - other.length || one.symbol - other.symbol);
  let code = 0;
  let before = 0;
  for (const { symbol, length } of order) {
    code <<= length - before;
    before = length;
    let node = 0;
    for (let bit = length - 1; bit > 0; bit--) {
      const side = (code >> bit) & 1;
      const branch = tree[node] ?? [0, 0];
      if (branch[side] === 0) branch[side] = tree.push([0, 0]) - 1;
      node = branch[side] ?? 0;
    }
    const branch = tree[node] ?? [0, 0];
    branch[code & 1] = -1 - symbol;
    code++;
  }
  return tree;
}

function buildTables(): DecodingTables {
  const tree = plantTree();
  const steps = new Uint32Array(256 * 16);
  const mayEnd = new Uint8Array(256);
  for (let state = 0; state < tree.length; state++)
    for (let half = 0; half < 16; half++) {
      let node = state;
      let step = 0;
      for (let bit = 3; bit >= 0; bit--) {
        const next = tree[node]?.[(half >> bit) & 1] ?? 0;
        if (next >= 0) node = next;
        else {
          const symbol = -1 - next;
          step = symbol === endMark ? fails : step | emits | (symbol << 8);
          node = 0;
          if (symbol === endMark) break;
        }
      }
      steps[state * 16 + half] = step | node;
    }
  let node = 0;
  for (let depth = 0; depth < 8; depth++) {
    mayEnd[node] = 1;
    node = tree[node]?.[1] ?? 0;
  }
  return { steps, mayEnd };
}

const { steps, mayEnd } = buildTables();

/** Decodes Huffman-coded text, as latin1; undefined if the bytes are not valid code. */
export function decodeHuffman(bytes: Buffer, from: number, to: number): string | undefined {
  // The shortest code has 5 bits.
  const most = Math.ceil(((to - from) * 8) / 5);
  const into = Buffer.allocUnsafe(most);
  let state = 0;
  let size = 0;
  for (let at = from; at < to; at++) {
    const byte = bytes[at] ?? 0;
    const high = steps[state * 16 + (byte >> 4)] ?? fails;
    if ((high & emits) !== 0) into[size++] = (high >> 8) & 0xff;
    const low = steps[(high & 0xff) * 16 + (byte & 15)] ?? fails;
    if ((low & emits) !== 0) into[size++] = (low >> 8) & 0xff;
    if (((high | low) & fails) !== 0) return undefined;
    state = low & 0xff;
  }
  return mayEnd[state] === 1 ? into.toString('latin1', 0, size) : undefined;
}
