import { expect } from 'chai';
import { type Cycle, judgeLoad, type Run, type Sample } from '../../lab/load/report.ts';

const asked = { requests: 10, failed: 0, p50Ms: 1, p99Ms: 2 };
const served = { requests: 10, failed: 0, p50Ms: 1, p99Ms: 2 };
const sample: Sample = {
  isFlooded: false,
  residentBytes: 100,
  descriptors: 10,
  loopP99Ms: 5,
  loopMaxMs: 50,
  ownLoopMaxMs: 40,
  waitedMs: 10,
};

function cycle(more: Partial<Sample> = {}, others: Partial<Cycle> = {}): Cycle {
  return {
    flood: 'a flood',
    samples: [
      { ...sample, ...more },
      { ...sample, ...more, isFlooded: true, descriptors: 1_000 },
    ],
    heapBytes: 50,
    others: { flooded: served, calm: served },
    asked: { get: asked, list: asked, watch: asked, patch: asked, exec: asked },
    ...others,
  };
}

function unmet(cycles: readonly Cycle[], more: Partial<Run> = {}): readonly string[] {
  const idle = { opened: 5, standing: 5 };
  const run = { seed: 1, cycles, idle, slowReaders: 1, limitBytes: 1_000, seconds: 60, ...more };
  return judgeLoad(run).flatMap(({ what, isMet }) => (isMet ? [] : [what]));
}

describe('the verdict of make load-test', () => {
  it('finds nothing if all requests were answered and nothing grew', () => {
    expect(unmet([cycle(), cycle(), cycle()])).to.deep.equal([]);
  });

  it('finds growth from the first third to the last, without the floods', () => {
    const last = cycle({ residentBytes: 111, descriptors: 12, loopP99Ms: 6 }, { heapBytes: 56 });
    const grown = unmet([cycle(), cycle(), last]);
    expect(grown).to.deep.equal([
      'resident memory, first and last third',
      'heap after a collection, first and last third',
      'descriptors, first and last third',
      '99th percentile of the event loop delay, first and last third',
    ]);
  });

  it('finds a lost request, a watch that ended, too much memory and a long delay anywhere', () => {
    const lost = cycle({}, { others: { flooded: { ...served, failed: 1 }, calm: served } });
    expect(unmet([cycle(), lost, cycle()])).to.deep.equal(['requests of other users that failed']);
    const failed = { ...asked, failed: 1 };
    expect(unmet([cycle({}, { asked: { ...cycle().asked, exec: failed } })])).to.have.lengthOf(1);
    expect(unmet([cycle()], { idle: { opened: 5, standing: 4 } })).to.deep.equal(['idle watches that ended']);
    expect(unmet([cycle(), cycle({ residentBytes: 1_001 }), cycle()])).to.deep.equal(['peak resident memory']);
    expect(unmet([cycle(), cycle({ ownLoopMaxMs: 1_001 }), cycle()])).to.have.lengthOf(1);
  });

  it('does not take a run without answers for a success', () => {
    const silent = { requests: 0, failed: 0, p50Ms: 0, p99Ms: 0 };
    const none = { get: silent, list: silent, watch: silent, patch: silent, exec: silent };
    expect(unmet([cycle({}, { asked: none })])).to.deep.equal(['requests of the load that failed']);
  });
});
