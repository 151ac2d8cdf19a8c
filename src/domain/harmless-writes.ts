/** A Lease is a heartbeat. A node that cannot renew its Lease counts as dead, which is worse than a lost field. */
export function isHeartbeat(group: string, resource: string): boolean {
  return group === 'coordination.k8s.io' && resource === 'leases';
}

/** Groups whose resources are questions, such as SubjectAccessReview and TokenReview. None of them is ever stored. */
export function isReview(group: string): boolean {
  return group === 'authentication.k8s.io' || group === 'authorization.k8s.io';
}
