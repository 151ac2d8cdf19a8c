import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { rotationSteps } from '../../lab/cluster/ca-rotation.ts';
import { failedIn, judgeEvent, type LivedEvent, live } from '../../lab/cluster/life.ts';
import { type LifeRecord, openRecords } from '../../lab/cluster/life-records.ts';
import { writeLifeReport } from '../../lab/cluster/life-report.ts';
import type { Sample } from '../../lab/cluster/samples.ts';
import { guideBlocks } from '../support/guide-commands.ts';

const event = (about: Partial<LivedEvent> = {}): LivedEvent => ({
  id: 'power',
  name: 'power cut',
  does: 'A machine loses power.',
  from: 10_000,
  actedAt: 20_000,
  rightAt: 30_000,
  to: 40_000,
  offs: [],
  problems: [],
  notes: [],
  allowedMs: 0,
  loadAverage: 3.4,
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
  it('counts requests that began during the event, and no others', () => {
    const samples = [at(9_999, silent), at(10_000), at(39_999, silent), at(40_000, silent)];
    const { through, short } = judgeEvent(event(), { samples, sights: [], writes: [] });
    expect(through).to.include({ requests: 2, unansweredReads: 1 });
    expect(short).to.deep.equal(['1 reads without an answer within 5 s']);
  });

  it('excuses unanswered requests only at the endpoints of a machine without power', () => {
    const off = { way: 'm1, proxy', from: 12_000, to: 18_000, excuses: 'all' } as const;
    const samples = [at(11_000, silent), at(13_000, silent), at(13_000, { ...silent, way: 'm2, proxy' })];
    expect(shortOf({ offs: [off] }, samples)).to.deep.equal(['1 reads without an answer within 5 s']);
  });

  it('excuses no wrong answer at the endpoint of a machine without power', () => {
    const off = { way: 'm1, proxy', from: 12_000, to: 18_000, excuses: 'all' } as const;
    const samples = [
      at(13_000, { status: 404, outcome: 'notFound' }),
      at(14_000, { status: 401, outcome: 'refusedUser' }),
    ];
    expect(shortOf({ offs: [off] }, samples)).to.deep.equal(['1 requests answered 401 or 403', '1 wrong 404s']);
  });

  it('takes a 404 for an API that is new in the version for wrong from the first request on', () => {
    const samples = [at(11_000, { kind: 'new', status: 404, outcome: 'notFound' }), at(12_000, { kind: 'new' })];
    expect(shortOf({}, samples)).to.deep.equal(['1 wrong 404s']);
  });

  it('excuses refused connections to a proxy that is being replaced, but no broken ones', () => {
    const off = { way: 'm1, proxy', from: 10_000, to: 40_000, excuses: 'refused' } as const;
    const refused = { ...silent, tookMs: 1, error: 'connect ECONNREFUSED 10.10.0.11:7443' };
    const samples = [at(11_000, refused), at(13_000, refused), at(14_000, { ...silent, error: 'read ECONNRESET' })];
    expect(shortOf({ offs: [off] }, samples)).to.deep.equal(['1 reads without an answer within 5 s']);
    const { refused: gaps } = judgeEvent(event({ offs: [off] }), { samples, sights: [], writes: [] });
    expect(gaps).to.deep.equal([['m1, proxy', 2_000]]);
  });

  it('counts a late answer through a proxy, unless the servers were as late to direct clients', () => {
    const late = { status: 500, outcome: 'noAnswer', tookMs: 7_000, kind: 'write' } as const;
    const direct = { way: 'm2, server', proxied: false } as const;
    const verdictOf = (samples: readonly Sample[], about: Partial<LivedEvent> = {}) =>
      judgeEvent(event(about), { samples, sights: [], writes: [] });
    const alone = verdictOf([at(11_000, late), at(11_000, direct), at(14_000, { ...late, ...direct })]);
    expect(alone).to.deep.include({ short: ['1 writes without an answer within 5 s'], late: 1, lateAsDirect: 0 });
    const both = verdictOf([at(11_000, late), at(12_000, { ...late, ...direct })]);
    expect(both).to.deep.include({ short: [], late: 0, lateAsDirect: 1 });
    expect(both.through).to.include({ unansweredWrites: 0, other: 1 });
    const off = { way: 'm2, server', from: 10_000, to: 40_000, excuses: 'all' } as const;
    expect(verdictOf([at(11_000, late), at(12_000, { ...late, ...direct })], { offs: [off] }).late).to.equal(1);
    expect(verdictOf([at(11_000, silent), at(12_000, { ...late, ...direct })])).to.include({ lateAsDirect: 0 });
  });

  it('names a proxy that refuses connections for too long', () => {
    const off = { way: 'm1, proxy', from: 10_000, to: 90_000, excuses: 'refused' } as const;
    const refused = { ...silent, tookMs: 1, error: 'connect ECONNREFUSED 10.10.0.11:7443' };
    const samples = [at(11_000, refused), at(50_000, refused)];
    expect(shortOf({ offs: [off], to: 90_000 }, samples)).to.deep.equal(['m1, proxy refused connections for 39 s']);
  });

  it('names checks that took too long to recover', () => {
    expect(shortOf({ rightAt: 150_000 }, [])).to.deep.equal(['130 s until full recovery']);
  });

  it('adds the time that recovery needs by design, and no more', () => {
    expect(shortOf({ rightAt: 150_000, allowedMs: 300_000 }, [])).to.deep.equal([]);
    expect(shortOf({ rightAt: 450_000, allowedMs: 300_000 }, [])).to.deep.equal(['430 s until full recovery']);
  });

  it('lists failed requests of the event that are not excused, those through proxies first', () => {
    const off = { way: 'm1, proxy', from: 12_000, to: 18_000, excuses: 'all' } as const;
    const unavailable = at(14_000, { status: 503, outcome: 'unavailable' });
    const direct = at(10_500, { way: 'm1, server', proxied: false, ...silent });
    const samples = [at(9_000, silent), direct, at(11_000), at(13_000, silent), unavailable];
    expect(failedIn(event({ offs: [off] }), samples)).to.deep.equal([unavailable, direct]);
  });
});

