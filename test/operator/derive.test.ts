import { expect } from 'chai';
import { createDeriveMemo } from '../../src/domain/derive-bundle.ts';
import { derive } from '../../src/operator/derive.ts';
import type { Facts } from '../../src/operator/facts.ts';
import { buildFacts, factsAt, peerView } from '../support/operator-facts.ts';

const settings = { mode: 'Route', fieldSkew: 'Preserve', serverName: 'kubernetes.default.svc' } as const;
const deriveFrom = (facts: Facts, before?: ReturnType<typeof derive>) =>
  derive(facts, before, settings, createDeriveMemo());

describe('derive', () => {
  it('returns the same results for the same facts', () => {
    const before = deriveFrom(buildFacts());
    expect(deriveFrom(buildFacts(), before)).to.equal(before);
  });

  it('does not take a renewed Lease or documents that were read again for a change', () => {
    const view = peerView('one', 'deployments');
    const lease = { name: 'one', holderIdentity: 'one', renewTime: '1' } as never;
    const renewed = { ...view, seen: { ...view.seen, documentsAt: factsAt + 1, peer: { ...view.seen.peer, lease } } };
    const before = deriveFrom(buildFacts());
    expect(deriveFrom(buildFacts({ views: [renewed] }), before)).to.equal(before);
  });

  const changes: Readonly<Record<string, Partial<Facts>>> = {
    'what a server serves': { views: [peerView('one', 'deployments', 'widgets')] },
    'another server': { views: [peerView('one', 'deployments'), peerView('two', 'deployments')] },
    'a new CRD': { defined: { ...buildFacts().defined, custom: new Set(['example.com/v1/widgets']) } },
    'a deletion': { defined: { ...buildFacts().defined, deletedAt: new Map([['example.com/v1/widgets', factsAt]]) } },
    'a Lease that identifies nobody': { problems: [{ lease: 'odd', message: 'it names nobody' }] as never },
    'a schema that was read': { knowledge: { revision: 1, find: () => undefined } },
    'a doubt about the number of servers': { doubt: { peer: '', reason: 'CountUnsettled', message: 'two or one' } },
    'Leases that cannot be read': { unknown: { reason: 'LeasesUnknown', message: 'forbidden' } },
  };
  for (const [what, changed] of Object.entries(changes))
    it(`derives again after ${what}`, () => {
      const before = deriveFrom(buildFacts());
      expect(deriveFrom(buildFacts(changed), before)).not.to.equal(before);
    });

  it('is in doubt about everything that the cluster itself leaves unknown', () => {
    const { unified } = deriveFrom(
      buildFacts({
        doubt: { peer: '', reason: 'CountUnsettled', message: 'two or one' },
        unknown: { reason: 'LeasesUnknown', message: 'forbidden' },
      }),
    );
    expect(unified.doubts.map(({ reason }) => reason)).to.deep.equal(['LeasesUnknown', 'CountUnsettled']);
  });
});
