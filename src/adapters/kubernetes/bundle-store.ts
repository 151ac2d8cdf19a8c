import { type BundleStore, TerminalError } from '../../operator/ports.ts';
import type { Clock } from '../../runtime/clock.ts';
import { type ApiClient, ApiError } from './api-client.ts';
import { type BundleLocation, publishBundle, readBundle, readHead } from './config-map-bundle.ts';
import { confirmTable } from './table-lease.ts';

/** What a store writes with, and where. */
export interface BundleStoreOptions {
  readonly client: ApiClient;
  readonly location: BundleLocation;
  readonly fieldManager: string;
  /** Who confirms, for the Lease. */
  readonly holder: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Keeps bundles in ConfigMaps; what waiting does not mend is a `TerminalError` that says what to change. */
export function createBundleStore({
  client,
  location,
  fieldManager,
  holder,
  clock,
  signal,
}: BundleStoreOptions): BundleStore {
  const place = { ...location, signal };
  const explained = async <Result>(work: () => Promise<Result>): Promise<Result> => {
    try {
      return await work();
    } catch (error) {
      throw asTerminal(error, location.namespace);
    }
  };
  return {
    read: () =>
      explained(async () => {
        const found = await readHead(client, place);
        if (!found.ok) return { revision: 0 };
        const bundle = await readBundle(client, place, found.head);
        return { revision: found.head.revision, ...(bundle !== undefined && { bundle }) };
      }),
    publish: (bundle) =>
      explained(async () => {
        const outcome = await publishBundle(client, { ...place, fieldManager }, bundle);
        return outcome.published ? undefined : { overtakenBy: outcome.revision };
      }),
    confirm: (revision) => confirmTable(client, { ...place, fieldManager, holder }, revision, clock.now()),
  };
}

/** A namespace that is not there and rights that are not given: waiting does not help. */
function asTerminal(error: unknown, namespace: string): unknown {
  if (!(error instanceof ApiError)) return error;
  if (error.code === 404 && error.status?.details?.kind === 'namespaces')
    return new TerminalError(
      'NamespaceMissing',
      `the namespace ${namespace} of the routing table does not exist: create it, or set spec.routingTable.namespace`,
      { cause: error },
    );
  if (error.code === 403)
    return new TerminalError(
      'Forbidden',
      `the routing table may not be read or written in namespace ${namespace}: ${error.message}`,
      { cause: error },
    );
  return error;
}
