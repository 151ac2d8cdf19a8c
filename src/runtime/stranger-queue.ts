import PQueue from 'p-queue';

/**
 * Lets only a few unproven addresses be probed at once. Whoever may write Leases or a table can name any number of
 * addresses, and those must neither delay the probes of real servers nor take the descriptors that these need.
 */
export interface StrangerQueue {
  /**
   * Probes in its turn; the higher priority comes first, then the earlier call. Undefined if the signal aborted before
   * its turn: then nothing was sent.
   */
  probe<Result>(
    work: () => Promise<Result>,
    options: { readonly signal: AbortSignal; readonly priority?: number },
  ): Promise<Result | undefined>;
}

/** Creates a queue that probes this many at once. */
export function createStrangerQueue(atOnce: number): StrangerQueue {
  const queue = new PQueue({ concurrency: atOnce });
  return {
    probe: (work, { signal, priority = 0 }) =>
      queue.add(async () => (signal.aborted ? undefined : await work()), { priority }),
  };
}
