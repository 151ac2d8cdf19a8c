import { type ChildProcess, spawn } from 'node:child_process';
import type { Outcome } from './machine.ts';

/** How a client program runs. */
export interface ProgramOptions {
  readonly env: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/** The longest message that is kept of a program. */
const maxMessage = 300;

/** Runs a program to its end. After `boundMs` it is killed, and the outcome says so. */
export function runProgram(
  [program = '', ...args]: readonly string[],
  { env, signal }: ProgramOptions,
  { input = '', boundMs }: { readonly input?: string; readonly boundMs: number },
): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { env, signal, killSignal: 'SIGKILL', stdio: 'pipe' });
    const output = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr'] as const)
      child[stream].setEncoding('utf8').on('data', (text: string) => {
        output[stream] += text;
      });
    const timer = setTimeout(() => {
      output.stderr += `killed after ${boundMs / 1_000} s`;
      child.kill('SIGKILL');
    }, boundMs);
    child.stdin.on('error', () => {});
    child.stdin.end(input);
    child.once('error', (error) => {
      output.stderr += error.message;
    });
    child.once('close', (code) => {
      clearTimeout(timer);
      resolve({ code: code ?? 1, ...output });
    });
  });
}

/** A program whose output is a stream. */
export interface Stream {
  /** Everything that it has printed, errors too. */
  output(): string;
  hasEnded(): boolean;
  /** Kills it. Resolves when it has ended. */
  kill(): Promise<void>;
}

/** Starts a program that runs until it is killed. */
export function startStream([program = '', ...args]: readonly string[], { env, signal }: ProgramOptions): Stream {
  const child = spawn(program, args, { env, signal, killSignal: 'SIGKILL', stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let hasEnded = false;
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  child.once('error', (error) => {
    output += error.message;
  });
  const ended = endOf(child).then(() => {
    hasEnded = true;
  });
  return {
    output: () => output,
    hasEnded: () => hasEnded,
    kill: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

function endOf(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => child.once('close', () => resolve()));
}

/** The end of a program's output, as one short line. */
export function lastWords(text: string): string {
  return text.trim().replaceAll(/\s+/g, ' ').slice(-maxMessage);
}
