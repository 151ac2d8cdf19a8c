import { createHash } from 'node:crypto';

/**
 * The source expression by which a Content-Security-Policy permits exactly this inline text. Source: Content Security
 * Policy Level 3, section 2.3.1.
 */
export function sourceHash(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}
