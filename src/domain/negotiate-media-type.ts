import { parseGoFloat } from './parse-go-float.ts';

/**
 * Every way in which kube-apiserver writes a discovery document and a Status, with its media type. A client that
 * accepts any type gets the first.
 */
export const mediaTypes = {
  json: 'application/json',
  yaml: 'application/yaml',
  protobuf: 'application/vnd.kubernetes.protobuf',
} as const;

/** How a discovery document or a Status is written. */
export type Encoding = keyof typeof mediaTypes;

/** The media type without its parameters, in lower case; for one clause of an Accept header too. */
export function mediaTypeOf(field: string): string {
  return field.split(';', 1)[0]?.trim().toLowerCase() ?? '';
}

/** The encoding that has this media type. Undefined if none has, or if the type is a pattern for several. */
export function encodingOf(mediaType: string): Encoding | undefined {
  for (const [, , encoding] of supported) if (mediaTypes[encoding] === mediaType) return encoding;
  return undefined;
}

/** Version of aggregated discovery. */
export type AggregatedVersion = 'v2' | 'v2beta1';

/** The client's choice, as kube-apiserver would make it. */
export interface MediaTypeChoice {
  readonly encoding: Encoding;
  /** Undefined for the legacy form. */
  readonly aggregated: AggregatedVersion | undefined;
  /** `pretty=1` as a parameter of the media type. */
  readonly pretty: boolean;
  /** `nopeer` asks for the server's own document. */
  readonly profile: string;
}

const supported = Object.entries(mediaTypes).map(([encoding, mediaType]) => {
  const [type = '', subtype = ''] = mediaType.split('/');
  return [type, subtype, encoding as Encoding] as const;
});

/**
 * Chooses how a discovery document is written. Undefined if kube-apiserver itself has to answer, mostly with 406.
 *
 * `routed` is true for paths behind go-restful. `versions` are the aggregated versions of the path; if it is empty,
 * there is only the legacy form.
 */
export function negotiateDiscovery(
  accept: string,
  { routed, versions }: { readonly routed: boolean; readonly versions: readonly AggregatedVersion[] },
): MediaTypeChoice | undefined {
  if (routed && !passesRouter(accept)) return undefined;
  return negotiateAggregated(accept, versions) ?? negotiateLegacy(accept);
}

/** The field Content-Type of a document in this form. */
export function contentTypeOf({ encoding, aggregated }: MediaTypeChoice): string {
  const form = aggregated === undefined ? '' : `;g=apidiscovery.k8s.io;v=${aggregated};as=APIGroupDiscoveryList`;
  return mediaTypes[encoding] + form;
}

/**
 * Chooses the aggregated form for an Accept header. Undefined if no clause asks for one of `versions`.
 *
 * Only clauses that name aggregated discovery count, whatever the q-values of the others. Source:
 * `NegotiateMediaTypeOptions` in `pkg/endpoints/handlers/negotiation` and `discoveryEndpointRestrictions` of
 * k8s.io/apiserver 0.36.
 */
export function negotiateAggregated(
  accept: string,
  versions: readonly AggregatedVersion[],
): MediaTypeChoice | undefined {
  if (accept.indexOf('apidiscovery.k8s.io') < 0) return undefined;
  return negotiate(accept, ({ g, v, as }) => {
    const version = versions.find((candidate) => candidate === v);
    return g === 'apidiscovery.k8s.io' && as === 'APIGroupDiscoveryList' && version !== undefined
      ? { aggregated: version }
      : undefined;
  });
}

/**
 * Chooses the encoding of the legacy form. Undefined if kube-apiserver would answer 406. No header means JSON.
 *
 * Source: as {@link negotiateAggregated}, with `emptyEndpointRestrictions`.
 */
export function negotiateLegacy(accept: string): MediaTypeChoice | undefined {
  if (accept === '') return { encoding: 'json', aggregated: undefined, pretty: false, profile: '' };
  return negotiate(accept, ({ g, v, as }) =>
    g === undefined && v === undefined && as === undefined ? { aggregated: undefined } : undefined,
  );
}

