import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';

/** Writes one line of JSON per input to the program, and returns one value per line of its output. */
export async function runOracle(
  binary: string,
  args: readonly string[],
  inputs: readonly unknown[],
): Promise<readonly unknown[]> {
  const child = spawn(binary, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  const ended = once(child, 'close');
  const output = Promise.all([text(child.stdout), text(child.stderr)]);
  // A process that dies early closes its input. Its own message says more than the broken pipe.
  child.stdin.on('error', () => {});
  Readable.from(jsonLines(inputs)).pipe(child.stdin);
  const [code] = await ended;
  const [stdout, stderr] = await output;
  if (code !== 0) throw new Error(`merge-oracle ended with ${String(code)}: ${stderr}`);
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
}

function* jsonLines(inputs: readonly unknown[]): Generator<string> {
  for (const input of inputs) yield `${JSON.stringify(input)}\n`;
}
