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
 * JSON with the escapes of Go's `encoding/json`, indented as `MarshalIndent` does if asked to.
 *
 * The characters occur only inside strings, so that the whole text can be escaped at once.
 */
export function encodeAsGo(value: object, indent?: number): string {
  return JSON.stringify(value, undefined, indent).replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function writeGroup({ name, kind, apiVersion, versions }: GroupDiscovery): object {
  return {
    ...unlessEmpty('kind', kind),
    ...unlessEmpty('apiVersion', apiVersion),
    metadata: unlessEmpty('name', name),
    ...unlessNone('versions', versions?.map(writeVersion)),
  };
}

function writeVersion({ version, resources, freshness }: VersionDiscovery): object {
  return {
    version: writeText(version),
    ...unlessNone('resources', resources?.map(writeResource)),
    ...unlessEmpty('freshness', freshness),
  };
}

function writeResource(resource: ResourceDiscovery): object {
  return {
    resource: writeText(resource.resource),
    ...(resource.responseKind !== undefined && { responseKind: writeKind(resource.responseKind) }),
    scope: writeText(resource.scope),
    singularResource: writeText(resource.singularResource),
    verbs: resource.verbs?.map(writeText) ?? null,
    ...unlessNone('shortNames', resource.shortNames?.map(writeText)),
    ...unlessNone('categories', resource.categories?.map(writeText)),
    ...unlessNone('subresources', resource.subresources?.map(writeSubresource)),
  };
}

function writeSubresource({ subresource, responseKind, acceptedTypes, verbs }: SubresourceDiscovery): object {
  return {
    subresource: writeText(subresource),
    ...(responseKind !== undefined && { responseKind: writeKind(responseKind) }),
    ...unlessNone('acceptedTypes', acceptedTypes?.map(writeKind)),
    verbs: verbs?.map(writeText) ?? null,
  };
}

function writeKind({ group, version, kind }: GroupVersionKind): object {
  return { group: writeText(group), version: writeText(version), kind: writeText(kind) };
}

/** Go decodes an unpaired surrogate to U+FFFD; `JSON.stringify` would write it as an escape. */
function writeText(text: string): string {
  return text.toWellFormed();
}

function unlessEmpty(name: string, text: string | undefined): object {
  return text === undefined || text === '' ? {} : { [name]: writeText(text) };
}

function unlessNone(name: string, list: readonly unknown[] | undefined): object {
  return list === undefined || list.length === 0 ? {} : { [name]: list };
}
