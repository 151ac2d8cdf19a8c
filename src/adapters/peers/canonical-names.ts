import { rememberFew } from '../../http2/remember-few.ts';

const known = new Map<string, string>();

/**
 * Writes names, flat and in lower case, in place as Go's `http.Header` has them: `Content-Type`.
 *
 * (`net/textproto`, `CanonicalMIMEHeaderKey`.) What a handler wrote into the map in another spelling is not to be
 * known.
 */
export function canonicalizeNames(fields: string[]): void {
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at] ?? '';
    let canonical = known.get(name);
    if (canonical === undefined) {
      canonical = name.replace(/^[a-z]|-[a-z]/g, (letter) => letter.toUpperCase());
      rememberFew(known, name, canonical);
    }
    fields[at] = canonical;
  }
}
