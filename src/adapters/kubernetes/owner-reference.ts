import { apiVersion, kind, type PeerDiscovery } from '../../api/peer-discovery.ts';

/** Metadata that lets Kubernetes delete an object once its owner is gone. */
export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
}

/**
 * `ownerReferences` for an object's metadata; none if the owner is not known.
 *
 * It does not block the owner's deletion, because that would need a right to the owner's finalizers.
 */
export function ownedBy(owner: OwnerReference | undefined) {
  return owner === undefined ? {} : { ownerReferences: [{ ...owner, blockOwnerDeletion: false }] };
}

/** The reference to a PeerDiscovery, for Events about it, and for objects that are deleted with it. */
export function referenceTo({ metadata }: PeerDiscovery): OwnerReference {
  const { name = '', uid = '' } = metadata ?? {};
  return { apiVersion, kind, name, uid };
}
