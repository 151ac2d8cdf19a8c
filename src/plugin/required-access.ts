import { addressWatches } from '../domain/address-watches.ts';
import type { AccessQuestion } from './ports.ts';

interface Need extends Omit<AccessQuestion, 'verb' | 'serviceAccount'> {
  readonly verbs: readonly string[];
}

/**
 * The rights that the operator's and the proxy's ServiceAccounts need. A test holds that `config/rbac` grants exactly
 * these.
 */
export function requiredAccess(
  component: 'operator' | 'proxy',
  namespaces: {
    readonly own: string;
    readonly leases: string;
    readonly table: { readonly namespace: string; readonly name: string };
  },
  serviceAccount = `${namespaces.own}:peerdiscovery-${component}`,
): readonly AccessQuestion[] {
  const watch = ['list', 'watch'];
  const { own, leases, table } = namespaces;
  const needs: readonly Need[] =
    component === 'proxy'
      ? [
          { resource: 'configmaps', namespace: table.namespace, verbs: watch },
          {
            group: 'coordination.k8s.io',
            resource: 'leases',
            namespace: table.namespace,
            name: table.name,
            verbs: watch,
          },
          {
            group: 'coordination.k8s.io',
            resource: 'leases',
            namespace: table.namespace,
            name: `${table.name}-behind`,
            verbs: ['patch'],
          },
          { group: 'peerdiscovery.dev', resource: 'peerdiscoveries', verbs: ['get'] },
          { group: 'peerdiscovery.dev', resource: 'peerdiscoveries', subresource: 'status', verbs: ['patch'] },
        ]
      : [
          { group: 'peerdiscovery.dev', resource: 'peerdiscoveries', verbs: watch },
          { group: 'peerdiscovery.dev', resource: 'peerdiscoveries', subresource: 'status', verbs: ['patch'] },
          { group: 'apiextensions.k8s.io', resource: 'customresourcedefinitions', verbs: watch },
          { group: 'apiregistration.k8s.io', resource: 'apiservices', verbs: watch },
          { group: 'events.k8s.io', resource: 'events', namespace: 'default', verbs: ['create', 'patch'] },
          { group: 'coordination.k8s.io', resource: 'leases', namespace: leases, verbs: watch },
          ...Object.values(addressWatches).map(({ group, resource, namespace }) => ({
            ...(group !== undefined && { group }),
            resource,
            ...(namespace !== undefined && { namespace }),
            verbs: watch,
          })),
          { group: 'coordination.k8s.io', resource: 'leases', namespace: own, verbs: ['get', 'create', 'update'] },
          {
            group: 'coordination.k8s.io',
            resource: 'leases',
            namespace: table.namespace,
            verbs: ['list', 'watch', 'create', 'patch', 'delete'],
          },
          { resource: 'configmaps', namespace: table.namespace, verbs: ['get', 'list', 'create', 'patch', 'delete'] },
          { group: 'authentication.k8s.io', resource: 'tokenreviews', verbs: ['create'] },
          { group: 'authorization.k8s.io', resource: 'subjectaccessreviews', verbs: ['create'] },
          ...['/api', '/api/*', '/apis', '/apis/*', '/openapi/v3', '/readyz', '/version'].map((nonResourcePath) => ({
            nonResourcePath,
            verbs: ['get'],
          })),
        ];
  return needs.flatMap(({ verbs, ...question }) => verbs.map((verb) => ({ ...question, verb, serviceAccount })));
}

/** The question, worded as for `kubectl auth can-i`. */
export function formatAccess({
  verb,
  group,
  resource,
  subresource,
  namespace,
  nonResourcePath,
}: AccessQuestion): string {
  if (nonResourcePath !== undefined) return `${verb} ${nonResourcePath}`;
  const what = `${resource}${group === undefined || group === '' ? '' : `.${group}`}`;
  return `${verb} ${what}${subresource === undefined ? '' : `/${subresource}`}${namespace === undefined ? '' : ` in ${namespace}`}`;
}
