/**
 * Labels of every object that the operator creates beside Events.
 *
 * An administrator removes what an uninstalled operator left by this label, even where Kubernetes's garbage collector
 * can't: it keeps the dependents of an owner whose CustomResourceDefinition it has never read.
 */
export const managedBy = { 'app.kubernetes.io/managed-by': 'peerdiscovery' } as const;
