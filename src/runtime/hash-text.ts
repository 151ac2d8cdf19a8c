import { createHash } from 'node:crypto';

/** Equal for equal texts, and for no others that anybody will meet; 16 characters, for keeping many. */
export function hashText(text: string): string {
  return createHash('sha256').update(text).digest('base64').slice(0, 16);
}
