import { findJsonExcess } from './count-json.ts';

/** Thrown for a text that is not a Swagger document or exceeds the bounds. */
export class InvalidSwaggerError extends Error {
  override readonly name = 'InvalidSwaggerError';
}

/** A name and its value, as in the text. */
export interface SwaggerMember {
  /** With its quotes and escapes. */
  readonly name: Uint8Array;
  readonly value: Uint8Array;
}

/** The members of an object by name, in order. If a name occurs twice, the last one counts, as in `JSON.parse`. */
export type SwaggerMembers = Map<string, SwaggerMember>;

/** A Swagger 2.0 document, cut into pieces that a merge takes or skips as a whole. */
export interface SplitSwagger {
  readonly members: SwaggerMembers;
  /** Undefined if the document has no such object. */
  readonly paths: SwaggerMembers | undefined;
  readonly definitions: SwaggerMembers | undefined;
}

/** Ten times the largest CustomResourceDefinition that etcd takes. */
const maxPieceBytes = 16 * 1024 * 1024;
/** Limit for `paths` and for `definitions`: ten times the pieces of 5,000 kinds of custom resources. */
const maxPieces = 250_000;

const [quote, backslash, comma, colon] = [0x22, 0x5c, 0x2c, 0x3a];
const [openBrace, closeBrace, openBracket, closeBracket] = [0x7b, 0x7d, 0x5b, 0x5d];

/**
 * Cuts a document into pieces of its own bytes, and proves that each is JSON.
 *
 * It parses only one piece at a time, so it needs little memory besides the text.
 * @throws InvalidSwaggerError
 */
export function splitSwagger(text: Uint8Array): SplitSwagger {
  const excess = findJsonExcess(text);
  if (excess !== undefined) throw new InvalidSwaggerError(excess);
  const members = readMembers(text, (name) => name !== 'paths' && name !== 'definitions');
  return { members, paths: readPart(members.get('paths')), definitions: readPart(members.get('definitions')) };
}

function readPart(member: SwaggerMember | undefined): SwaggerMembers | undefined {
  if (member === undefined) return undefined;
  if (member.value[0] === openBrace) return readMembers(member.value, () => true);
  prove(member.value);
  return undefined;
}

/** Reads one object. `isPiece` selects the values that are proved to be JSON now. */
function readMembers(text: Uint8Array, isPiece: (name: string) => boolean): SwaggerMembers {
  const members: SwaggerMembers = new Map();
  let at = skipSpace(text, 0);
  const take = (byte: number) => {
    if (text[at] !== byte) throw new InvalidSwaggerError(`it is not JSON at byte ${at}`);
    at = skipSpace(text, at + 1);
  };
  take(openBrace);
  while (text[at] !== closeBrace) {
    if (members.size > 0) take(comma);
    const nameEnd = endOfString(text, at);
    const name = text.subarray(at, nameEnd);
    at = skipSpace(text, nameEnd);
    take(colon);
    const valueEnd = endOfValue(text, at);
    const value = text.subarray(at, valueEnd);
    at = skipSpace(text, valueEnd);
    const key = prove(name);
    if (typeof key !== 'string') throw new InvalidSwaggerError('a member has no name');
    if (isPiece(key)) prove(value);
    members.set(key, { name, value });
    if (members.size > maxPieces) throw new InvalidSwaggerError(`it has more than ${maxPieces} members in one object`);
  }
  take(closeBrace);
  if (at < text.length) throw new InvalidSwaggerError(`it is not JSON at byte ${at}`);
  return members;
}

/** Parses a piece; throws if it is not JSON in UTF-8. */
function prove(piece: Uint8Array): unknown {
  if (piece.length > maxPieceBytes) throw new InvalidSwaggerError(`a part of it is longer than ${maxPieceBytes} bytes`);
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(piece));
  } catch (error) {
    throw new InvalidSwaggerError('it is not JSON', { cause: error });
  }
}

function skipSpace(text: Uint8Array, from: number): number {
  let at = from;
  while (text[at] === 0x20 || text[at] === 0x0a || text[at] === 0x0d || text[at] === 0x09) at++;
  return at;
}

/** Finds the end of the value that starts here by quotes and brackets alone; the value need not be valid JSON. */
function endOfValue(text: Uint8Array, from: number): number {
  let depth = 0;
  let at = from;
  while (at < text.length) {
    const byte = text[at];
    if (byte === quote) {
      at = endOfString(text, at);
      if (depth === 0) return at;
      continue;
    }
    if (byte === openBrace || byte === openBracket) depth++;
    else if (byte === closeBrace || byte === closeBracket) {
      if (depth === 0) return at;
      depth--;
      if (depth === 0) return at + 1;
    } else if (depth === 0 && (byte === comma || byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09))
      return at;
    at++;
  }
  return at;
}

function endOfString(text: Uint8Array, from: number): number {
  if (text[from] !== quote) throw new InvalidSwaggerError(`it is not JSON at byte ${from}`);
  for (let at = from + 1; at < text.length; at++) {
    if (text[at] === backslash) at++;
    else if (text[at] === quote) return at + 1;
  }
  throw new InvalidSwaggerError('it ends in the middle of a text');
}
