import { expect } from 'chai';
import fc from 'fast-check';
import { RunningRequest, RunningRequests } from '../../../src/proxy/admission/running-requests.ts';
import type { Exchange } from '../../../src/proxy/request/exchange.ts';

const user = { user: '', short: 0, long: 0 };
const request = (at: number) => new RunningRequest({ target: String(at) } as Exchange, at, user, false, true);

function ordered(list: RunningRequests): number[] {
  const found: number[] = [];
  for (let at = list.first; at !== undefined; at = at.after) found.push(at.startedAt);
  return found;
}

describe('RunningRequests', () => {
  it('keeps the order of entry, whichever requests leave meanwhile', () => {
    const steps = fc.array(fc.record({ adds: fc.boolean(), which: fc.nat(20) }), { maxLength: 60 });
    fc.assert(
      fc.property(steps, (taken) => {
        const list = new RunningRequests();
        const all: RunningRequest[] = [];
        let expected: number[] = [];
        for (const { adds, which } of taken) {
          const chosen = adds ? request(all.length) : all[which % Math.max(1, all.length)];
          if (chosen === undefined) continue;
          if (adds) {
            all.push(chosen);
            list.add(chosen);
            expected.push(chosen.startedAt);
          } else {
            list.remove(chosen);
            expected = expected.filter((at) => at !== chosen.startedAt);
          }
          expect(ordered(list)).to.deep.equal(expected);
          expect(list.size).to.equal(expected.length);
        }
      }),
    );
  });

  it('refers to nothing from a request that has left, so that none keeps another in memory', () => {
    const list = new RunningRequests();
    const [first, second, third] = [request(1), request(2), request(3)];
    for (const one of [first, second, third]) list.add(one);
    list.remove(second);
    expect([second.list, second.before, second.after]).to.deep.equal([undefined, undefined, undefined]);
  });

  it('does not remove a request that is in another list', () => {
    const [one, other] = [new RunningRequests(), new RunningRequests()];
    const first = request(1);
    one.add(first);
    other.remove(first);
    expect(ordered(one)).to.deep.equal([1]);
    expect(other.size).to.equal(0);
  });
});
