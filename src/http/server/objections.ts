import { readContentLength } from '../content-length.ts';

/** The body that a head announces, or the reason to refuse the head. */
export interface HeadFacts {
  readonly objection: string | undefined;
  readonly chunked: boolean;
  /** Bytes of a body that is not chunked; 0 without one. */
  readonly length: number;
  readonly expect: string | undefined;
}

/** The parts of a request that are judged. */
interface RequestHead {
  readonly method: string;
  readonly target: string;
  readonly version: string;
  readonly rawHeaders: readonly string[];
}

/**
 * Determines a request's body length, and refuses every head that two servers could read differently.
 *
 * It requires exactly one Host, which HTTP/1.0 may omit, and a target in origin form. It refuses Transfer-Encoding on
 * HTTP/1.0, encodings other than `chunked`, Transfer-Encoding together with Content-Length, and a repeated
 * Content-Length. RFC 9112, sections 3.2 and 6.
 */
export function examineHead({ method, target, version, rawHeaders }: RequestHead): HeadFacts {
  let hosts = 0;
  let encoding: string | undefined;
  let expect: string | undefined;
  let objection: string | undefined;
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? '';
    const value = rawHeaders[at + 1] ?? '';
    // Only names of these lengths matter.
    switch (name.length) {
      case 4:
        if (name.toLowerCase() !== 'host') break;
        if (badHost.test(value)) objection = oddHost;
        hosts++;
        break;
      case 6:
        if (name.toLowerCase() === 'expect') expect = expect === undefined ? value : `${expect}, ${value}`;
        break;
      case 17:
        if (name.toLowerCase() !== 'transfer-encoding') break;
        if (encoding !== undefined) objection = 'more than one Transfer-Encoding';
        encoding = value;
        break;
      default:
    }
  }
  const length = readContentLength(rawHeaders);
  if (length === 'repeated') objection = 'more than one Content-Length';
  if (encoding !== undefined) {
    if (version !== '1.1') objection = 'Transfer-Encoding needs HTTP/1.1';
    else if (encoding.toLowerCase() !== 'chunked') objection = 'Transfer-Encoding must be chunked, once';
    else if (length !== undefined) objection = 'Content-Length and Transfer-Encoding together';
  }
  if (length === 'invalid') objection = 'an invalid Content-Length';
  if (version !== '1.1' && version !== '1.0') objection = 'unknown version of HTTP';
  // Before HTTP/1.1 there was no Host, and probes of load balancers have none.
  const isHostFine = hosts === 1 || (hosts === 0 && version === '1.0');
  objection ??= objectToLine(method, target) ?? (isHostFine ? undefined : oneHost);
  return { objection, chunked: encoding !== undefined, length: typeof length === 'number' ? length : 0, expect };
}

const oneHost = 'exactly one Host is needed';
const oddHost = 'the Host has a character that no host name has';
/**
 * Characters that no host and port contains; RFC 3986, section 3.2.2. A server's refusal of such a request looks like a
 * broken server, so the request must not reach one. The `@` of user information is refused over HTTP/2; RFC 9113,
 * section 8.3.1.
 */
const badHost = /[^\w!$%&'()*+,.:;=[\]~-]/;

/** Why a request line is refused, whatever follows it; undefined if it is not. */
export function objectToLine(method: string, target: string): string | undefined {
  if (method === 'CONNECT' || method === 'TRACE') return `${method} is not supported`;
  if (target.charCodeAt(0) !== 0x2f) return 'the request target is not in origin form';
  // A fragment is not part of a target, and only some servers would remove it.
  if (/[^\x21-\x7e]|[#\\]/.test(target)) return 'the request target has a character that must be percent-encoded';
  return undefined;
}

/** Why a request over HTTP/2 is refused; undefined if it is not. */
export function objectToTarget(method: string, target: string, rawHeaders: readonly string[]): string | undefined {
  const objection = objectToLine(method, target);
  if (objection !== undefined) return objection;
  let hosts = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    if (rawHeaders[at]?.length !== 4 || rawHeaders[at]?.toLowerCase() !== 'host') continue;
    if (badHost.test(rawHeaders[at + 1] ?? '')) return oddHost;
    hosts++;
  }
  return hosts === 1 ? undefined : oneHost;
}
