import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { readPackages } from '../../scripts/shipped-packages.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

describe('every package', function () {
  this.timeout(60_000);

  it('is locked by its hash', () => {
    const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
      readonly packages: Readonly<Record<string, { readonly integrity?: string; readonly resolved?: string }>>;
    };
    const packages = Object.entries(lock.packages).filter(([path]) => path !== '');
    expect(packages).to.have.length.above(100);
    const without = packages.filter(([, { integrity = '' }]) => !integrity.startsWith('sha512-'));
    expect(without.map(([path]) => path)).to.deep.equal([]);
    expect(packages.filter(([, { resolved }]) => resolved !== undefined)).to.deep.equal([]);
  });

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
