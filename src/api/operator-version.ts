/** Annotation on a table's Lease with the version of the operator that confirms the table. */
export const operatorVersionAnnotation = 'peerdiscovery.dev/operator-version';
