import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { Socket } from 'node:net';

/** Signals by which people and systems end a program, with the exit status that says so. */
const signals = { SIGHUP: 129, SIGINT: 130, SIGQUIT: 131, SIGTERM: 143 } as const;
const brokenPipe = 141;
const checkEveryMs = 500;

/** The descriptor by which a program sees that the one that started it has ended. */
export const lifelineFd = 3;

/** Name of the variable that says that there is such a descriptor. */
export const lifelineVariable = 'LAB_LIFELINE';

/**
 * Calls `end` at each sign that nobody wants this program any more: a signal that ends programs, or nobody who reads
 * what it prints, or the death of `make` or of the program that holds the other end of its lifeline.
 *
 * The check for a reader keeps no process alive.
 */
export function onUnwanted(end: (status: number) => void): void {
  for (const [signal, status] of Object.entries(signals)) process.on(signal, () => end(status));
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => end(brokenPipe));
  const parent = process.ppid;
  const startedByMake = process.env.MAKELEVEL !== undefined;
  setInterval(() => {
    if (readerIsGone(1)) end(brokenPipe);
    if (startedByMake && process.ppid !== parent) end(signals.SIGHUP);
  }, checkEveryMs).unref();
  if (process.env[lifelineVariable] === undefined) return;
  const lifeline = new Socket({ fd: lifelineFd });
  lifeline.on('error', () => {}).once('close', () => end(signals.SIGHUP));
  lifeline.resume().unref();
}

/** True if this descriptor is a pipe that nobody reads; a pipe without a reader cannot be opened again for writing. */
function readerIsGone(fd: number): boolean {
  try {
    if (!fstatSync(fd).isFIFO()) return false;
    closeSync(openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK));
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENXIO';
  }
}
