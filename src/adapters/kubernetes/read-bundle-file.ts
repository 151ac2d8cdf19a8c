import { readFile, stat } from 'node:fs/promises';
import { type DecodedBundle, MAX_BUNDLE_BYTES, unpackBundle } from './bundle-codec.ts';

/**
 * The bundle of a mounted or exported file, JSON or gzip of it; a file that cannot be read is a reason, not an
 * exception.
 */
export async function readBundleFile(path: string): Promise<DecodedBundle> {
  try {
    const { size } = await stat(path);
    if (size > MAX_BUNDLE_BYTES) return { ok: false, reason: `${path} is longer than ${MAX_BUNDLE_BYTES} bytes` };
    const decoded = await unpackBundle(await readFile(path));
    return decoded.ok ? decoded : { ok: false, reason: `${path}: ${decoded.reason}` };
  } catch (error) {
    return { ok: false, reason: error instanceof Error ? error.message : String(error) };
  }
}
