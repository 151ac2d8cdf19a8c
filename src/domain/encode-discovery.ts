import type {
  GroupDiscovery,
  GroupVersionKind,
  ResourceDiscovery,
  SubresourceDiscovery,
  VersionDiscovery,
} from './discovery-document.ts';

/**
 * Writes an APIGroupDiscoveryList of v2, byte for byte as kube-apiserver does.
 *
 * With `typeMeta`, it writes the served body, with a newline at its end. Without, it writes the text that is hashed for
 * the ETag, which has neither kind nor apiVersion. A list without groups is `[]`; kube-apiserver writes `null` only
 * before its first document. Source: `apidiscovery/v2/types.go` of k8s.io/api 0.36 for the order of fields and which
 * are omitted when empty, and `encoding/json` of Go for the escapes.
 */
export function encodeDiscoveryList(
  groups: readonly GroupDiscovery[],
  { typeMeta }: { readonly typeMeta: boolean },
): string {
  return joinGroups(groups.map(encodeGroup), { typeMeta });
}

/** Joins groups that {@link encodeGroup} has written, so that only changed groups are encoded again. */
export function joinGroups(groups: readonly string[], { typeMeta }: { readonly typeMeta: boolean }): string {
  const list = `"metadata":{},"items":[${groups.join()}]}`;
  return typeMeta ? `{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2",${list}\n` : `{${list}`;
}

/** One group, as {@link encodeDiscoveryList} writes it. */
export function encodeGroup(group: GroupDiscovery): string {
  return encodeAsGo(writeGroup(group));
}

/**
 * JSON with the escapes of Go's `encoding/json`. With `indent`, it is indented like `MarshalIndent`. An unpaired
 * surrogate becomes U+FFFD, as in Go.
 *
 * These characters occur only inside strings, so the whole text can be escaped at once. The pattern consumes existing
 * escapes one by one, so it never starts in the middle of one.
 */
export function encodeAsGo(value: object, indent?: number): string {
  return JSON.stringify(value, undefined, indent).replace(
    /[<>&\u2028\u2029]|\\(?:ud[89a-f][0-9a-f]{2}|.)/g,
    (found) => {
      if (found.startsWith('\\')) return found.length > 2 ? '\ufffd' : found;
      return `\\u${found.charCodeAt(0).toString(16).padStart(4, '0')}`;
    },
  );
}

// Every literal has all its fields, in the order of the Go type, and JSON.stringify omits undefined ones. Objects of
// one shape are several times faster to build and write.

function writeGroup({ name, kind, apiVersion, versions }: GroupDiscovery): object {
  return {
    kind: unlessEmpty(kind),
    apiVersion: unlessEmpty(apiVersion),
    metadata: { name: unlessEmpty(name) },
    versions: unlessEmpty(versions)?.map(writeVersion),
  };
}

function writeVersion({ version, resources, freshness }: VersionDiscovery): object {
  return {
    version,
    resources: unlessEmpty(resources)?.map(writeResource),
    freshness: unlessEmpty(freshness),
  };
}

function writeResource(resource: ResourceDiscovery): object {
  return {
    resource: resource.resource,
    responseKind: writeKind(resource.responseKind),
    scope: resource.scope,
    singularResource: resource.singularResource,
    verbs: resource.verbs,
    shortNames: unlessEmpty(resource.shortNames),
    categories: unlessEmpty(resource.categories),
    subresources: unlessEmpty(resource.subresources)?.map(writeSubresource),
  };
}

function writeSubresource({ subresource, responseKind, acceptedTypes, verbs }: SubresourceDiscovery): object {
  return {
    subresource,
    responseKind: writeKind(responseKind),
    acceptedTypes: unlessEmpty(acceptedTypes)?.map(writeKind),
    verbs,
  };
}

function writeKind(value: GroupVersionKind | undefined): object | undefined {
  if (value === undefined) return undefined;
  return { group: value.group, version: value.version, kind: value.kind };
}

function unlessEmpty<Value extends { readonly length: number }>(value: Value | undefined): Value | undefined {
  return value === undefined || value.length === 0 ? undefined : value;
}
