/** How an attempt of a workload ended. `early` means that it cannot succeed yet, so it does not count. */
export type Ending = 'ok' | 'failed' | 'cut' | 'kubeletAway' | 'early';

/** One attempt of a workload. */
export interface Attempt {
  readonly workload: string;
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  readonly ending: Ending;
  /** The reason if it did not end well. */
  readonly message?: string | undefined;
}

/** The attempts of one workload. */
export interface Tally {
  readonly workload: string;
  readonly attempts: number;
  readonly failed: number;
  /** Streams that ended early after a good start. A server that stops takes them along. */
  readonly cut: number;
  /** Attempts for which the kubelet of the Pod did not listen. */
  readonly kubeletAway: number;
  /** The first failures: seconds after the start of the load, and the reason. */
  readonly failures: readonly string[];
}

/** What long-lived watches of one side saw. */
export interface HeldFigures {
  readonly watches: number;
  /** Lists and watches that were asked for. */
  readonly requests: number;
  readonly failed: number;
  readonly failures: readonly string[];
  /** Watches that had to list again, because their server no longer had the events since their last one. */
  readonly relisted: number;
  /** Events that a watch did not show, of all watches. */
  readonly missed: number;
  /** How many of the watches each server had at the end. */
  readonly perServer: readonly number[];
  /** The number of the clients' connections that each endpoint had at the end. */
  readonly perEndpoint: readonly number[];
}

/** What a manager of controller-runtime did, whose controller keeps a Secret in step with each of its ConfigMaps. */
export interface ManagerFigures {
  readonly reconciles: number;
  /** How many reconciles failed with each error. The manager repeats them. */
  readonly failures: Readonly<Record<string, number>>;
  /** The errors with which the manager ended, such as a lost Lease. */
  readonly exits: readonly string[];
  /** The number of ConfigMaps at the end. */
  readonly objects: number;
  /** ConfigMaps and Secrets that were not in step when nothing changed any more. */
  readonly outOfStep: readonly string[];
}

/** What the real clients of one side saw. */
export interface ClientFigures {
  readonly tallies: readonly Tally[];
  /** Objects that differ between the informers and the cluster at the end. */
  readonly informerDifferences: readonly string[];
  /** The number of objects that the informers followed. */
  readonly informerObjects: number;
  /** The number of times that a leader lost its Lease. */
  readonly leadersLost: number;
  /** Undefined in a record of an earlier version of this program. */
  readonly manager?: ManagerFigures | undefined;
  /** Namespaces that were deleted and are still there. */
  readonly namespacesLeft: readonly string[];
  /** Objects in namespaces that no longer exist. */
  readonly orphans: readonly string[];
  readonly held: HeldFigures;
  /**
   * The number of the proxies' own connections to each server; undefined without proxies. It follows the writes of the
   * client that writes most, so it says nothing about how clients are spread.
   */
  readonly proxyConnections?: readonly number[] | undefined;
}

/** No server has more than this many times the mean of watches. */
export const levelBound = 1.3;
const maxFailures = 5;
/** kube-apiserver's words when nothing listens on the port of a Pod's kubelet. */
const kubeletRefuses = /dial tcp [0-9.]+:10250: connect: connection refused/;
/**
 * A kubelet's own words to a kube-apiserver, when the server that the kubelet asks about rights does not answer, or is
 * so new that it has no rules yet.
 */
const kubeletCannotAsk = /(Authorization error|Forbidden) \(user=kube-apiserver-kubelet-client,/;

/**
 * What a client sees of a kubelet's 404: it has restarted, and has not read its Pods from its server yet. A 404 of
 * kube-apiserver itself names no Pod there, or says that the Pod was not found.
 */
const kubeletKnowsNoPods =
  /could not find the requested resource \( ?pods\/log |upgrade connection: pod does not exist/;

/** Sorts a failure: a kubelet that restarts, or whose own server does, is not the fault of an endpoint. */
export function endingOf(message: string): Ending {
  const isKubelets = [kubeletRefuses, kubeletCannotAsk, kubeletKnowsNoPods].some((words) => words.test(message));
  return isKubelets ? 'kubeletAway' : 'failed';
}

/** Sums up the attempts of each workload. `since` is the start of the load. */
export function tally(workloads: readonly string[], attempts: readonly Attempt[], since: number): readonly Tally[] {
  return workloads.map((workload) => {
    const mine = attempts.filter((attempt) => attempt.workload === workload && attempt.ending !== 'early');
    const count = (ending: Ending) => mine.filter((attempt) => attempt.ending === ending).length;
    const failures = mine
      .filter(({ ending }) => ending === 'failed')
      .slice(0, maxFailures)
      .map(({ startedAt, message = '' }) => `${((startedAt - since) / 1_000).toFixed(0)} s: ${message}`);
    return {
      workload,
      attempts: mine.length,
      failed: count('failed'),
      cut: count('cut'),
      kubeletAway: count('kubeletAway'),
      failures,
    };
  });
}

/** How many reconciles of a manager failed. */
export function failedReconciles({ failures }: ManagerFigures): number {
  return Object.values(failures).reduce((sum, count) => sum + count, 0);
}

/** How many times the mean the largest of these numbers is; 1 if all are 0. */
export function unevenness(numbers: readonly number[]): number {
  const sum = numbers.reduce((total, number) => total + number, 0);
  return sum === 0 ? 1 : (Math.max(...numbers) * numbers.length) / sum;
}

/** Requirements for clients of the proxies that were not met. */
export function clientShortcomings(figures: ClientFigures): readonly string[] {
  const none = (count: number, what: string) => (count === 0 ? [] : [`${count} ${what}`]);
  const { tallies, informerDifferences, leadersLost, manager, namespacesLeft, orphans, held } = figures;
  const uneven = (what: string, numbers: readonly number[]) =>
    unevenness(numbers) <= levelBound
      ? []
      : [`a server had ${unevenness(numbers).toFixed(2)} times the mean of ${what} (${numbers.join(', ')})`];
  return [
    ...tallies.flatMap(({ workload, failed }) => none(failed, `failed attempts of: ${workload}`)),
    ...none(informerDifferences.length, 'objects that informers have wrong'),
    ...none(leadersLost, 'lost leader elections'),
    ...none(manager?.outOfStep.length ?? 0, 'objects that the manager has out of step'),
    ...none(manager?.exits.length ?? 0, 'exits of the manager'),
    ...none(namespacesLeft.length, 'deleted namespaces that are still there'),
    ...none(orphans.length, 'objects left in namespaces that are gone'),
    ...none(held.failed, 'failed requests of long-lived watches'),
    ...none(held.missed, 'events that long-lived watches missed'),
    ...uneven('watches', held.perServer),
    ...uneven('connections', held.perEndpoint),
  ];
}
