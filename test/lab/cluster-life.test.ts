import { expect } from 'chai';
import { judgeEvent, type LivedEvent, live, refusedFor } from '../../lab/cluster/life.ts';
import { writeLifeReport } from '../../lab/cluster/life-report.ts';
import type { Sample } from '../../lab/cluster/samples.ts';

const event = (about: Partial<LivedEvent> = {}): LivedEvent => ({
  name: 'power cut',
  does: 'A machine loses power.',
  from: 10_000,
  actedAt: 20_000,
  rightAt: 30_000,
  to: 40_000,
  offs: [],
  problems: [],
  notes: [],
  ...about,
});
const at = (startedAt: number, sample: Partial<Sample> = {}): Sample => ({
  way: 'm1, proxy',
  proxied: true,
  kind: 'read',
  startedAt,
  tookMs: 10,
  status: 200,
  outcome: 'ok',
  ...sample,
});
const silent = { status: 0, outcome: 'noAnswer', tookMs: 3_000 } as const;
const shortOf = (about: Partial<LivedEvent>, samples: readonly Sample[]) =>
  judgeEvent(event(about), { samples, sights: [], writes: [] }).short;

describe('The judge of an event in the life of a cluster', () => {
  it('counts what began during the event, and nothing before or after', () => {
    const samples = [at(9_999, silent), at(10_000), at(39_999, silent), at(40_000, silent)];
    const { through, short } = judgeEvent(event(), { samples, sights: [], writes: [] });
    expect(through).to.include({ requests: 2, unansweredReads: 1 });
    expect(short).to.deep.equal(['1 reads without an answer']);
  });

  it('excuses silence over the ways to a machine without power, and no others', () => {
    const off = { way: 'm1, proxy', from: 12_000, to: 18_000, excuses: 'all' } as const;
    const samples = [at(11_000, silent), at(13_000, silent), at(13_000, { ...silent, way: 'm2, proxy' })];
    expect(shortOf({ offs: [off] }, samples)).to.deep.equal(['1 reads without an answer']);
  });

  it('excuses no wrong answer over the way to a machine without power', () => {
    const off = { way: 'm1, proxy', from: 12_000, to: 18_000, excuses: 'all' } as const;
    const samples = [
      at(13_000, { status: 404, outcome: 'notFound' }),
      at(14_000, { status: 401, outcome: 'refusedUser' }),
    ];
    expect(shortOf({ offs: [off] }, samples)).to.deep.equal(['1 requests answered 401 or 403', '1 wrong 404s']);
  });

  it('takes 404 for what is new in the version for wrong from the first request on', () => {
    const samples = [at(11_000, { kind: 'new', status: 404, outcome: 'notFound' }), at(12_000, { kind: 'new' })];
    expect(shortOf({}, samples)).to.deep.equal(['1 wrong 404s']);
  });

  it('excuses refused connections to a proxy that is replaced, but no broken ones', () => {
    const off = { way: 'm1, proxy', from: 10_000, to: 40_000, excuses: 'refused' } as const;
    const refused = { ...silent, tookMs: 1, error: 'connect ECONNREFUSED 10.10.0.11:7443' };
    const samples = [at(11_000, refused), at(13_000, refused), at(14_000, { ...silent, error: 'read ECONNRESET' })];
    expect(shortOf({ offs: [off] }, samples)).to.deep.equal(['1 reads without an answer']);
    expect(refusedFor(event({ offs: [off] }), samples)).to.deep.equal([['m1, proxy', 2_000]]);
  });

  it('names a proxy that refuses connections for too long', () => {
    const off = { way: 'm1, proxy', from: 10_000, to: 90_000, excuses: 'refused' } as const;
    const refused = { ...silent, tookMs: 1, error: 'connect ECONNREFUSED 10.10.0.11:7443' };
    const samples = [at(11_000, refused), at(50_000, refused)];
    expect(shortOf({ offs: [off], to: 90_000 }, samples)).to.deep.equal(['m1, proxy refused connections for 39 s']);
  });

  it('names what took too long to be right again', () => {
    expect(shortOf({ rightAt: 150_000 }, [])).to.deep.equal(['130 s until full recovery']);
  });
});

describe('An event in the life of a cluster', () => {
  it('is over with a problem if what was to be done fails', async () => {
    const run = async () => {
      throw new Error('kubectl drain ended with 1');
    };
    let rounds = 0;
    const health = {
      ask: async () => {
        rounds += 1;
        return undefined;
      },
    };
    const lived = await live({ id: 'drain', name: 'drain', does: '', run }, health, { everyMs: 0, settleMs: 0 });
    expect(lived.problems).to.deep.equal(['it did not finish: kubectl drain ended with 1']);
    expect(rounds).to.equal(5);
  });
});

describe('The report of a life', () => {
  it('has a row for each event on both sides, and names what did not hold', () => {
    const events = [event(), event({ name: 'drain', rightAt: undefined, problems: ['a budget was broken'] })];
    const samples = [at(11_000), at(12_000, { way: 'm1, server', proxied: false, ...silent })];
    const setting = { version: 'v1.36.3', lines: ['One machine.'] };
    const report = writeLifeReport(events, { samples, sights: [], writes: [] }, setting);
    expect(report).to.include('- drain: a budget was broken\n');
    expect(report).to.include('| power cut | 10 s | 1 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 10 s |');
    expect(report).to.include('| drain | 10 s | 1 | 1 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | never |');
  });
});
