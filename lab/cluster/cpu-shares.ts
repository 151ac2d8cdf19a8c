/**
 * Who gets the CPU when there is too little. Real clients have machines of their own, and must not starve the servers
 * here. The process that sends the plain requests must not wait for anybody, or it would measure its own waiting.
 */

/**
 * The share of the whole cluster, in the units of `cpu.shares`. A process outside has 1024 at the default priority, and
 * a third of that at the priority of `asClient`. Without this, the whole cluster would have as much as one process.
 */
export const clusterShares = 8 * 1_024;

/** Starts the driver, which has the load balancers and sends the plain requests. */
export const asDriver: readonly string[] = ['nice', '-n', '-10'];
/** Starts a process of a machine from the driver, at the default priority. */
export const asMachine: readonly string[] = ['nice', '-n', '10'];
/** Starts a client program from the driver, below the default priority. */
export const asClient: readonly string[] = ['nice', '-n', '15'];
