import type { GroupDiscovery, ResourceDiscovery } from '../../src/domain/discovery-document.ts';
import { encodeDiscoveryList } from '../../src/domain/encode-discovery.ts';
import { discoveryEtag } from '../../src/runtime/discovery-etag.ts';
import {
  type Answer,
  answerObject,
  answerStatus,
  headerText,
  pageNotFound,
  resourceNotFound,
  type SimulatedRequest,
} from './answer.ts';
import type { VersionProfile } from './version-profile.ts';

type Form = 'v2' | 'v2beta1' | 'legacy' | 'none';

/**
 * Answers `/api`, `/apis` and the paths below them down to a group-version; undefined for any other path.
 *
 * kube-apiserver also offers protobuf. This simulation does not.
 */
export function answerDiscovery(
  request: SimulatedRequest,
  groups: readonly GroupDiscovery[],
  { aggregatedForms }: VersionProfile,
  address: string,
): Answer | undefined {
  const [, prefix, ...rest] = request.path.replace(/\/$/, '').split('/');
  if (prefix !== 'api' && prefix !== 'apis') return undefined;
  const core = groups.filter(({ name }) => name === '');
  const named = groups.filter(({ name }) => name !== '');
  if (rest.length === 0) {
    const form = chooseForm(headerText(request, 'accept'), aggregatedForms);
    if (form === 'none') return notAcceptable;
    if (form !== 'legacy') return aggregatedAnswer(request, prefix === 'api' ? core : named, form);
    return answerObject(prefix === 'api' ? apiVersions(core, address) : apiGroupList(named));
  }
  const [groupName, version] = prefix === 'api' ? ['', rest[0]] : rest;
  if (rest.length > (prefix === 'api' ? 1 : 2)) return undefined;
  if (chooseForm(headerText(request, 'accept'), []) === 'none') return notAcceptable;
  const group = groups.find(({ name }) => name === groupName);
  if (group === undefined) return pageNotFound;
  if (version === undefined) return answerObject({ kind: 'APIGroup', apiVersion: 'v1', ...legacyGroup(group) });
  const found = group.versions?.find((entry) => entry.version === version);
  if (found === undefined) return resourceNotFound;
  if (found.freshness === 'Stale')
    return { kind: 'text', status: 503, text: 'service unavailable\n', headers: { 'retry-after': '1' } };
  return answerObject({
    kind: 'APIResourceList',
    ...(groupName !== '' && { apiVersion: 'v1' }),
    groupVersion: groupName === '' ? version : `${groupName}/${version}`,
    resources: (found.resources ?? []).flatMap((resource) => legacyResources(resource, groupName ?? '')),
  });
}

const notAcceptable = answerStatus(
  406,
  'NotAcceptable',
  'only the following media types are accepted: application/json, application/yaml',
);

/** The first clause that names an aggregated form wins, whatever its q-value: seen on 1.33 and 1.36. */
function chooseForm(accept: string, aggregatedForms: VersionProfile['aggregatedForms']): Form {
  const clauses = (accept === '' ? '*/*' : accept).split(',').map((clause) => clause.split(';').map((s) => s.trim()));
  for (const [type = '', ...parameters] of clauses) {
    if (type !== 'application/json' || !parameters.includes('as=APIGroupDiscoveryList')) continue;
    const form = aggregatedForms.find((version) => parameters.includes(`v=${version}`));
    if (form !== undefined && parameters.includes('g=apidiscovery.k8s.io')) return form;
  }
  const legacy = clauses.some(
    ([type = '', ...parameters]) =>
      ['*/*', 'application/*', 'application/json', 'application/yaml'].includes(type) &&
      !parameters.some((parameter) => parameter.startsWith('as=')),
  );
  return legacy ? 'legacy' : 'none';
}

function aggregatedAnswer(
  request: SimulatedRequest,
  groups: readonly GroupDiscovery[],
  form: 'v2' | 'v2beta1',
): Answer {
  const etag = `"${discoveryEtag(groups)}"`;
  const headers = { etag, vary: 'Accept', 'cache-control': 'public' };
  if (headerText(request, 'if-none-match') === etag) return { kind: 'text', status: 304, text: '', headers };
  const document = encodeDiscoveryList(groups, { typeMeta: true });
  return {
    kind: 'text',
    status: 200,
    text: form === 'v2' ? document : document.replace('apidiscovery.k8s.io/v2', 'apidiscovery.k8s.io/v2beta1'),
    headers: {
      ...headers,
      'content-type': `application/json;g=apidiscovery.k8s.io;v=${form};as=APIGroupDiscoveryList`,
    },
  };
}

function apiVersions(core: readonly GroupDiscovery[], address: string): object {
  return {
    kind: 'APIVersions',
    versions: core.flatMap(({ versions = [] }) => versions.map(({ version }) => version)),
    serverAddressByClientCIDRs: [{ clientCIDR: '0.0.0.0/0', serverAddress: address }],
  };
}

function apiGroupList(groups: readonly GroupDiscovery[]): object {
  return { kind: 'APIGroupList', apiVersion: 'v1', groups: groups.map(legacyGroup) };
}

function legacyGroup({ name, versions = [] }: GroupDiscovery): object {
  const list = versions.map(({ version }) => ({ groupVersion: `${name}/${version}`, version }));
  return { name, versions: list, preferredVersion: list[0] };
}

function legacyResources(resource: ResourceDiscovery, group: string): object[] {
  const namespaced = resource.scope === 'Namespaced';
  const kindOf = (kind: ResourceDiscovery['responseKind']) => ({
    // Omitted if they equal those of the list.
    ...(kind !== undefined &&
      kind.group !== '' &&
      kind.group !== group && { group: kind.group, version: kind.version }),
    kind: kind?.kind ?? '',
  });
  const { shortNames, categories, subresources = [] } = resource;
  return [
    {
      name: resource.resource,
      singularName: resource.singularResource,
      namespaced,
      ...kindOf(resource.responseKind),
      verbs: resource.verbs,
      ...(shortNames !== undefined && { shortNames }),
      ...(categories !== undefined && { categories }),
    },
    ...subresources.map(({ subresource, responseKind, verbs }) => ({
      name: `${resource.resource}/${subresource}`,
      singularName: '',
      namespaced,
      ...kindOf(responseKind),
      verbs,
    })),
  ];
}
