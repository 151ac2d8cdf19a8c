import { stringify } from 'yaml';
import type { GroupDiscovery } from '../../domain/discovery-document.ts';
import type { LegacyDocument } from '../../domain/discovery-legacy-lists.ts';
import {
  legacyApiVersions,
  legacyGroup,
  legacyGroupList,
  legacyResourceList,
} from '../../domain/discovery-legacy-lists.ts';
import { encodeDiscoveryProtobuf, encodeLegacyProtobuf } from '../../domain/discovery-protobuf.ts';
import { encodeAsGo } from '../../domain/encode-discovery.ts';
import type { AggregatedVersion, Encoding, MediaTypeChoice } from '../../domain/negotiate-media-type.ts';
import { contentTypeOf, negotiateDiscovery } from '../../domain/negotiate-media-type.ts';
import { parseDiscoveryList } from '../../domain/parse-discovery.ts';
import type { RoutingBundle } from '../../domain/routing-table.ts';
import { type DiscoveryPath, parseDiscoveryPath } from './discovery-path.ts';
import { type StoredDocument, storeDocument } from './stored-document.ts';

/** An existing document. It is encoded on the first call, so no time goes into unused forms. */
export interface FoundDocument {
  /** True for the aggregated form of a whole prefix. */
  readonly aggregated: boolean;
  load(): StoredDocument;
}

/** Every form of the unified documents of one revision. */
export interface UnifiedDocuments {
  /** The document for a request; undefined if the home server must answer, errors included. */
  find(
    method: string,
    path: string,
    form: { readonly accept: string; readonly pretty: boolean },
  ): FoundDocument | undefined;
}

const maxRemembered = 4_000;
const maxRememberedAccept = 512;

/** Builds each form once per bundle, on first request. From then on, finding it is one look-up. */
export function createUnifiedDocuments(bundle: RoutingBundle): UnifiedDocuments {
  /** By path and `Accept`. */
  const remembered = new Map<string, Map<string, FoundDocument>>();
  let rememberedCount = 0;
  const stored = new Map<string, FoundDocument>();
  const versions = offeredVersions(bundle);
  let parsed: ReturnType<typeof parseBundle> | undefined;
  const parts = () => {
    parsed ??= parseBundle(bundle);
    return parsed;
  };

  const keep = (key: string, aggregated: boolean, write: () => StoredDocument): FoundDocument => {
    const existing = stored.get(key);
    if (existing !== undefined) return existing;
    let document: StoredDocument | undefined;
    const found: FoundDocument = {
      aggregated,
      load: () => {
        document ??= write();
        return document;
      },
    };
    stored.set(key, found);
    return found;
  };

  const findAggregated = (kind: 'core' | 'groups', choice: MediaTypeChoice, pretty: boolean) => {
    const { encoding, aggregated: version = 'v2' } = choice;
    // Only the server itself can give its own document.
    if (choice.profile === 'nopeer') return undefined;
    const text = kind === 'core' ? bundle.api : bundle.apis;
    const etag = kind === 'core' ? bundle.apiEtag : bundle.apisEtag;
    return keep(`${kind} ${version} ${encoding} ${pretty}`, true, () =>
      storeDocument({
        body: Buffer.from(
          encoding === 'protobuf'
            ? encodeDiscoveryProtobuf(kind === 'core' ? parts().api : parts().apis, version)
            : writeAggregated(text, encoding, version, pretty),
        ),
        contentType: contentTypeOf(choice),
        etag,
        cacheControl: 'public',
        vary: true,
      }),
    );
  };

  const findLegacy = (path: DiscoveryPath, choice: MediaTypeChoice, pretty: boolean) => {
    const { encoding } = choice;
    const document = legacyDocument(path, parts());
    if (document === undefined) return undefined;
    return keep(`${JSON.stringify(path)} ${encoding} ${pretty}`, false, () =>
      storeDocument({
        body: Buffer.from(writeLegacy(document, encoding, pretty)),
        contentType: contentTypeOf(choice),
        cacheControl: 'no-cache, private',
        vary: false,
      }),
    );
  };

  const find = (method: string, raw: string, accept: string, prettyAsked: boolean): FoundDocument | undefined => {
    const path = parseDiscoveryPath(raw);
    if (path === undefined) return undefined;
    // These are routes of go-restful, which knows only GET. The other handlers ignore the method.
    const routed = path.kind === 'core' || (path.kind === 'groupVersion' && parts().isBuiltIn(path));
    if (routed && method !== 'GET') return undefined;
    const aggregates = path.kind === 'core' || path.kind === 'groups';
    const choice = negotiateDiscovery(accept, { routed, versions: aggregates ? versions : [] });
    if (choice === undefined) return undefined;
    const pretty = choice.encoding === 'json' && (choice.pretty || prettyAsked);
    if (choice.aggregated !== undefined && (path.kind === 'core' || path.kind === 'groups'))
      return findAggregated(path.kind, choice, pretty);
    return findLegacy(path, choice, pretty);
  };

  return {
    find: (method, path, { accept, pretty }) => {
      // Nearly every client asks this way, for few paths and in few forms.
      const plain = method === 'GET' && !pretty;
      const known = plain ? remembered.get(path)?.get(accept) : undefined;
      if (known !== undefined) return known;
      const found = find(method, path, accept, pretty);
      // Only discovery that real Kubernetes clients ask for is remembered, so that strangers cannot fill the memory.
      if (plain && found !== undefined && accept.length <= maxRememberedAccept) {
        if (rememberedCount >= maxRemembered) {
          remembered.clear();
          rememberedCount = 0;
        }
        const ofPath = remembered.get(path) ?? new Map<string, FoundDocument>();
        remembered.set(path, ofPath.set(accept, found));
        rememberedCount++;
      }
      return found;
    },
  };
}

