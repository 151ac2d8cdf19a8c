import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { repository } from '../../lab/repository.ts';

/** A block of shell commands in the documentation. */
export interface CommandBlock {
  /** The path from `docs/guides`, as `runBlock` takes it: `install.md`, `../../README.md`. */
  readonly guide: string;
  readonly text: string;
  /** The reason why no test runs it, from the comment before it: `<!-- not run: REASON -->`. */
  readonly notRun: string | undefined;
}

const guides = join(repository, 'docs/guides');
const fences = /^( *)```(\w+)\n([\s\S]*?)^ *```$/gm;

/** The fenced blocks of one language in a guide of `docs/guides`, in order and without indentation. */
export function guideBlocks(guide: string, language: string): readonly string[] {
  return readBlocks(guide, language).map(({ text }) => text);
}

/** The first matching block of shell commands in a guide. */
export function commandBlock(guide: string, pattern: RegExp): string {
  const block = guideBlocks(guide, 'sh').find((text) => pattern.test(text));
  if (block === undefined) throw new Error(`${guide} has no block like ${pattern}`);
  return block;
}

/** Every block of shell commands in the README, the guides and the references. */
export function commandBlocks(): readonly CommandBlock[] {
  const pages = ['guides', 'reference'].flatMap((folder) =>
    readdirSync(join(repository, 'docs', folder))
      .filter((name) => name.endsWith('.md'))
      .map((name) => (folder === 'guides' ? name : `../${folder}/${name}`)),
  );
  return ['../../README.md', ...pages].flatMap((guide) => readBlocks(guide, 'sh'));
}

function readBlocks(guide: string, language: string): readonly CommandBlock[] {
  const text = readFileSync(join(guides, guide), 'utf8');
  return [...text.matchAll(fences)].flatMap(({ 1: indent = '', 2: found, 3: block = '', index }) => {
    if (found !== language) return [];
    const before = text.slice(0, index).trimEnd().split('\n').at(-1) ?? '';
    const [, notRun] = /^ *<!-- not run: (.+) -->$/.exec(before) ?? [];
    return [{ guide, text: block.replaceAll(new RegExp(`^${indent}`, 'gm'), ''), notRun }];
  });
}
