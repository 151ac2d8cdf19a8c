import { compareUtf8 } from './compare-utf8.ts';
import { joinBytes } from './join-bytes.ts';
import { type SplitSwagger, type SwaggerMembers, splitSwagger } from './split-swagger.ts';

/** Merges OpenAPI v2 documents of one encoding: the first, plus what only later ones have. */
export interface SwaggerMerge {
  /** Throws if the document cannot be read. That document then adds nothing to the result. */
  add(document: Uint8Array): void;
  finish(): Uint8Array<ArrayBuffer>;
}

/**
 * Merges Swagger 2.0 documents in JSON: adds the paths and definitions that only later ones have.
 *
 * It takes each definition as a whole. If two versions describe a definition differently, the first one counts. Pieces
 * keep their bytes.
 */
export function createSwaggerMerge(): SwaggerMerge {
  let merged: SplitSwagger | undefined;
  return {
    add: (document) => {
      const split = splitSwagger(document);
      merged = merged === undefined ? split : mergeTwo(merged, split);
    },
    finish: () => writeSwagger(merged ?? { members: new Map(), paths: undefined, definitions: undefined }),
  };
}

function mergeTwo(base: SplitSwagger, more: SplitSwagger): SplitSwagger {
  const members = new Map(base.members);
  for (const part of ['paths', 'definitions'] as const) {
    const member = more.members.get(part);
    if (member !== undefined && base[part] === undefined && more[part] !== undefined) members.set(part, member);
  }
  return {
    members,
    paths: mergePart(base.paths, more.paths),
    definitions: mergePart(base.definitions, more.definitions),
  };
}

/** The union, in the order in which Go writes the keys of a map. */
function mergePart(base: SwaggerMembers | undefined, more: SwaggerMembers | undefined): SwaggerMembers | undefined {
  if (base === undefined || more === undefined) return base ?? more;
  const all = [...base];
  for (const entry of more) if (!base.has(entry[0])) all.push(entry);
  return new Map(all.sort(([a], [b]) => compareUtf8(a, b)));
}

function writeSwagger({ members, paths, definitions }: SplitSwagger): Uint8Array<ArrayBuffer> {
  const encoder = new TextEncoder();
  const [open, close, colon, comma] = ['{', '}', ':', ','].map((mark) => encoder.encode(mark));
  const parts = new Map([
    ['paths', paths],
    ['definitions', definitions],
  ]);
  const pieces: (Uint8Array | undefined)[] = [];
  const write = (object: SwaggerMembers, objects: ReadonlyMap<string, SwaggerMembers | undefined>) => {
    let before = open;
    for (const [key, { name, value }] of object) {
      pieces.push(before, name, colon);
      before = comma;
      const part = objects.get(key);
      if (part === undefined) pieces.push(value);
      else write(part, new Map());
    }
    if (before === open) pieces.push(open);
    pieces.push(close);
  };
  write(members, parts);
  return joinBytes(pieces.filter((piece) => piece !== undefined));
}
