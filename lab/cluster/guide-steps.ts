import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Machine } from './machine.ts';

/** Runs the first block of shell commands with this text from a guide of `docs/guides`, as an administrator. */
export async function runGuide(machine: Machine, guide: string, text: string, cwd = '/'): Promise<void> {
  // The machines share their root user's home, so each gets one of its own.
  const home = join(machine.folder, 'root');
  mkdirSync(home, { recursive: true });
  const script = guideBlock(guide, text).replaceAll('/root/', `${home}/`);
  await machine.must(['sh', '-ec', `cd ${cwd}\n${script}`], { log: 'guide.log' });
}

function guideBlock(guide: string, text: string): string {
  const page = readFileSync(new URL(`../../docs/guides/${guide}`, import.meta.url), 'utf8');
  const blocks = [...page.matchAll(/^ *```sh\n(.*?)^ *```$/gms)].map(([, block = '']) => block);
  const found = blocks.find((block) => block.includes(text));
  if (found === undefined) throw new Error(`docs/guides/${guide} has no commands with: ${text}`);
  return found;
}
