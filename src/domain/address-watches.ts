/** Which objects of the API server contain addresses of kube-apiservers. */
export interface AddressWatch {
  /** Absent for the core group. */
  readonly group?: string;
  readonly version: string;
  readonly resource: string;
  /** Absent for cluster-scoped objects. */
  readonly namespace?: string;
  readonly labelSelector: string;
}

/** Names of the kinds of objects that contain addresses. */
export type AddressObjectName = 'pods' | 'nodes' | 'endpointSlices';

/** Each kind of object is watched as this says, and the operator needs the rights to list and watch it. */
export const addressWatches: { readonly [Name in AddressObjectName]: AddressWatch } = {
  pods: { version: 'v1', resource: 'pods', namespace: 'kube-system', labelSelector: 'component=kube-apiserver' },
  nodes: { version: 'v1', resource: 'nodes', labelSelector: 'node-role.kubernetes.io/control-plane' },
  endpointSlices: {
    group: 'discovery.k8s.io',
    version: 'v1',
    resource: 'endpointslices',
    namespace: 'default',
    labelSelector: 'kubernetes.io/service-name=kubernetes',
  },
};

/** The path at which the API server lists the objects. */
export function pathOfWatch({ group, version, resource, namespace }: AddressWatch): string {
  const prefix = group === undefined ? `/api/${version}` : `/apis/${group}/${version}`;
  return namespace === undefined ? `${prefix}/${resource}` : `${prefix}/namespaces/${namespace}/${resource}`;
}
