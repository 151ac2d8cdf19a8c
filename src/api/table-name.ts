import type { TableLocation } from '../domain/routing-table.ts';

/** Names that other objects of routing tables have or may get, as a regular expression for CEL and JavaScript. */
export const reservedTableNames =
  '^(peerdiscovery-operator|peerdiscovery-ca|kube-root-ca[.]crt)$|-behind$|-[0-9a-f]{10}-[0-9]+$';

/** The error for a reserved name, with its cure. */
export const reservedTableNameMessage =
  'is reserved: peerdiscovery-operator is the Lease of the leader election, peerdiscovery-ca and kube-root-ca.crt are ' +
  'ConfigMaps that hold CAs, and NAME-behind and NAME-0123456789-0 belong to the routing table NAME; choose another, ' +
  'for example peerdiscovery-blue';

/** The Lease of the operator's leader election, in its own namespace. */
export const electionLease = 'peerdiscovery-operator';

/** Names that a table can never have, because other objects have them. */
const namesOfOthers: ReadonlySet<string> = new Set([electionLease, 'peerdiscovery-ca', 'kube-root-ca.crt']);

/** The default name of the table of a PeerDiscovery. */
export function defaultTableName(owner: string): string {
  return `peerdiscovery-${owner}`;
}

/**
 * The owner whose objects a table would overwrite, as text; undefined if there is none.
 *
 * It is laxer than the CustomResourceDefinition. A PeerDiscovery from before that refused reserved names keeps working
 * as long as it conflicts with no other.
 */
export function findTableConflict(
  table: TableLocation,
  others: Iterable<{ readonly owner: string; readonly table: TableLocation }>,
): string | undefined {
  if (namesOfOthers.has(table.name)) return `${JSON.stringify(table.name)} ${reservedTableNameMessage}`;
  for (const { owner, table: other } of others)
    if (other.namespace === table.namespace && (isPartOf(table.name, other.name) || isPartOf(other.name, table.name)))
      return (
        `${JSON.stringify(table.name)} is also a name of the routing table ${JSON.stringify(other.name)} of ` +
        `PeerDiscovery ${owner}; choose another, for example peerdiscovery-blue`
      );
  return undefined;
}

/** True if an object of the table `whole`, other than its head, could have this name. */
function isPartOf(name: string, whole: string): boolean {
  return name.startsWith(`${whole}-`) && /^(behind|[0-9a-f]{10}-[0-9]+)$/.test(name.slice(whole.length + 1));
}
