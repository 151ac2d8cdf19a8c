import { staticTable } from './static-table.ts';

/**
 * Lower-case names that Kubernetes and its clients send, in addition to HPACK's static table. Only the speed depends on
 * this list: each name on it is encoded once for the process, any other name in each message.
 */
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

/** Lower-case names that make up most messages, so that anything derived from a name can be computed once. */
export const commonNames: readonly string[] = [
  ...new Set(staticTable.map(([name]) => name).filter((name) => !name.startsWith(':'))),
  ...kubernetesNames,
];

const canonicalNames: ReadonlyMap<string, string> = new Map(commonNames.map((name) => [name, capitalize(name)]));

/**
 * A lower-case name as Go's `http.Header` writes it: `Content-Type`. Source: `CanonicalMIMEHeaderKey` of
 * `net/textproto`.
 */
export function canonicalName(name: string): string {
  return canonicalNames.get(name) ?? capitalize(name);
}

function capitalize(name: string): string {
  return name.replace(/^[a-z]|-[a-z]/g, (letter) => letter.toUpperCase());
}
