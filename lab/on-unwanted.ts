import { spawn } from 'node:child_process';
import { fstatSync } from 'node:fs';
import { Socket } from 'node:net';
import { isatty } from 'node:tty';

/** Signals with which people and systems end a program, and the exit status for each. */
const signals = { SIGHUP: 129, SIGINT: 130, SIGQUIT: 131, SIGTERM: 143 } as const;
const brokenPipe = 141;
const checkEveryMs = 500;

/** The descriptor that shows a program that its parent has ended. */
export const lifelineFd = 3;

/** The name of the variable that says that this descriptor exists. */
export const lifelineVariable = 'LAB_LIFELINE';

/**
 * Calls `end` when this program should stop: on a signal, when the reader of its output is gone, when its terminal was
 * closed, or when `make` or the holder of the other end of its lifeline has died.
 *
 * None of these checks keeps the process alive.
 */
export function onUnwanted(end: (status: number) => void): void {
  for (const [signal, status] of Object.entries(signals)) process.on(signal, () => end(status));
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => end(brokenPipe));
  onReaderGone(() => end(brokenPipe));
  const parent = process.ppid;
  const startedByMake = process.env.MAKELEVEL !== undefined;
  const hadTerminal = isatty(1);
  setInterval(() => {
    // When a terminal closes, only the first process of its session gets a signal. That may be make, which waits for
    // us.
    const terminalClosed = hadTerminal && !isatty(1);
    if (terminalClosed || (startedByMake && process.ppid !== parent)) end(signals.SIGHUP);
  }, checkEveryMs).unref();
  if (process.env[lifelineVariable] === undefined) return;
  const lifeline = new Socket({ fd: lifelineFd });
  lifeline.on('error', () => {}).once('close', () => end(signals.SIGHUP));
  lifeline.resume().unref();
}

/**
 * Calls back when the pipe that this process prints to has no reader any more.
 *
 * Node cannot find that out, but tail can: it dies of SIGPIPE once its output has no reader, although it never writes.
 * With `--pid` it also ends with this process. Other implementations than GNU's tail end at once; then only the next
 * write shows it. Source: `check_output_alive` of GNU coreutils 8.28 and later.
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