/**
 * True if the router in front of most discovery paths accepts an Accept header. It looks for the exact types or any
 * type, and does not know `application/*` or `*`. Source: `matchesAccept` in go-restful v3.
 */
export function passesRouter(accept: string): boolean {
  if (accept === '') return true;
  return accept.split(',').some((clause) => {
    const type = trimSpaces(clause.split(';', 1)[0] ?? '');
    return type === '*/*' || supported.some(([major, minor]) => type === `${major}/${minor}`);
  });
}

type Parameters = Readonly<Record<string, string | undefined>>;

function negotiate(
  accept: string,
  transform: (parameters: Parameters) => { readonly aggregated: AggregatedVersion | undefined } | undefined,
): MediaTypeChoice | undefined {
  for (const { type, subtype, parameters } of parseAccept(accept))
    for (const [major, minor, encoding] of supported) {
      const any = subtype === '*' && (type === '*' || type === major);
      if (!any && (type !== major || subtype !== minor)) continue;
      const { sv, stream, pretty, profile } = parameters;
      if (sv !== undefined && sv !== '') continue;
      if (stream !== undefined && stream !== '' && stream !== 'watch') continue;
      const allowed = transform(parameters);
      if (allowed !== undefined) return { encoding, ...allowed, pretty: pretty === '1', profile: profile ?? '' };
    }
  return undefined;
}

interface Clause {
  readonly type: string;
  readonly subtype: string;
  readonly q: number;
  readonly parameters: Parameters;
}

/** Like `ParseAccept` of github.com/munnerz/goautoneg, with its odd order of clauses. */
function parseAccept(header: string): Clause[] {
  const clauses: Clause[] = [];
  for (const part of header.split(',')) {
    const [range = '', ...parameters] = trimSpaces(part).split(';');
    const [type = '', subtype, more] = range.split('/');
    const bare = subtype === undefined || subtype === '';
    if ((bare && trimSpaces(type) !== '*') || (more !== undefined && more !== '')) continue;
    clauses.push({
      type: trimSpaces(type),
      subtype: bare ? '*' : trimSpaces(subtype),
      ...readParameters(parameters),
    });
  }
  return sortAsGo(clauses);
}

function readParameters(parts: readonly string[]): Pick<Clause, 'q' | 'parameters'> {
  const parameters: Record<string, string> = Object.create(null) as Record<string, string>;
  let q = 1;
  for (const part of parts) {
    const [name = '', value = '', more = ''] = part.split('=');
    if (value === '' || more !== '') continue;
    const token = trimSpaces(name);
    if (token === 'q') q = parseGoFloat(value);
    else parameters[token] = trimSpaces(value);
  }
  return { q, parameters };
}

/** For so few entries, `sort.Sort` is an insertion sort. This matters because the comparison is not a strict order. */
function sortAsGo(clauses: Clause[]): Clause[] {
  for (let end = 1; end < clauses.length; end++)
    for (let at = end; at > 0; at--) {
      const [a, b] = [clauses[at - 1], clauses[at]];
      if (a === undefined || b === undefined || !comesBefore(b, a)) break;
      clauses[at - 1] = b;
      clauses[at] = a;
    }
  return clauses;
}

function comesBefore(a: Clause, b: Clause): boolean {
  return a.q > b.q || (a.type !== '*' && b.type === '*') || (a.subtype !== '*' && b.subtype === '*');
}

/** Trims spaces only; a tab is part of the name. */
function trimSpaces(text: string): string {
  let from = 0;
  let to = text.length;
  // A loop takes linear time; a regular expression for both ends would not.
  while (from < to && text.charCodeAt(from) === 0x20) from++;
  while (to > from && text.charCodeAt(to - 1) === 0x20) to--;
  return text.slice(from, to);
}
