import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import { describeStructureFault } from '../../api/routing-bundle-schema.ts';
import { findJsonExcess, type JsonBounds } from '../../domain/count-json.ts';
import type { RoutingBundle } from '../../domain/routing-table.ts';
import { type PackedBundle, packBundle, unpackPeerSets } from './pack-bundle.ts';

const gzipAsync = promisify(gzip);
const gunzipAsync = promisify(gunzip);

/** The format of heads and shards. A reader refuses any other. */
export const bundleFormat = 'peerdiscovery.dev/routing-bundle.v1';

/** Maximum length of a shard. In base64 it stays well below etcd's limit of 1.5 MiB per object. */
const defaultShardBytes = 512 * 1024;

/** Maximum length of an unpacked bundle: 50,000 resources with their subresources take 30 MB. */
export const maxBundleBytes = 64 * 1024 * 1024;
/** Maximum length of all shards together: the same 50,000 take 1.5 MB. */
const maxPackedBytes = 16 * 1024 * 1024;
/**
 * Limits of a bundle's content. The same 50,000 resources take half a million objects and lists. Member names are those
 * of the format, and of subresources.
 */
const bundleBounds: Readonly<JsonBounds> = { maxContainers: 1_000_000, maxCommas: 3_000_000, maxNames: 20_000 };

/** One piece of a compressed bundle. */
export interface BundleShard {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** A head's reference to a shard. */
export interface ShardReference {
  readonly name: string;
  /** Lower-case hexadecimal SHA-256 of the piece. */
  readonly sha256: string;
}

/** The part of a published bundle that puts the shards into effect. */
export interface BundleHead {
  readonly format: typeof bundleFormat;
  readonly revision: number;
  /** Lower-case hexadecimal SHA-256 of all shards together. */
  readonly sha256: string;
  readonly shards: readonly ShardReference[];
}

/** A bundle ready to be stored. */
export interface EncodedBundle {
  readonly head: BundleHead;
  readonly shards: readonly BundleShard[];
}

/** A complete, validated bundle, or why there is none. */
export type DecodedBundle =
  | { readonly ok: true; readonly bundle: RoutingBundle }
  | { readonly ok: false; readonly reason: string; readonly isWhole?: boolean };

/**
 * Cuts a bundle into content-addressed shards: equal bundles give equal shards with equal names.
 * @throws Error for a bundle that no reader would take
 */
export async function encodeBundle(
  name: string,
  bundle: RoutingBundle,
  maxShardBytes = defaultShardBytes,
): Promise<EncodedBundle> {
  const text = Buffer.from(JSON.stringify(packBundle(bundle)));
  const excess = findExcess(text, maxBundleBytes);
  if (excess !== undefined) throw new Error(`the routing table is too large: ${excess}`);
  const compressed = await gzipAsync(text);
  const sha256 = hashOf(compressed);
  const shards: BundleShard[] = [];
  for (let start = 0; start < compressed.length; start += maxShardBytes) {
    const bytes = compressed.subarray(start, start + maxShardBytes);
    shards.push({ name: `${name}-${sha256.slice(0, 10)}-${shards.length}`, bytes });
  }
  const references = shards.map((shard) => ({ name: shard.name, sha256: hashOf(shard.bytes) }));
  return { head: { format: bundleFormat, revision: bundle.table.revision, sha256, shards: references }, shards };
}

/**
 * Decodes the bundle. Succeeds only if every checksum, size and field is right. `isWhole` says that the shards have
 * their checksums: the same head will never give more.
 */
export async function decodeBundle(head: BundleHead, shards: readonly BundleShard[]): Promise<DecodedBundle> {
  const byName = new Map(shards.map((shard) => [shard.name, shard.bytes]));
  const parts: Uint8Array[] = [];
  let length = 0;
  for (const { name, sha256 } of head.shards) {
    const bytes = byName.get(name);
    if (!bytes) return { ok: false, reason: `shard ${name} is missing` };
    // Before anything is hashed: a head may name one shard thousands of times.
    length += bytes.length;
    if (length > maxPackedBytes) return { ok: false, reason: `its shards are longer than ${maxPackedBytes} bytes` };
    if (hashOf(bytes) !== sha256) return { ok: false, reason: `shard ${name} does not match its checksum` };
    parts.push(bytes);
  }
  const compressed = Buffer.concat(parts);
  if (hashOf(compressed) !== head.sha256)
    return { ok: false, reason: 'the shards together do not match their checksum' };
  const decoded = await unpackBundle(compressed);
  if (!decoded.ok) return { ...decoded, isWhole: true };
  if (decoded.bundle.table.revision !== head.revision) {
    return {
      ok: false,
      reason: `the head has revision ${head.revision}, the table has revision ${decoded.bundle.table.revision}`,
    };
  }
  return decoded;
}

/** Reads the bundle from JSON text, plain or gzipped. */
export async function unpackBundle(bytes: Uint8Array, maxBytes = maxBundleBytes): Promise<DecodedBundle> {
  let text = bytes;
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) {
    try {
      text = await gunzipAsync(bytes, { maxOutputLength: maxBytes });
    } catch (error) {
      const tooLong = error instanceof RangeError;
      return { ok: false, reason: tooLong ? `it is longer than ${maxBytes} bytes` : 'it cannot be decompressed' };
    }
  }
  const excess = findExcess(text, maxBytes);
  if (excess !== undefined) return { ok: false, reason: excess };
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(text.buffer, text.byteOffset, text.byteLength).toString('utf8'));
  } catch {
    return { ok: false, reason: 'it is not JSON' };
  }
  const decoded = validateBundle(value);
  return decoded.ok ? boundDocuments(decoded) : decoded;
}

