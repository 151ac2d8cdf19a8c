/** Annotation of a table's Lease by which the operator that confirms the table says its own version. */
export const operatorVersionAnnotation = 'peerdiscovery.dev/operator-version';
