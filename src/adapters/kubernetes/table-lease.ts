import { randomBytes } from 'node:crypto';
import { operatorVersionAnnotation } from '../../api/operator-version.ts';
import { createBackoff } from '../../runtime/backoff.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { ApiClient } from './api-client.ts';
import { ApiError } from './api-error.ts';
import type { BundleLocation } from './config-map-bundle.ts';
import { microTime } from './leader-election.ts';
import { managedBy } from './managed-by.ts';
import { type OwnerReference, ownedBy } from './owner-reference.ts';
import { startReflector, type Watchable } from './reflector.ts';

/** How long proxies believe a table without a confirmation. Operators confirm six times as often. */
export const believedForMs = 30_000;
/** How far the watch of the table may lag behind the watch of the Lease. */
const lagMs = 2_000;
/** A renewal sooner than this after another was delivered late, as by a hung watch. It may be of any age. */
const leastIntervalMs = 1_000;
/** A renewal later than this after another may have been delayed for as long. */
const mostIntervalMs = 20_000;
const revisionAnnotation = 'peerdiscovery.dev/revision';
const answersAnnotation = 'peerdiscovery.dev/answers';
/** An unanswered question is repeated after this time. */
const askAgainAfterMs = 1_000;
/** Number of recent questions that an answer may name. */
const maxQuestions = 5;

interface LeaseObject extends Watchable {
  readonly metadata?: Watchable['metadata'] & { readonly annotations?: Readonly<Record<string, string>> };
  readonly spec?: { readonly renewTime?: string; readonly holderIdentity?: string };
}

/**
 * Confirms that the operator would publish this revision now, by renewing a Lease with the table's name.
 *
 * A table does not change while nothing else does, so its age says nothing. Without a confirmation, a proxy could
 * neither tell a quiet control plane from a missing operator, nor notice that its watch of the table has died.
 *
 * @throws {ForeignLeaseError} if other software has a Lease with this name; that Lease stays as it is
 */
export async function confirmTable(
  client: ApiClient,
  location: BundleLocation & {
    readonly fieldManager: string;
    readonly holder: string;
    readonly operatorVersion?: string | undefined;
    readonly ownerReference?: OwnerReference | undefined;
    readonly signal?: AbortSignal;
  },
  revision: number,
  now: number,
  /** Questions of proxies that arrived before this confirmation began. */
  answers: readonly string[] = [],
): Promise<void> {
  const { namespace, name, fieldManager, holder, operatorVersion, ownerReference, signal } = location;
  const annotations = {
    [revisionAnnotation]: String(revision),
    ...(operatorVersion !== undefined && { [operatorVersionAnnotation]: operatorVersion }),
    ...(answers.length > 0 && { [answersAnnotation]: answers.join(' ') }),
  };
  const object = {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name, namespace, labels: managedBy, annotations, ...ownedBy(ownerReference) },
    spec: { holderIdentity: holder, leaseDurationSeconds: believedForMs / 1_000, renewTime: microTime(now) },
  };
  const path = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/${name}`;
  try {
    await client.apply(path, object, { fieldManager, signal });
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 409) throw error;
    // Another client wrote its fields: a restored backup if it is a confirmation, else other software.
    const found = await client.get<LeaseObject>(path, { signal });
    if (revisionOf(found) === 0) throw new ForeignLeaseError(found?.spec?.holderIdentity || 'nobody');
    await client.apply(path, object, { fieldManager, force: true, signal });
  }
}

/** A Lease with the table's name exists but confirms no table. It belongs to other software, which may rely on it. */
export class ForeignLeaseError extends Error {
  override readonly name = 'ForeignLeaseError';
  constructor(holder: string) {
    super(`the Lease belongs to other software and is held by ${holder}`);
  }
}

/** The last confirmed revision, regardless of its operator; 0 if none can be read. */
export async function readConfirmedRevision(
  client: ApiClient,
  { namespace, name, signal }: BundleLocation & { readonly signal?: AbortSignal },
): Promise<number> {
  const path = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/${name}`;
  const found = await client.get<LeaseObject>(path, { signal });
  return revisionOf(found);
}

/** When the table was last confirmed, as its Lease says now; undefined if there is none. */
export async function confirmedAt(
  client: ApiClient,
  { namespace, name, signal }: BundleLocation & { readonly signal?: AbortSignal },
): Promise<string | undefined> {
  const path = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
  // A proxy may list this one Lease, but not get it.
  const { items } = await client.list<LeaseObject>(path, { query: { fieldSelector: `metadata.name=${name}` }, signal });
  return items[0]?.spec?.renewTime;
}

