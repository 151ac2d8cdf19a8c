import type { AddressSource } from './resolve-peers.ts';

/** Which objects of the API server contain addresses of kube-apiservers. */
export interface AddressWatch {
  /** Absent for the core group. */
  readonly group?: string;
  readonly version: string;
  readonly resource: string;
  /** Absent for cluster-scoped objects. */
  readonly namespace?: string;
  readonly labelSelector: string;
  /**
   * What is in doubt while the objects cannot be read. `Nothing` if they only say where the server of a known Lease is:
   * a server without an address is a doubt by itself. Objects that alone may list a server put the number of servers in
   * doubt.
   */
  readonly inDoubt: 'Nothing' | MissedServers;
}

/** The servers that may be missed while these objects cannot be read. */
export interface MissedServers {
  /** The source that reads the objects; they are needed only if the spec names it. */
  readonly source: AddressSource;
  /** One CamelCase word for a condition. */
  readonly reason: string;
  /** The objects in a message, such as "the EndpointSlice of default/kubernetes". */
  readonly objects: string;
}

/** Names of the kinds of objects that contain addresses. */
export type AddressObjectName = 'pods' | 'nodes' | 'endpointSlices';

/** Each kind of object is watched as this says, and the operator needs the rights to list and watch it. */
export const addressWatches: { readonly [Name in AddressObjectName]: AddressWatch } = {
  pods: {
    version: 'v1',
    resource: 'pods',
    namespace: 'kube-system',
    labelSelector: 'component=kube-apiserver',
    inDoubt: 'Nothing',
  },
  nodes: {
    version: 'v1',
    resource: 'nodes',
    labelSelector: 'node-role.kubernetes.io/control-plane',
    inDoubt: 'Nothing',
  },
  endpointSlices: {
    group: 'discovery.k8s.io',
    version: 'v1',
    resource: 'endpointslices',
    namespace: 'default',
    labelSelector: 'kubernetes.io/service-name=kubernetes',
    inDoubt: {
      source: 'EndpointSlice',
      reason: 'EndpointsUnknown',
      objects: 'the EndpointSlice of default/kubernetes',
    },
  },
};

/** All kinds of objects that contain addresses. */
export const addressObjectNames = Object.keys(addressWatches) as readonly AddressObjectName[];

/** The path at which the API server lists the objects. */
export function pathOfWatch({ group, version, resource, namespace }: AddressWatch): string {
  const prefix = group === undefined ? `/api/${version}` : `/apis/${group}/${version}`;
  return namespace === undefined ? `${prefix}/${resource}` : `${prefix}/namespaces/${namespace}/${resource}`;
}
