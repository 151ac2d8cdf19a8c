/**
 * A Lease says that somebody lives: a node that cannot renew its own counts as dead, which is worse than a lost field.
 */
export function isHeartbeat(group: string, resource: string): boolean {
  return group === 'coordination.k8s.io' && resource === 'leases';
}

/** Groups whose resources are questions, such as SubjectAccessReview and TokenReview, none of which is ever stored. */
export function isReview(group: string): boolean {
  return group === 'authentication.k8s.io' || group === 'authorization.k8s.io';
}
