import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { buildControlPlane } from '../../lab/build-control-plane.ts';
import type { DocumentSet } from './discovery-builders.ts';

/** What kube-apiserver makes of a set of documents. */
export interface OracleAnswer {
  readonly document: string;
  readonly etag: string;
}

/** Path of the program that wraps Kubernetes' own merge; it is always built here, as no release has it. */
export async function findMergeOracle(): Promise<string> {
  return join(await buildControlPlane('1.36', () => {}), 'merge-oracle');
}

/** Lets kube-apiserver's own Go code merge each set, in one process of the given `merge-oracle` binary. */
export async function mergeWithOracle(binary: string, sets: readonly DocumentSet[]): Promise<readonly OracleAnswer[]> {
  const child = spawn(binary, [], { argv0: 'merge-oracle', stdio: ['pipe', 'pipe', 'pipe'] });
  const ended = once(child, 'close');
  const output = Promise.all([text(child.stdout), text(child.stderr)]);
  // A process that dies early closes its input; its own message says more than the broken pipe.
  child.stdin.on('error', () => {});
  Readable.from(jsonLines(sets)).pipe(child.stdin);
  const [code] = await ended;
  const [stdout, stderr] = await output;
  if (code !== 0) throw new Error(`merge-oracle ended with ${String(code)}: ${stderr}`);
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as OracleAnswer);
}

function* jsonLines(sets: readonly DocumentSet[]): Generator<string> {
  for (const set of sets) yield `${JSON.stringify(set)}\n`;
}
