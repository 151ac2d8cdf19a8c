import type {
  GroupDiscovery,
  GroupVersionKind,
  ResourceDiscovery,
  SubresourceDiscovery,
  VersionDiscovery,
} from './discovery-document.ts';
import type { LegacyApiGroup, LegacyApiResource, LegacyDocument } from './discovery-legacy-lists.ts';
import type { AggregatedVersion } from './negotiate-media-type.ts';
import { wrapUnknown } from './protobuf-unknown.ts';
import { bytesField, message, numberField, type Part, textsField } from './protobuf-writer.ts';

/**
 * Writes an APIGroupDiscoveryList as `application/vnd.kubernetes.protobuf`, byte for byte as kube-apiserver does.
 *
 * Source: `generated.proto` in `apidiscovery/v2` of k8s.io/api 0.36; v2beta1 has the same fields. Fields that are not
 * pointers are written even if they are empty.
 */
export function encodeDiscoveryProtobuf(groups: readonly GroupDiscovery[], version: AggregatedVersion): Uint8Array {
  const metadata = message(bytesField(1, ''), bytesField(2, ''), bytesField(3, ''));
  const list = message(bytesField(1, metadata), ...groups.map((group) => bytesField(2, writeGroup(group))));
  return wrapUnknown(`apidiscovery.k8s.io/${version}`, 'APIGroupDiscoveryList', list);
}

/**
 * Writes a legacy document the same way. Source: `generated.proto` in `pkg/apis/meta/v1` of k8s.io/apimachinery 0.36.
 */
export function encodeLegacyProtobuf(document: LegacyDocument): Uint8Array {
  switch (document.kind) {
    case 'APIVersions':
      return wrapUnknown('', document.kind, textsField(1, document.versions));
    case 'APIGroupList':
      return wrapUnknown(
        'v1',
        document.kind,
        message(...document.groups.map((group) => bytesField(1, writeLegacyGroup(group)))),
      );
    case 'APIGroup':
      return wrapUnknown('v1', document.kind, writeLegacyGroup(document));
    case 'APIResourceList': {
      const resources = document.resources.map((resource) => bytesField(2, writeLegacyResource(resource)));
      return wrapUnknown(
        document.apiVersion ?? '',
        document.kind,
        message(bytesField(1, document.groupVersion), ...resources),
      );
    }
  }
}

function writeGroup({ name, versions = [] }: GroupDiscovery): Part {
  const empty = [2, 3, 4, 5, 6].map((id) => bytesField(id, ''));
  // Generation and creationTimestamp come last.
  const metadata = message(bytesField(1, name), ...empty, numberField(7, 0), bytesField(8, ''));
  return message(bytesField(1, metadata), ...versions.map((version) => bytesField(2, writeVersion(version))));
}

function writeVersion({ version, resources = [], freshness = '' }: VersionDiscovery): Part {
  const written = resources.map((resource) => bytesField(2, writeResource(resource)));
  return message(bytesField(1, version), ...written, bytesField(3, freshness));
}

function writeResource(resource: ResourceDiscovery): Part {
  return message(
    bytesField(1, resource.resource),
    writeKind(2, resource.responseKind),
    bytesField(3, resource.scope),
    bytesField(4, resource.singularResource),
    textsField(5, resource.verbs),
    textsField(6, resource.shortNames),
    textsField(7, resource.categories),
    ...(resource.subresources ?? []).map((subresource) => bytesField(8, writeSubresource(subresource))),
  );
}

function writeSubresource({ subresource, responseKind, acceptedTypes = [], verbs }: SubresourceDiscovery): Part {
  return message(
    bytesField(1, subresource),
    writeKind(2, responseKind),
    ...acceptedTypes.map((kind) => writeKind(3, kind)),
    textsField(4, verbs),
  );
}

function writeKind(id: number, kind: GroupVersionKind | undefined): Part {
  if (kind === undefined) return message();
  return bytesField(id, message(bytesField(1, kind.group), bytesField(2, kind.version), bytesField(3, kind.kind)));
}

function writeLegacyGroup({ name, versions, preferredVersion }: LegacyApiGroup): Part {
  const write = (id: number, { groupVersion, version }: LegacyApiGroup['preferredVersion']) =>
    bytesField(id, message(bytesField(1, groupVersion), bytesField(2, version)));
  return message(bytesField(1, name), ...versions.map((version) => write(2, version)), write(3, preferredVersion));
}

function writeLegacyResource(resource: LegacyApiResource): Part {
  const { name, namespaced, kind, verbs, shortNames, singularName, categories, group = '', version = '' } = resource;
  return message(
    bytesField(1, name),
    numberField(2, namespaced ? 1 : 0),
    bytesField(3, kind),
    ...(verbs === null ? [] : [bytesField(4, textsField(1, verbs))]),
    textsField(5, shortNames),
    bytesField(6, singularName),
    textsField(7, categories),
    bytesField(8, group),
    bytesField(9, version),
    bytesField(10, ''),
  );
}
