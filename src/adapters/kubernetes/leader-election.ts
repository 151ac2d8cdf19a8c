import type { V1Lease } from '@kubernetes/client-node';
import type { ElectionTrouble } from '../../operator/ports.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import { messageOf } from '../../runtime/message-of.ts';
import type { ApiClient } from './api-client.ts';
import { ApiError } from './api-error.ts';
import { managedBy } from './managed-by.ts';

/** The options of an election. */
export interface LeaderElectionOptions {
  readonly client: ApiClient;
  readonly namespace: string;
  /** Name of the Lease. */
  readonly name: string;
  /** Unique for every candidate and every start. */
  readonly identity: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly random: () => number;
  /**
   * The leader's work. It must end soon after its signal aborts; a rejection ends the election with that error. `leads`
   * returns false as soon as another candidate may lead, even in a process that was suspended and resumed.
   */
  readonly onStartedLeading: (signal: AbortSignal, leads: () => boolean) => Promise<void>;
  readonly onStoppedLeading: () => void;
  /** Called when a trouble that has lasted for `troubleAfterMs` changes; undefined when it is over. */
  readonly onTrouble?: (reason: ElectionTrouble | undefined, message: string) => void;
  /** A monotonic clock; the process's own by default. */
  readonly monotonicMs?: () => number;
  readonly leaseDurationMs?: number;
  readonly renewDeadlineMs?: number;
  readonly retryPeriodMs?: number;
  /** A shorter refusal is not reported. */
  readonly troubleAfterMs?: number;
}

type Lease = Omit<V1Lease, 'spec'> & { spec?: LeaseSpec };

interface LeaseSpec {
  holderIdentity?: string;
  leaseDurationSeconds?: number;
  acquireTime?: string;
  renewTime?: string;
  leaseTransitions?: number;
}

type Attempt = 'Held' | 'HeldByOther' | 'Failed';

// From client-go: each wait for the lock is between one and 2.2 retry periods.
const jitterFactor = 1.2;

/**
 * Runs the leader's work in at most one candidate at a time, by client-go's rules for a Lease, until `signal` aborts.
 *
 * It judges a Lease by the time at which this process saw it change, and never compares clocks of machines. A leader
 * that could not renew for `renewDeadlineMs` stops before anyone else may take over, and then competes again. At
 * shutdown it releases the Lease so that the next leader need not wait, but only if the work has ended by then.
 *
 * https://github.com/kubernetes/client-go/blob/master/tools/leaderelection/leaderelection.go
 */