function revisionOf(lease: LeaseObject | undefined): number {
  const revision = Number(lease?.metadata?.annotations?.[revisionAnnotation]);
  return Number.isSafeInteger(revision) && revision > 0 ? revision : 0;
}

/**
 * Follows the confirmations of a table. The result says why a table of this revision is in doubt; undefined if it is
 * not.
 *
 * While the table is in doubt, it asks for a confirmation. A confirmation that names the question was made after it, so
 * it counts at once, from the time of the question. Without an answer, two confirmations at regular times are needed.
 */
export function watchConfirmations(
  options: BundleLocation & {
    readonly client: ApiClient;
    readonly clock: Clock;
    readonly log: Log;
    readonly signal: AbortSignal;
    readonly random: () => number;
    /** Receives the time in each confirmation. */
    readonly onHeard?: (renewTime: string) => void;
    /** Asks for a confirmation that names this question. */
    readonly ask?: (question: string) => void;
    /** Called when a question is answered. */
    readonly onAnswered?: () => void;
  },
): (revision: number) => string | undefined {
  const { namespace, name, clock, signal } = options;
  const questions = new Map<string, number>();
  let renewTime: string | undefined;
  // Judged by the time when this process saw it change, never by comparing clocks of machines. A change counts only at
  // its regular time after another. The first one seen, and a burst after a gap, may be the last words of an operator
  // that is long gone.
  let changedAt: number | undefined;
  let believedAt: number | undefined;
  let confirmed = 0;
  let confirmedSince = clock.now();
  startReflector<LeaseObject>({
    ...options,
    path: `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`,
    fieldSelector: `metadata.name=${name}`,
    onChange: (event) => {
      if (event.type !== 'Added' && event.type !== 'Modified') return;
      const now = clock.now();
      const revision = revisionOf(event.object);
      // A Lease of other software with this name confirms nothing, however often it is renewed.
      if (revision === 0) {
        believedAt = undefined;
        return;
      }
      if (revision !== confirmed) confirmedSince = now;
      // An operator never goes back, so this Lease comes from a backup, or from an operator that does not know the
      // past.
      const wentBack = revision < confirmed;
      if (wentBack) believedAt = undefined;
      confirmed = revision;
      if (event.object.spec?.renewTime === renewTime) return;
      renewTime = event.object.spec?.renewTime;
      if (renewTime !== undefined) options.onHeard?.(renewTime);
      const intervalMs = changedAt === undefined ? undefined : now - changedAt;
      changedAt = now;
      if (wentBack) return;
      const askedAt = answered(event.object);
      if (askedAt !== undefined) {
        believedAt = Math.max(believedAt ?? askedAt, askedAt);
        options.onAnswered?.();
      }
      if (intervalMs !== undefined && intervalMs >= leastIntervalMs && intervalMs <= mostIntervalMs) believedAt = now;
    },
  });
  /** When the newest question was asked that this confirmation answers. */
  function answered(lease: LeaseObject): number | undefined {
    const answers = lease.metadata?.annotations?.[answersAnnotation]?.split(' ') ?? [];
    const asked = answers.flatMap((question) => questions.get(question) ?? []);
    return asked.length > 0 ? Math.max(...asked) : undefined;
  }

  async function askWhileInDoubt(ask: (question: string) => void): Promise<void> {
    const { random } = options;
    const backoff = createBackoff({ baseMs: askAgainAfterMs, capMs: 30_000, floorMs: askAgainAfterMs, random });
    while (!signal.aborted) {
      const believed = believedAt !== undefined && clock.now() - believedAt < believedForMs;
      if (believed) backoff.reset();
      else {
        const question = randomBytes(8).toString('hex');
        questions.set(question, clock.now());
        for (const oldest of [...questions.keys()].slice(0, -maxQuestions)) questions.delete(oldest);
        ask(question);
      }
      await clock.sleep(believed ? askAgainAfterMs : backoff.nextMs(), signal);
    }
  }
  if (options.ask !== undefined) void askWhileInDoubt(options.ask);

  return (revision) => {
    const now = clock.now();
    if (believedAt === undefined)
      return `the operator has not confirmed the table twice since this proxy started (Lease ${namespace}/${name})`;
    if (now - believedAt >= believedForMs)
      return `the operator has not confirmed the table for more than ${believedForMs / 1_000} s (Lease ${namespace}/${name})`;
    if (revision < confirmed && now - confirmedSince >= lagMs)
      return `the operator confirms revision ${confirmed}, but this proxy has ${revision}`;
    return undefined;
  };
}