/**
 * v2beta1 is offered while a server has it, so that old clients need not walk every group-version.
 *
 * Source: feature gate `AggregatedDiscoveryRemoveBetaType`, on from 1.33.
 */
function offeredVersions({ table }: RoutingBundle): readonly AggregatedVersion[] {
  const hasBeta = table.peers.some(({ version, state }) => {
    const [, major, minor] = /^v?(\d+)\.(\d+)/.exec(version ?? '') ?? [];
    return state !== 'Gone' && major === '1' && Number(minor) >= 26 && Number(minor) < 33;
  });
  return hasBeta ? ['v2', 'v2beta1'] : ['v2'];
}

interface ParsedBundle {
  readonly api: readonly GroupDiscovery[];
  readonly apis: readonly GroupDiscovery[];
  readonly byName: ReadonlyMap<string, GroupDiscovery>;
  isBuiltIn(path: { readonly group: string; readonly version: string }): boolean;
  /** True if a server behind the kube-apiservers describes it. */
  isAggregated(path: { readonly group: string; readonly version: string }): boolean;
}

function parseBundle(bundle: RoutingBundle): ParsedBundle {
  const read = (text: string) => parseDiscoveryList(JSON.parse(text), { maxResources: Number.POSITIVE_INFINITY });
  const api = read(bundle.api);
  const apis = read(bundle.apis);
  const origins = new Map(
    bundle.table.groupVersions.map(({ group, version, origin }) => [`${group}/${version}`, origin]),
  );
  const originOf = ({ group, version }: { readonly group: string; readonly version: string }) =>
    origins.get(`${group}/${version}`);
  return {
    api,
    apis,
    byName: new Map([...api, ...apis].map((group) => [group.name, group])),
    isBuiltIn: (path) => originOf(path) === 'BuiltIn',
    isAggregated: (path) => originOf(path) === 'Aggregated',
  };
}

function legacyDocument(path: DiscoveryPath, parsed: ParsedBundle): LegacyDocument | undefined {
  if (path.kind === 'core') return legacyApiVersions(parsed.api);
  if (path.kind === 'groups') return legacyGroupList(parsed.apis);
  const group = parsed.byName.get(path.group);
  if (group === undefined) return undefined;
  if (path.kind === 'group') return legacyGroup(group);
  const version = group.versions?.find((candidate) => candidate.version === path.version);
  // A list from here would hide that an API is dead. Servers answer for dead APIs, and for those that another server
  // describes.
  if (version === undefined || version.freshness === 'Stale' || parsed.isAggregated(path)) return undefined;
  return legacyResourceList(path.group, version);
}

function writeAggregated(text: string, encoding: 'json' | 'yaml', version: AggregatedVersion, pretty: boolean): string {
  const own = version === 'v2' ? text : text.replace('"apidiscovery.k8s.io/v2"', '"apidiscovery.k8s.io/v2beta1"');
  if (encoding === 'yaml') return writeYaml(JSON.parse(own) as object);
  return pretty ? encodeAsGo(JSON.parse(own) as object, 2) : own;
}

function writeLegacy(document: LegacyDocument, encoding: Encoding, pretty: boolean): string | Uint8Array {
  switch (encoding) {
    case 'protobuf':
      return encodeLegacyProtobuf(document);
    case 'yaml':
      return writeYaml(document);
    case 'json':
      return pretty ? encodeAsGo(document, 2) : `${encodeAsGo(document)}\n`;
  }
}

/**
 * Written like sigs.k8s.io/yaml: sorted keys, lists not indented, and quotes around text that YAML 1.1 reads as another
 * type.
 */
function writeYaml(value: object): string {
  return stringify(value, {
    compat: 'yaml-1.1',
    sortMapEntries: true,
    indentSeq: false,
    lineWidth: 0,
    aliasDuplicateObjects: false,
  });
}
