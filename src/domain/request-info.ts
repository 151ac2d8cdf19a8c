/** The parts of a request, as in kube-apiserver's `RequestInfo`. */
export interface RequestInfo {
  readonly isResourceRequest: boolean;
  readonly verb: string;
  /** `api` or `apis`; empty if the request is not about a resource. */
  readonly apiPrefix: string;
  readonly group: string;
  readonly version: string;
  readonly namespace: string;
  readonly resource: string;
  readonly subresource: string;
  readonly name: string;
  /** Percent-decoded path, as Go's `URL.Path`. */
  readonly path: string;
}

/** True if the server passes the request on to a backend: a pod, a service or a node. */
export function isProxied({ verb, subresource }: RequestInfo): boolean {
  return verb === 'proxy' || subresource === 'proxy';
}

/** True if the subresource streams. Such a request writes no object, whatever its verb. */
export function isStream(subresource: string): boolean {
  return streams.has(subresource);
}

const streams: ReadonlySet<string> = new Set(['attach', 'exec', 'log', 'portforward', 'proxy']);

/** A request that cannot be parsed is a value too; the proxy answers it with 400. */
export type ParsedRequest =
  | { readonly kind: 'ok'; readonly info: RequestInfo }
  | { readonly kind: 'bad'; readonly message: string };

/**
 * Parses a request exactly as kube-apiserver does, so that proxy and server agree on its meaning.
 *
 * Source: `NewRequestInfo` in `pkg/endpoints/request/requestinfo.go` of k8s.io/apiserver 0.36. `target` is the request
 * target in origin form, still encoded.
 */
export function parseRequestInfo(method: string, target: string): ParsedRequest {
  const queryAt = target.indexOf('?');
  const path = decodePath(queryAt < 0 ? target : target.slice(0, queryAt));
  if (path === undefined) return { kind: 'bad', message: 'the request path has an invalid percent escape' };
  const parts = splitPath(path);
  const prefix = parts[0];
  const grouped = prefix === 'apis';
  // `/api/<version>`, `/apis/<group>/<version>` and shorter paths are about discovery, not a resource.
  if ((!grouped && prefix !== 'api') || parts.length < (grouped ? 4 : 3))
    return { kind: 'ok', info: nonResource(method, path) };
  return parseResource(method, path, queryAt < 0 ? '' : target.slice(queryAt + 1), parts, grouped);
}

function parseResource(
  method: string,
  path: string,
  query: string,
  parts: readonly string[],
  grouped: boolean,
): ParsedRequest {
  const group = grouped ? (parts[1] ?? '') : '';
  let at = grouped ? 2 : 1;
  const version = parts[at++] ?? '';
  let verb: string;
  const special = parts[at];
  if (special === 'proxy' || special === 'watch') {
    if (parts.length - at < 2) return { kind: 'bad', message: `nothing follows ${special}/ in the request path` };
    verb = special;
    at++;
  } else verb = verbOf(method);
  let namespace = '';
  if (parts[at] === 'namespaces' && parts.length - at > 1) {
    namespace = parts[at + 1] ?? '';
    const next = parts[at + 2];
    if (next !== undefined && next !== 'status' && next !== 'finalize') at += 2;
  }
  const resource = parts[at] ?? '';
  let name = parts[at + 1] ?? '';
  const subresource = verb === 'proxy' ? '' : (parts[at + 2] ?? '');
  if (name === '' && verb === 'get') {
    const options = readListOptions(query);
    verb = options.watch ? 'watch' : 'list';
    name = options.name;
  }
  if (name === '' && verb === 'delete') verb = 'deletecollection';
  const apiPrefix = grouped ? 'apis' : 'api';
  const info = {
    isResourceRequest: true,
    verb,
    apiPrefix,
    group,
    version,
    namespace,
    resource,
    subresource,
    name,
    path,
  };
  return { kind: 'ok', info };
}

function nonResource(method: string, path: string): RequestInfo {
  return {
    isResourceRequest: false,
    verb: method.toLowerCase(),
    apiPrefix: '',
    group: '',
    version: '',
    namespace: '',
    resource: '',
    subresource: '',
    name: '',
    path,
  };
}

