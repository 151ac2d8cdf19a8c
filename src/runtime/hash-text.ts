import { createHash } from 'node:crypto';

/**
 * A hash of 16 characters, short enough to keep many. Different texts have different hashes for all practical purposes.
 */
export function hashText(text: string): string {
  return createHash('sha256').update(text).digest('base64').slice(0, 16);
}
