import { expect } from 'chai';
import fc from 'fast-check';
import { buildMergeOracle, oracleMinors } from '../../lab/build/build-merge-oracle.ts';
import type { GroupDiscovery } from '../../src/domain/discovery-document.ts';
import { encodeDiscoveryList } from '../../src/domain/encode-discovery.ts';
import { createMergeMemo, mergeDiscovery } from '../../src/domain/merge-discovery.ts';
import { parseDiscoveryList } from '../../src/domain/parse-discovery.ts';
import { discoveryEtag } from '../../src/runtime/discovery-etag.ts';
import { type DocumentSet, nastyDocumentSets, type RawDiscoveryList } from '../support/discovery-builders.ts';
import { mergeWithOracle } from '../support/merge-oracle.ts';
import { realisticDocumentSets } from '../support/realistic-discovery.ts';

/** Servers with identical documents share the parsed result, as in the operator. */
function readServers(set: DocumentSet): ReadonlyMap<string, readonly GroupDiscovery[]> {
  const read = new Map<RawDiscoveryList, readonly GroupDiscovery[]>();
  for (const list of Object.values(set.servers)) if (!read.has(list)) read.set(list, parseDiscoveryList(list));
  return new Map(Object.entries(set.servers).map(([id, list]) => [id, read.get(list) ?? []]));
}

async function compareWithOracle(binary: string, sets: readonly DocumentSet[]): Promise<number> {
  const answers = await mergeWithOracle(binary, sets);
  expect(answers).to.have.length(sets.length);
  // The memo is kept from one set to the next, so that a wrong hit would show.
  const memo = createMergeMemo();
  let beyondLocal = 0;
  sets.forEach((set, index) => {
    const servers = readServers(set);
    const merged = mergeDiscovery(set.local, servers, memo);
    const ours = { document: encodeDiscoveryList(merged, { typeMeta: false }), etag: discoveryEtag(merged) };
    const { document = '', etag } = answers[index] ?? {};
    // For a large set, the whole text says less than the first difference.
    if (ours.document !== document) {
      const at = [...ours.document].findIndex((character, place) => character !== document[place]);
      const around = (text: string) => text.slice(Math.max(0, at - 200), at + 200);
      expect(around(ours.document), `set ${index}: ${JSON.stringify(set).slice(0, 5_000)}`).to.equal(around(document));
    }
    expect(ours.etag, `set ${index}`).to.equal(etag);
    if (merged !== servers.get(set.local)) beyondLocal++;
  });
  return beyondLocal;
}

describe("mergeDiscovery compared with kube-apiserver's own merge", () => {
  for (const minor of oracleMinors) {
    let binary = '';
    before(`k8s.io/apiserver ${minor}`, async function () {
      this.timeout(600_000);
      binary = await buildMergeOracle(minor);
    });

    it(`gives the same bytes and the same ETag as ${minor} for 3,000 nasty sets of documents`, async function () {
      this.timeout(120_000);
      const sets = fc.sample(nastyDocumentSets(), { seed: 4020, numRuns: 3_000 });
      // Both branches must have been taken often, or the comparison shows little.
      expect(await compareWithOracle(binary, sets)).to.be.within(sets.length * 0.3, sets.length * 0.9);
    });

    it(`gives the same for 400 sets like those of real fleets, of up to 40 servers, as ${minor}`, async function () {
      this.timeout(240_000);
      const sets = realisticDocumentSets({ count: 400, servers: 40, resources: 120, seed: 37 });
      expect(await compareWithOracle(binary, sets)).to.be.greaterThan(sets.length * 0.5);
    });

    it(`gives the same for 100 servers of 1,000 resources each as ${minor}`, async function () {
      this.timeout(240_000);
      const sets = realisticDocumentSets({ count: 1, servers: 100, resources: 1_000, seed: 36, exactly: true });
      expect(await compareWithOracle(binary, sets)).to.equal(sets.length);
    });
  }
});
