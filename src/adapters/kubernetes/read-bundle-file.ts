import { readFile, stat } from 'node:fs/promises';
import { messageOf } from '../../runtime/message-of.ts';
import { type DecodedBundle, maxBundleBytes, unpackBundle } from './bundle-codec.ts';

/**
 * Reads the bundle of a mounted or exported file, as JSON or gzipped JSON. An unreadable file is a reason, not an
 * exception.
 */
export async function readBundleFile(path: string): Promise<DecodedBundle> {
  try {
    const { size } = await stat(path);
    if (size > maxBundleBytes) return { ok: false, reason: `${path} is longer than ${maxBundleBytes} bytes` };
    const decoded = await unpackBundle(await readFile(path));
    return decoded.ok ? decoded : { ok: false, reason: `${path}: ${decoded.reason}` };
  } catch (error) {
    return { ok: false, reason: messageOf(error) };
  }
}
