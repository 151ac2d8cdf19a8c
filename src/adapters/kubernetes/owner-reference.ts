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
