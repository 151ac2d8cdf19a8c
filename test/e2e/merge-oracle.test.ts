import { expect } from 'chai';
import fc from 'fast-check';
import { encodeDiscoveryList } from '../../src/domain/encode-discovery.ts';
import { mergeDiscovery } from '../../src/domain/merge-discovery.ts';
import { parseDiscoveryList } from '../../src/domain/parse-discovery.ts';
import { discoveryEtag } from '../../src/runtime/discovery-etag.ts';
import { nastyDocumentSets } from '../support/discovery-builders.ts';
import { findMergeOracle, mergeWithOracle } from '../support/merge-oracle.ts';

describe("mergeDiscovery beside kube-apiserver's own merge", () => {
  it('gives the same bytes and the same ETag for 3,000 nasty sets of documents', async function () {
    this.timeout(120_000);
    const binary = await findMergeOracle();
    const sets = fc.sample(nastyDocumentSets(), { seed: 4020, numRuns: 3_000 });
    const answers = await mergeWithOracle(binary, sets);
    expect(answers).to.have.length(sets.length);
    let beyondLocal = 0;
    sets.forEach((set, index) => {
      const servers = new Map(Object.entries(set.servers).map(([id, list]) => [id, parseDiscoveryList(list)]));
      const merged = mergeDiscovery(set.local, servers);
      const ours = { document: encodeDiscoveryList(merged, { typeMeta: false }), etag: discoveryEtag(merged) };
      expect(ours, `set ${index}: ${JSON.stringify(set)}`).to.deep.equal(answers[index]);
      if (merged !== servers.get(set.local)) beyondLocal++;
    });
    // Both ways out must have been taken often, or the comparison shows little.
    expect(beyondLocal).to.be.within(sets.length * 0.3, sets.length * 0.9);
  });
});
