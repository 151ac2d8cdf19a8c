import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { repository } from '../../lab/deploy-plane.ts';

/** The fenced blocks of one language in a guide of `docs/guides`, in their order, without their indentation. */
export function guideBlocks(guide: string, language: string): readonly string[] {
  const text = readFileSync(join(repository, 'docs/guides', guide), 'utf8');
  return [...text.matchAll(/^( *)```(\w+)\n([\s\S]*?)^ *```$/gm)].flatMap(([, indent = '', found, block = '']) =>
    found === language ? [block.replaceAll(new RegExp(`^${indent}`, 'gm'), '')] : [],
  );
}