export async function runLeaderElection(options: LeaderElectionOptions): Promise<void> {
  const { client, namespace, name, identity, clock, signal, random } = options;
  const {
    leaseDurationMs = 15_000,
    renewDeadlineMs = 10_000,
    retryPeriodMs = 2_000,
    troubleAfterMs = 15_000,
  } = options;
  const monotonicMs = options.monotonicMs ?? (() => performance.now());
  const log = options.log.child({ lease: `${namespace}/${name}`, identity });
  const collection = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
  const path = `${collection}/${name}`;
  let observed: Lease | undefined;
  let observedAtMs = 0;
  /** When this process began its last successful write: no other process can have seen it earlier. */
  let renewedAtMs = 0;
  let trouble: ElectionTrouble | undefined;
  let troubledSinceMs = 0;
  let toldOf: ElectionTrouble | undefined;

  function observe(lease: Lease) {
    if (JSON.stringify(lease.spec) !== JSON.stringify(observed?.spec) || !observed) observedAtMs = monotonicMs();
    observed = lease;
  }

  function isOurs(lease: Lease | undefined): boolean {
    return lease?.spec?.holderIdentity === identity;
  }

  function isHeldByOther(lease: Lease): boolean {
    const { holderIdentity, leaseDurationSeconds } = lease.spec ?? {};
    if (!holderIdentity || holderIdentity === identity) return false;
    return observedAtMs + (leaseDurationSeconds ?? leaseDurationMs / 1000) * 1000 > monotonicMs();
  }

  function specNow(before: LeaseSpec | undefined): LeaseSpec {
    const now = microTime(clock.date());
    const kept = before?.holderIdentity === identity ? before : undefined;
    return {
      holderIdentity: identity,
      leaseDurationSeconds: Math.ceil(leaseDurationMs / 1000),
      acquireTime: kept?.acquireTime ?? now,
      renewTime: now,
      leaseTransitions: (before?.leaseTransitions ?? 0) + (before && !kept ? 1 : 0),
    };
  }

  /** Takes or renews the Lease. A conflict means that another candidate was faster. */
  async function attempt(attemptSignal: AbortSignal): Promise<Attempt> {
    const startedAtMs = monotonicMs();
    try {
      const outcome = await takeOrRenew(attemptSignal);
      if (outcome === 'Held') renewedAtMs = startedAtMs;
      settle();
      return outcome;
    } catch (error) {
      if (attemptSignal.aborted && signal.aborted) return 'Failed';
      if (error instanceof ApiError && error.code === 409) {
        log.debug('another candidate wrote the lease first');
        observed = undefined;
        return 'Failed';
      }
      report(error);
      return 'Failed';
    }
  }

  async function takeOrRenew(attemptSignal: AbortSignal): Promise<Attempt> {
    if (observed && isOurs(observed)) {
      // The common case: this process's last write is still current, so one request renews it.
      try {
        return await write({ ...observed, spec: specNow(observed.spec) }, attemptSignal);
      } catch (error) {
        if (!(error instanceof ApiError) || (error.code !== 409 && error.code !== 404)) throw error;
      }
    }
    const current = await client.get<Lease>(path, { signal: attemptSignal });
    if (!current) {
      const made = await client.create<Lease>(
        collection,
        {
          apiVersion: 'coordination.k8s.io/v1',
          kind: 'Lease',
          metadata: { name, namespace, labels: managedBy },
          spec: specNow(undefined),
        },
        { signal: attemptSignal },
      );
      observe(made);
      return 'Held';
    }
    observe(current);
    if (isHeldByOther(current)) return 'HeldByOther';
    return await write({ ...current, spec: { ...current.spec, ...specNow(current.spec) } }, attemptSignal);
  }

  /** `metadata.resourceVersion` makes the write fail if the Lease changed meanwhile. */
  async function write(lease: Lease, attemptSignal: AbortSignal): Promise<Attempt> {
    observe(await client.replace<Lease>(path, lease, { signal: attemptSignal }));
    return 'Held';
  }

  function report(error: unknown) {
    const reason = classify(error);
    const message = messageOf(error);
    const now = monotonicMs();
    if (trouble === undefined) troubledSinceMs = now;
    if (trouble !== reason) log.warn('leader election is in trouble', { reason, message });
    trouble = reason;
    if (now - troubledSinceMs < troubleAfterMs || toldOf === reason) return;
    toldOf = reason;
    options.onTrouble?.(reason, message);
  }

  function settle() {
    if (trouble === undefined) return;
    trouble = undefined;
    log.info('leader election works again');
    if (toldOf === undefined) return;
    toldOf = undefined;
    options.onTrouble?.(undefined, '');
  }

  /** Returns true once this process holds the Lease, false if it was stopped before. */
  async function acquire(): Promise<boolean> {
    let seenHolder: string | undefined;
    while (!signal.aborted) {
      if ((await attempt(signal)) === 'Held') return true;
      const holder = observed?.spec?.holderIdentity;
      if (holder && holder !== identity && holder !== seenHolder) log.info('waiting for the lease', { holder });
      seenHolder = holder ?? seenHolder;
      await clock.sleep(retryPeriodMs * (1 + random() * jitterFactor), signal);
    }
    return false;
  }

  /** Returns when leadership is lost or `leading` is aborted. */
  async function keepRenewing(leading: AbortSignal): Promise<void> {
    for (;;) {
      await clock.sleep(retryPeriodMs, leading);
      if (leading.aborted) return;
      const leftMs = renewedAtMs + renewDeadlineMs - monotonicMs();
      const outcome = leftMs > 0 ? await attemptWithin(leftMs, leading) : 'Failed';
      if (leading.aborted) return;
      if (outcome === 'HeldByOther') return log.error('lost the lease to another candidate');
      if (outcome === 'Failed' && monotonicMs() - renewedAtMs >= renewDeadlineMs) {
        return log.error('could not renew the lease in time', { renewDeadlineMs });
      }
    }
  }

  async function attemptWithin(limitMs: number, leading: AbortSignal): Promise<Attempt> {
    const limit = new AbortController();
    const stop = () => limit.abort(leading.reason);
    leading.addEventListener('abort', stop, { once: true });
    void clock.sleep(limitMs, limit.signal).then(() => limit.abort(new Error(`no renewal in ${limitMs} ms`)));
    try {
      return await attempt(limit.signal);
    } finally {
      leading.removeEventListener('abort', stop);
      limit.abort();
    }
  }

  async function lead(): Promise<void> {
    log.info('leading');
    const leading = new AbortController();
    const stop = () => leading.abort(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    let fault: { error: unknown } | undefined;
    let working = true;
    const leads = () => !leading.signal.aborted && monotonicMs() - renewedAtMs < renewDeadlineMs;
    // Deferred by a microtask, so that a synchronous throw becomes a rejection.
    const work = Promise.resolve()
      .then(() => options.onStartedLeading(leading.signal, leads))
      .catch((error: unknown) => {
        if (leading.signal.aborted) return;
        fault = { error };
        leading.abort(error);
      })
      .finally(() => {
        working = false;
      });
    await keepRenewing(leading.signal);
    signal.removeEventListener('abort', stop);
    const lost = !leading.signal.aborted;
    leading.abort(new Error('no longer leading'));
    if (signal.aborted || fault) {
      const ended = new AbortController();
      await Promise.race([work, clock.sleep(renewDeadlineMs - retryPeriodMs, ended.signal)]);
      ended.abort();
      if (working) log.warn("the leader's work has not ended; letting the lease expire");
      else if (!lost) await release();
    } else {
      await work;
    }
    log.info('stopped leading');
    options.onStoppedLeading();
    if (fault) throw fault.error;
  }

  async function release(): Promise<void> {
    if (!observed || !isOurs(observed)) return;
    const now = microTime(clock.date());
    const spec = { ...observed.spec, holderIdentity: '', leaseDurationSeconds: 1, renewTime: now, acquireTime: now };
    try {
      await client.replace(path, { ...observed, spec });
    } catch (error) {
      log.warn('could not release the lease; it expires', { error });
    }
  }

  while (await acquire()) await lead();
}

function classify(error: unknown): ElectionTrouble {
  if (!(error instanceof ApiError)) return 'Unreachable';
  if (error.code === 0) return 'Unreachable';
  if (error.code === 403 || error.code === 401) return 'Forbidden';
  if (error.code === 404 && error.status?.details?.kind === 'namespaces') return 'NamespaceMissing';
  return 'Failed';
}

/** Formats like Kubernetes' MicroTime: RFC 3339 with six digits. */
export function microTime(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '000Z');
}
