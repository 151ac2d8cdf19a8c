import { expect } from 'chai';
import fc from 'fast-check';
import { createDocumentPool } from '../../../src/adapters/peers/document-pool.ts';
import { parseDiscoveryList } from '../../../src/domain/parse-discovery.ts';
import { buildGroup, buildResource, buildVersion, nastyDocumentSets } from '../../support/discovery-builders.ts';

describe('document pool', () => {
  it('returns an equal document, and the same object exactly for equal documents', () => {
    fc.assert(
      fc.property(fc.array(nastyDocumentSets(), { minLength: 1, maxLength: 3 }), (sets) => {
        const pool = createDocumentPool();
        const read = () =>
          sets.flatMap(({ servers }) => Object.values(servers).map((list) => parseDiscoveryList(list)));
        const shared = read().map((groups) => pool.share(groups));
        expect(shared).to.deep.equal(read());
        const again = read().map((groups) => pool.share(groups));
        for (const [index, groups] of again.entries()) expect(groups).to.equal(shared[index]);
        for (const one of shared)
          for (const other of shared) expect(one === other).to.equal(JSON.stringify(one) === JSON.stringify(other));
      }),
      { numRuns: 100 },
    );
  });

  it('shares equal parts of documents that differ elsewhere', () => {
    const pool = createDocumentPool();
    const of = (scope: string) => [
      buildGroup('same', buildVersion('v1', 'r')),
      buildGroup('other', buildVersion('v1', 's', buildResource('t', { scope })), buildVersion('v2', 'u')),
    ];
    const [one, two] = [pool.share(of('Cluster')), pool.share(of('Namespaced'))];
    expect(two[0]).to.equal(one[0]);
    expect(two[1]).not.to.equal(one[1]);
    expect(two[1]?.versions?.[1]).to.equal(one[1]?.versions?.[1]);
    expect(two[1]?.versions?.[0]?.resources?.[0]).to.equal(one[1]?.versions?.[0]?.resources?.[0]);
  });

  it('remembers the result of parsing a text while the document is in use, and hashes its content', () => {
    const pool = createDocumentPool();
    const groups = pool.share([buildGroup('g', buildVersion('v1', 'r'))]);
    expect(pool.recall('hash')).to.equal(undefined);
    pool.remember('hash', 'v2', groups);
    expect(pool.recall('hash')).to.deep.equal({ form: 'v2', groups });
    expect(pool.hashOf(groups)).to.equal(createDocumentPool().hashOf(structuredClone(groups)));
    expect(pool.hashOf(groups)).not.to.equal(pool.hashOf([]));
  });

  it('does not grow with documents that are no longer used', async () => {
    const { setFlagsFromString } = await import('node:v8');
    const { runInNewContext } = await import('node:vm');
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const pool = createDocumentPool();
    for (let round = 0; round < 30; round++) {
      pool.share([
        buildGroup(`g${round}`, buildVersion('v1', ...Array.from({ length: 2_000 }, (_, at) => `r${round}-${at}`))),
      ]);
      // A WeakRef keeps its target alive until the end of the job that read it.
      await new Promise((resolve) => setImmediate(resolve));
      collect();
    }
    expect(pool.size).to.be.lessThan(25_000);
  });
});
