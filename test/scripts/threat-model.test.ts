import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** The claims of the threat model: each item of its lists, except the remaining risks. */
function readClaims(text: string): string[] {
  const items = text.match(/^- .*(?:\n {2}.*)*/gm) ?? [];
  return items.map((item) => item.replace(/\s+/g, ' ')).filter((item) => !item.startsWith('- Left over:'));
}

/** The tests that a claim names. */
function readTests(claim: string): { readonly file: string; readonly words: string }[] {
  return [...claim.matchAll(/`(test\/[^`]+)` “([^”]+)”/g)].map(([, file = '', words = '']) => ({ file, words }));
}

/** The titles of the tests of a file, as they are written. */
function readTitles(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8');
  return [...text.matchAll(/\bit\(\s*(['`])(.*?)\1,/g)].map(([, , title = '']) => title);
}

describe('the threat model', () => {
  const claims = readClaims(readFileSync(join(root, 'docs/threat-model.md'), 'utf8'));

  it('names an existing test for each claim', () => {
    expect(claims).to.have.length.above(30);
    for (const claim of claims) {
      const tests = readTests(claim);
      expect(tests, claim).not.to.have.length(0);
      for (const { file, words } of tests) {
        const titles = readTitles(file);
        expect(
          titles.some((title) => title.includes(words)),
          `${file}: ${words}`,
        ).to.equal(true);
      }
    }
  });
});
