import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { repository } from '../../lab/repository.ts';
import { type CommandBlock, commandBlock, commandBlocks } from '../support/guide-commands.ts';

/**
 * The blocks that the tests on real control planes run, found in their sources: `runBlock('install.md', /^helm
 * install/m`.
 */
function blocksOfTests(): readonly string[] {
  const text = ['test/e2e', 'test/others']
    .map((folder) => join(repository, folder))
    .flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)))
    .filter((path) => path.endsWith('.test.ts'))
    .map((path) => readFileSync(path, 'utf8'))
    .join('\n');
  const calls = text.matchAll(/\b(?:runBlock|commandBlock)\(\s*(readme|'[^']+'),\s*\/((?:[^/\\\n]|\\.)+)\/(m?)[,)]/g);
  return [...calls].map(([, guide = '', pattern = '', flags]) =>
    commandBlock(guide === 'readme' ? '../../README.md' : guide.slice(1, -1), new RegExp(pattern, flags)),
  );
}

describe('the commands of README, guides and references', () => {
  const blocks = blocksOfTests();
  const tried = new Set(blocks);
  /** Some guides repeat the first lines of others. */
  const isTried = (text: string) => blocks.some((block) => block.startsWith(text));
  const describeBlock = ({ guide, text }: CommandBlock) => `${guide}:\n${text}`;

  it('are run by a test unchanged, or say why not', () => {
    const forgotten = commandBlocks().filter(({ text, notRun }) => notRun === undefined && !isTried(text));
    expect(forgotten.map(describeBlock)).to.deep.equal([]);
  });

  it('say so only if no test runs them', () => {
    const wrong = commandBlocks().filter(({ text, notRun }) => notRun !== undefined && isTried(text));
    expect(wrong.map(describeBlock)).to.deep.equal([]);
    expect(tried.size).to.be.greaterThan(15);
  });
});