function verbOf(method: string): string {
  switch (method) {
    case 'POST':
      return 'create';
    case 'GET':
    case 'HEAD':
      return 'get';
    case 'PUT':
      return 'update';
    case 'PATCH':
      return 'patch';
    case 'DELETE':
      return 'delete';
    default:
      return '';
  }
}

function splitPath(path: string): string[] {
  let start = 0;
  let end = path.length;
  while (start < end && path[start] === '/') start++;
  while (end > start && path[end - 1] === '/') end--;
  return start === end ? [] : path.slice(start, end).split('/');
}

/** Go decodes any well-formed escape, even if the bytes are not UTF-8. Only a malformed escape is an error. */
function decodePath(path: string): string | undefined {
  if (path.indexOf('%') < 0) return path;
  if (/%(?![0-9a-fA-F]{2})/.test(path)) return undefined;
  try {
    return decodeURIComponent(path);
  } catch {
    return path.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  }
}

interface ListOptions {
  readonly watch: boolean;
  readonly name: string;
}

/** The first value of each parameter counts. `watch` is true unless the value is `false` or `0`. */
function readListOptions(query: string): ListOptions {
  if (query === '') return { watch: false, name: '' };
  const watch = queryValue(query, 'watch')?.toLowerCase();
  return { watch: watch !== undefined && watch !== 'false' && watch !== '0', name: selectedName(query) };
}

function selectedName(query: string): string {
  const selector = queryValue(query, 'fieldSelector');
  if (selector === undefined) return '';
  // If one parameter cannot be decoded, kube-apiserver drops the name but keeps the watch.
  for (const number of ['limit', 'timeoutSeconds']) {
    const value = queryValue(query, number);
    if (value !== undefined && !isInt64(value)) return '';
  }
  const name = exactMatch(selector, 'metadata.name');
  return name === '.' || name === '..' || /[/%]/.test(name) ? '' : name;
}

/** Like Go's `strconv.ParseInt`, with base 10 and 64 bits. */
function isInt64(text: string): boolean {
  if (!/^[+-]?0*[0-9]{1,19}$/.test(text)) return false;
  const value = BigInt(text.replace('+', ''));
  return BigInt.asIntN(64, value) === value;
}

/**
 * Like `fields.ParseSelector` and `RequiresExactMatch`: commas separate terms, `\` escapes, and `!=` is not an exact
 * match.
 */
function exactMatch(selector: string, field: string): string {
  let found = '';
  for (const term of splitTerms(selector)) {
    if (term === '') continue;
    const match = /^(?<left>.*?)(?<operator>!=|==|=)(?<right>.*)$/s.exec(term);
    const right = unescapeValue(match?.groups?.right ?? '\\');
    if (right === undefined) return '';
    if (found === '' && match?.groups?.operator !== '!=' && match?.groups?.left === field) found = right;
  }
  return found;
}

function splitTerms(selector: string): string[] {
  const terms: string[] = [];
  let start = 0;
  for (let at = 0; at < selector.length; at++) {
    if (selector[at] === '\\') at++;
    else if (selector[at] === ',') {
      terms.push(selector.slice(start, at));
      start = at + 1;
    }
  }
  terms.push(selector.slice(start));
  return terms;
}

function unescapeValue(value: string): string | undefined {
  if (/(?<!\\)(?:\\\\)*(?:\\(?![\\,=])|[=])/.test(value)) return undefined;
  return value.replace(/\\([\\,=])/g, '$1');
}

/** Like Go's `url.ParseQuery`: it drops pairs with a semicolon or a malformed escape. */
function queryValue(query: string, key: string): string | undefined {
  for (const pair of query.split('&')) {
    if (pair === '' || pair.indexOf(';') >= 0) continue;
    const equals = pair.indexOf('=');
    const name = decodeQuery(equals < 0 ? pair : pair.slice(0, equals));
    if (name !== key) continue;
    const value = decodeQuery(equals < 0 ? '' : pair.slice(equals + 1));
    if (value !== undefined) return value;
  }
  return undefined;
}

function decodeQuery(text: string): string | undefined {
  return decodePath(text.indexOf('+') < 0 ? text : text.replaceAll('+', ' '));
}