function findExcess(text: Uint8Array, maxBytes: number): string | undefined {
  return text.length > maxBytes ? `it is longer than ${maxBytes} bytes` : findJsonExcess(text, bundleBounds);
}

/** The documents are text in the bundle, so the count of the bundle's names does not cover theirs. */
function boundDocuments(decoded: Extract<DecodedBundle, { ok: true }>): DecodedBundle {
  const { apis, api } = decoded.bundle;
  for (const [name, document] of Object.entries({ apis, api })) {
    const excess = findJsonExcess(Buffer.from(document), bundleBounds);
    if (excess !== undefined) return { ok: false, reason: `${name}: ${excess}` };
  }
  return decoded;
}

/**
 * Validates the structure, and rules that a schema cannot express: indexes in range, sets ascending, doubts if and only
 * if incomplete.
 */
export function validateBundle(value: unknown): DecodedBundle {
  const fault = describeStructureFault(value);
  if (fault) return { ok: false, reason: fault };
  const packed = value as PackedBundle;
  const { table } = packed;
  if (table.complete !== (table.doubts.length === 0)) {
    return { ok: false, reason: 'table.complete must be true if and only if table.doubts is empty' };
  }
  const peerCount = table.peers.length;
  const wrong = table.peerSets.findIndex((peers) => !isPeerSet(peers, peerCount));
  if (wrong !== -1) {
    return { ok: false, reason: `table.peerSets.${wrong} must be ascending indexes below ${peerCount}` };
  }
  return unpackPeerSets(packed);
}

/** Parses a head from the data of a ConfigMap. On failure, returns the error, and the revision if it can be read. */
export function parseHead(
  data: Readonly<Record<string, string>> | undefined,
):
  | { readonly ok: true; readonly head: BundleHead }
  | { readonly ok: false; readonly reason: string; readonly revision?: number } {
  const revision = Number(data?.revision);
  const readable = Boolean(data?.revision) && Number.isSafeInteger(revision) && revision >= 0;
  const fail = (reason: string) => ({ ok: false, reason, ...(readable && { revision }) }) as const;
  if (data?.format !== bundleFormat) return fail(`format is ${JSON.stringify(data?.format)}, not ${bundleFormat}`);
  if (!readable) return fail('revision is not a whole number');
  if (!isSha256(data.sha256)) return fail('sha256 is not a SHA-256');
  let shards: unknown;
  try {
    shards = JSON.parse(data.shards ?? '');
  } catch {
    return fail('shards is not JSON');
  }
  if (!Array.isArray(shards) || shards.length === 0 || !shards.every(isShardReference)) {
    return fail('shards is not a list of names and checksums');
  }
  return { ok: true, head: { format: bundleFormat, revision, sha256: data.sha256, shards } };
}

/** The data of a head's ConfigMap. */
export function formatHead(head: BundleHead): Record<string, string> {
  return {
    format: head.format,
    revision: String(head.revision),
    sha256: head.sha256,
    shards: JSON.stringify(head.shards),
  };
}

/** Lower-case hexadecimal SHA-256. */
export function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function isPeerSet(peers: readonly number[], peerCount: number): boolean {
  let before = -1;
  for (const peer of peers) {
    if (peer <= before || peer >= peerCount) return false;
    before = peer;
  }
  return true;
}

function isSha256(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);
}

function isShardReference(value: unknown): value is ShardReference {
  if (typeof value !== 'object' || value === null) return false;
  const { name, sha256 } = value as Record<string, unknown>;
  return typeof name === 'string' && name !== '' && isSha256(sha256);
}
