import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { readPackages } from '../../scripts/shipped-packages.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

describe('every package', function () {
  this.timeout(60_000);

  it('is in docs/supply-chain.md, which names every package with its version', async () => {
    const text = readFileSync(join(root, 'docs/supply-chain.md'), 'utf8');
    const packages = (await readPackages()).filter(({ license }) => license !== undefined);
    const words = new Set(text.split(/[|,]/).map((word) => word.trim()));
    const missing = packages.filter(
      ({ name, version }) => !words.has(`${name} ${version}`) && !(words.has(`\`${name}\``) && words.has(version)),
    );
    expect(missing.map(({ path }) => path)).to.deep.equal([]);
  });
});
