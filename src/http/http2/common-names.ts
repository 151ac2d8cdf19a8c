import { staticTable } from './static-table.ts';

/** Names, in lower case, that Kubernetes and its clients send, besides those of HPACK's static table. */
const kubernetesNames: readonly string[] = [
  'audit-id',
  'connection',
  'impersonate-group',
  'impersonate-uid',
  'impersonate-user',
  'keep-alive',
  'traceparent',
  'tracestate',
  'trailer',
  'upgrade',
  'warning',
  'x-content-type-options',
  'x-forwarded-for',
  'x-kubernetes-pf-flowschema-uid',
  'x-kubernetes-pf-prioritylevel-uid',
  'x-remote-extra-authentication.kubernetes.io%2fcredential-id',
  'x-remote-group',
  'x-remote-uid',
  'x-remote-user',
];

/** Names, in lower case, that most messages consist of. What is made of a name can be made once for each of these. */
export const commonNames: readonly string[] = [
  ...new Set(staticTable.map(([name]) => name).filter((name) => !name.startsWith(':'))),
  ...kubernetesNames,
];

const canonicalNames: ReadonlyMap<string, string> = new Map(commonNames.map((name) => [name, capitalize(name)]));

/**
 * A lower-case name as Go's `http.Header` has it: `Content-Type`. Source: `CanonicalMIMEHeaderKey` of `net/textproto`.
 */
export function canonicalName(name: string): string {
  return canonicalNames.get(name) ?? capitalize(name);
}

function capitalize(name: string): string {
  return name.replace(/^[a-z]|-[a-z]/g, (letter) => letter.toUpperCase());
}
