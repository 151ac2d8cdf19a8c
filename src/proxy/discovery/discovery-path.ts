/** A discovery path for which kube-apiserver has a document. */
export type DiscoveryPath =
  | { readonly kind: 'core' }
  | { readonly kind: 'groups' }
  | { readonly kind: 'group'; readonly group: string }
  /** `group` is empty for the core group. */
  | { readonly kind: 'groupVersion'; readonly group: string; readonly version: string };

const core: Readonly<DiscoveryPath> = { kind: 'core' };
const groups: Readonly<DiscoveryPath> = { kind: 'groups' };

/** The path of a request target, still encoded. */
export function pathOf(target: string): string {
  const queryAt = target.indexOf('?');
  return queryAt < 0 ? target : target.slice(0, queryAt);
}

/**
 * The path of a request target, including its query if that may hold a `timeout`: kube-apiserver answers 400 to an
 * invalid one before it looks at the user. Source: `WithRequestDeadline` of k8s.io/apiserver.
 */
export function pathWithTimeout(target: string): string {
  const queryAt = target.indexOf('?');
  if (queryAt < 0) return target;
  return new URLSearchParams(target.slice(queryAt + 1)).has('timeout') ? target : target.slice(0, queryAt);
}

/**
 * Recognizes discovery: `/api`, `/apis`, `/api/<version>`, `/apis/<group>` and `/apis/<group>/<version>`, each with or
 * without a trailing slash. Spellings that need decoding do not count.
 */
export function parseDiscoveryPath(path: string): DiscoveryPath | undefined {
  if (!path.startsWith('/api') || hasMoreSlashes(path, 4) || path.length > 400 || path.includes('%')) return undefined;
  const [, prefix, first = '', second = '', ...more] = path.split('/', 6);
  if (more.some((part) => part !== '') || more.length > 1) return undefined;
  if (first === '' && (second !== '' || more.length > 0)) return undefined;
  if (prefix === 'api') {
    if (first === '') return core;
    return second === '' && more.length === 0 ? { kind: 'groupVersion', group: '', version: first } : undefined;
  }
  if (prefix !== 'apis') return undefined;
  // kube-apiserver has a document at `/api//`, and none at `/apis//`.
  if (first === '') return path.length > '/apis/'.length ? undefined : groups;
  if (second === '') return more.length === 0 ? { kind: 'group', group: first } : undefined;
  return { kind: 'groupVersion', group: first, version: second };
}

/** Most requests are for resources. This is the cheapest way to tell them from discovery. */
function hasMoreSlashes(path: string, count: number): boolean {
  let at = -1;
  for (let found = 0; found <= count; found++) {
    at = path.indexOf('/', at + 1);
    if (at < 0) return false;
  }
  return true;
}

/** True if the client seems to be a person. Source: `isPrettyPrint` in `negotiate.go` of k8s.io/apiserver 0.36. */
export function wantsPretty(target: string, userAgent: string): boolean {
  const queryAt = target.indexOf('?');
  if (queryAt >= 0 && target.indexOf('pretty', queryAt) >= 0) {
    const asked = new URLSearchParams(target.slice(queryAt + 1)).get('pretty');
    if (asked !== null && asked !== '') return /^(1|t|T|TRUE|true|True)$/.test(asked);
  }
  return userAgent.startsWith('curl') || userAgent.startsWith('Wget') || userAgent.startsWith('Mozilla/5.0');
}
