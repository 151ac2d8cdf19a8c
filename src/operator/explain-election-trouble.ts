import type { ElectionTrouble, Standstill } from './ports.ts';

/** The change that is needed before any replica can lead; undefined for troubles that may pass by themselves. */
export function explainElectionTrouble(
  trouble: ElectionTrouble | undefined,
  message: string,
  namespace: string,
): Standstill | undefined {
  switch (trouble) {
    case 'NamespaceMissing':
      return {
        reason: trouble,
        message: `no operator can lead, because its namespace ${namespace} does not exist: create it, or set --namespace`,
      };
    case 'Forbidden':
      return {
        reason: trouble,
        message: `no operator can lead, because it may not use its election Lease: ${message}`,
      };
    case 'Unreachable':
    case 'Failed':
    case undefined:
      return undefined;
  }
}