describe('An event in the life of a cluster', () => {
  it('is over with a problem if its action fails', async () => {
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

const recordOf = (about: Partial<LivedEvent>, samples: readonly Sample[] = [], run = '2026-01-01'): LifeRecord => {
  const lived = event(about);
  const verdict = judgeEvent(lived, { samples, sights: [], writes: [] });
  return { run, version: 'v1.36.3', lines: [`One machine, ${run}.`], event: lived, verdict, failed: [] };
};

describe('The report of a life', () => {
  const problems = ['a budget was broken'];

  it('has a row for each event on both sides, and names requirements that were not met', () => {
    const samples = [at(11_000), at(12_000, { way: 'm1, server', proxied: false, ...silent })];
    const report = writeLifeReport([
      recordOf({}, samples),
      recordOf({ name: 'drain', rightAt: undefined, problems }, samples),
    ]);
    expect(report).to.include('- drain: a budget was broken\n');
    expect(report).to.include('| power cut | 3 | 10 s | 1 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 10 s |');
    expect(report).to.include('| drain | 3 | 10 s | 1 | 1 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | never |');
    expect(report).not.to.include('clusters:');
  });

  it('says which events ran on another cluster, and describes the newest run', () => {
    const report = writeLifeReport([recordOf({}, [], '2026-01-02'), recordOf({ name: 'drain' })]);
    expect(report).to.include('- The events ran on 2 clusters: power cut; drain.\n');
    expect(report).to.include('- One machine, 2026-01-02.\n').and.not.to.include('- One machine, 2026-01-01.');
  });

  it('says which event has more time, and why', () => {
    const report = writeLifeReport([recordOf({ name: 'leaving', allowedMs: 300_000 })]);
    expect(report).to.include('The event “leaving” has 300 s more').and.include('`spec.goneAfter`');
  });
});

describe('The records of a life', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-life-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('are kept after the run: the latest of each event, in the order of the events', () => {
    const records = openRecords(join(folder, 'records'));
    expect(records.read()).to.deep.equal([]);
    records.keep(recordOf({ id: 'power' }));
    records.keep(recordOf({ id: 'drain', rightAt: undefined }));
    records.keep(recordOf({ id: 'power', notes: ['again'] }));
    const again = openRecords(join(folder, 'records')).read();
    expect(again.map(({ event: { id, notes } }) => [id, notes])).to.deep.equal([
      ['drain', []],
      ['power', ['again']],
    ]);
    records.clear();
    expect(records.read()).to.deep.equal([]);
  });
});

describe('The rotation of CAs in the life of a cluster', () => {
  it('runs each block of the guide, in its order', () => {
    const firstLines = guideBlocks('ca-rotation.md', 'sh').map((block) => block.split('\n')[0]);
    const { frontProxy, cluster } = rotationSteps;
    expect(firstLines).to.deep.equal([...Object.values(frontProxy), ...Object.values(cluster)]);
  });
});
