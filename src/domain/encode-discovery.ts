import type {
  GroupDiscovery,
  GroupVersionKind,
  ResourceDiscovery,
  SubresourceDiscovery,
  VersionDiscovery,
} from './discovery-document.ts';

/**
 * Writes an APIGroupDiscoveryList of v2 byte for byte as kube-apiserver does.
 *
 * With `typeMeta` it is the body that is served, newline included; without, the text whose hash is the ETag, which
 * has neither kind nor apiVersion. Source: `apidiscovery/v2/types.go` of k8s.io/api 0.36 for the order of fields and
 * which are left out when empty, and `encoding/json` of Go for the escapes. A list without groups is `[]`: the code
 * of kube-apiserver has a `null` there only before its first document.
 */
export function encodeDiscoveryList(
  groups: readonly GroupDiscovery[],
  { typeMeta }: { readonly typeMeta: boolean },
): string {
  return joinGroups(groups.map(encodeGroup), { typeMeta });
}

/** The document of groups that {@link encodeGroup} has written, so that only those that changed are written anew. */
export function joinGroups(groups: readonly string[], { typeMeta }: { readonly typeMeta: boolean }): string {
  const list = `"metadata":{},"items":[${groups.join()}]}`;
  return typeMeta ? `{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2",${list}\n` : `{${list}`;
}

/** One group, as {@link encodeDiscoveryList} writes it. */
export function encodeGroup(group: GroupDiscovery): string {
  return encodeAsGo(writeGroup(group));
}

/**
 * JSON with the escapes of Go's `encoding/json`, indented as `MarshalIndent` does if asked to; an unpaired surrogate is
 * U+FFFD, as Go decodes it.
 *
 * The characters occur only inside strings, so that the whole text can be escaped at once; escapes are read one by one,
 * so that none is seen in the middle of another.
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

// Every literal has all its fields, in the order of the Go type: what is undefined is left out, and objects of one
// shape are built and written several times as fast as others.

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
