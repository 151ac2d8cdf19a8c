/**
 * Labels of every object that the operator creates, except Events.
 *
 * By this label, an administrator finds the leftovers of an uninstalled operator. Kubernetes's garbage collector keeps
 * the dependents of an owner whose CustomResourceDefinition it has never read.
 */
export const managedBy = { 'app.kubernetes.io/managed-by': 'peerdiscovery' } as const;
