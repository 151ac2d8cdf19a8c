import { spawn } from 'node:child_process';
import { fstatSync } from 'node:fs';
import { Socket } from 'node:net';
import { isatty } from 'node:tty';

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
 * what it prints, or a terminal that was closed, or the death of `make` or of the program that holds the other end of
 * its lifeline.
 *
 * None of this keeps the process alive.
 */
export function onUnwanted(end: (status: number) => void): void {
  for (const [signal, status] of Object.entries(signals)) process.on(signal, () => end(status));
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => end(brokenPipe));
  onReaderGone(() => end(brokenPipe));
  const parent = process.ppid;
  const startedByMake = process.env.MAKELEVEL !== undefined;
  const hadTerminal = isatty(1);
  setInterval(() => {
    // A terminal that is closed tells the first process of its session alone. That may be make, which waits for us.
    const terminalClosed = hadTerminal && !isatty(1);
    if (terminalClosed || (startedByMake && process.ppid !== parent)) end(signals.SIGHUP);
  }, checkEveryMs).unref();
  if (process.env[lifelineVariable] === undefined) return;
  const lifeline = new Socket({ fd: lifelineFd });
  lifeline.on('error', () => {}).once('close', () => end(signals.SIGHUP));
  lifeline.resume().unref();
}

/**
 * Tells when nobody reads the pipe any more that this process prints to.
 *
 * Node cannot ask a pipe that. tail can: it ends by SIGPIPE once its output has no reader, although it never writes,
 * and by `--pid` with this process. Another tail than GNU's ends at once, and then only the next write tells.
 * Source: `check_output_alive` of GNU coreutils 8.28 and later.
 */
function onReaderGone(tell: () => void): void {
  if (!fstatSync(1).isFIFO()) return;
  const watcher = spawn('tail', [`--pid=${process.pid}`, '-f', '/dev/null'], { stdio: ['ignore', 1, 'ignore'] });
  watcher.on('error', () => {});
  watcher.once('exit', (_code, signal) => {
    if (signal === 'SIGPIPE') tell();
  });
  watcher.unref();
}
