import { createBackoff } from '../../runtime/backoff.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { ApiClient } from './api-client.ts';
import type { BundleLocation } from './config-map-bundle.ts';
import { microTime } from './leader-election.ts';
import { managedBy } from './managed-by.ts';
import { type OwnerReference, ownedBy } from './owner-reference.ts';
import { startReflector, type Watchable } from './reflector.ts';

const addressAnnotation = 'peerdiscovery.dev/behind';
const questionAnnotation = 'peerdiscovery.dev/asks';
/** Minimum time between two reports about the same server, for each proxy. */
const reportEveryMs = 5_000;

interface BehindLease extends Watchable {
  readonly metadata?: Watchable['metadata'] & { readonly annotations?: Readonly<Record<string, string>> };
  readonly spec?: { readonly renewTime?: string };
}

const leasesPath = ({ namespace }: BundleLocation) => `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
const leaseName = ({ name }: BundleLocation) => `${name}-behind`;

/**
 * Creates a function that tells the table's owner that the server at an address does not serve what the table says.
 *
 * It patches a Lease that the operator made and watches. So a proxy needs only the right to patch that one object, and
 * cannot touch the Lease that confirms the table. A failed report is dropped, because the operator polls anyway.
 */
export function createBehindReporter(
  client: ApiClient,
  location: BundleLocation,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): (address: string) => void {
  const reportedAt = new Map<string, number>();
  return (address) => {
    const now = clock.now();
    if (now - (reportedAt.get(address) ?? -reportEveryMs) < reportEveryMs) return;
    reportedAt.set(address, now);
    const patch = {
      metadata: { annotations: { [addressAnnotation]: address } },
      spec: { renewTime: microTime(clock.date()) },
    };
    client
      .patchMerge(`${leasesPath(location)}/${leaseName(location)}`, patch)
      .catch((error: unknown) => log.debug('cannot tell the operator that the table is behind', { error }));
  };
}

/**
 * Creates a function that asks the table's owner for a confirmation with a given question, through the same Lease. A
 * failed question is dropped.
 */
export function createAsker(client: ApiClient, location: BundleLocation, log: Log): (question: string) => void {
  return (question) => {
    const patch = { metadata: { annotations: { [questionAnnotation]: question } } };
    client
      .patchMerge(`${leasesPath(location)}/${leaseName(location)}`, patch)
      .catch((error: unknown) => log.debug('cannot ask the operator for a confirmation', { error }));
  };
}

/**
 * Calls back at each new report and question. Ensures that the Lease for reports exists: it retries after failures, and
 * recreates a deleted Lease.
 */
export function watchBehindReports(
  options: BundleLocation & {
    readonly client: ApiClient;
    readonly fieldManager: string;
    /** The owner that the Lease is deleted with. */
    readonly ownerReference?: OwnerReference;
    readonly onBehind: (address: string) => void;
    /** Receives each question of a proxy for a confirmation. */
    readonly onAsked?: (question: string) => void;
    readonly clock: Clock;
    readonly log: Log;
    readonly signal: AbortSignal;
    readonly random: () => number;
  },
): void {
  const { client, fieldManager, onBehind, clock, log, signal, random } = options;
  const name = leaseName(options);
  let seen: string | undefined;
  let seenQuestion: string | undefined;
  startReflector<BehindLease>({
    ...options,
    path: leasesPath(options),
    fieldSelector: `metadata.name=${name}`,
    onChange: (event) => {
      if (event.type === 'Deleted') void make();
      if (event.type !== 'Added' && event.type !== 'Modified') return;
      const question = event.object.metadata?.annotations?.[questionAnnotation];
      const isNew = question !== undefined && question !== seenQuestion && event.type === 'Modified';
      seenQuestion = question;
      // It is copied into another Lease unchanged.
      if (isNew && /^[0-9a-f]{16}$/.test(question)) options.onAsked?.(question);
      const { renewTime } = event.object.spec ?? {};
      const address = event.object.metadata?.annotations?.[addressAnnotation];
      const news = renewTime !== undefined && renewTime !== seen && event.type === 'Modified';
      seen = renewTime;
      if (!news || address === undefined) return;
      log.info('a proxy found the table behind; reading the server again', { address });
      onBehind(address);
    },
  });
  let making = false;
  void make();

  async function make(): Promise<void> {
    if (making) return;
    making = true;
    const metadata = { name, namespace: options.namespace, labels: managedBy, ...ownedBy(options.ownerReference) };
    const object = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata, spec: { leaseDurationSeconds: 1 } };
    const backoff = createBackoff({ baseMs: 1_000, capMs: 60_000, floorMs: 500, random });
    while (!signal.aborted) {
      try {
        await client.apply(`${leasesPath(options)}/${name}`, object, { fieldManager, force: true, signal });
        break;
      } catch (error) {
        log.debug('cannot receive reports that the table is behind; trying again', { error });
        await clock.sleep(backoff.nextMs(), signal);
      }
    }
    making = false;
  }
}
