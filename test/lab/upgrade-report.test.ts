import { expect } from 'chai';
import type { UpgradeRecord } from '../../lab/cluster/upgrade-records.ts';
import { shortOf, writeUpgradeReport } from '../../lab/cluster/upgrade-report.ts';
import { sideWith } from './upgrade-side.ts';

const side = (failed: number) => sideWith(failed, [2, 1, 0]);
const product: UpgradeRecord = {
  versions: ['v1.35.4', 'v1.36.3'],
  lines: [],
  steps: [],
  through: side(0),
  straight: side(2),
  operator: { convergedMs: 0, wronglyConvergedMs: 0, silenceMs: 0 },
};
const row = (report: string, start: string) => report.split('\n').find((line) => line.startsWith(`| ${start}`));

describe('The report of an upgrade', () => {
  it('requires only of the proxies', () => {
    expect(shortOf(product)).to.deep.equal(['a server had 2.00 times the mean of watches (2, 1, 0)']);
    const report = writeUpgradeReport(product, undefined);
    expect(row(report, 'exec')).to.equal('| exec | 0 of 0 failed | 2 of 2 failed | 0 failed |');
    expect(row(report, '… at each server')).to.contain('| **2, 1, 0 (2.00)** | 2, 1, 0 (2.00) | 1.3 times the mean |');
    expect(report).to.contain('- Directly to the servers: exec, 0 s: no');
  });

  it('names requests with a wrong answer', () => {
    const outcome = 'noAnswer';
    const wrong = [
      { way: 'm1, proxy', kind: 'write', afterMs: 12_400, tookMs: 6_000, status: 201, outcome, serverMs: 5_900 },
      { way: 'm2, proxy', kind: 'new', afterMs: 20_000, tookMs: 20_000, status: 0, outcome, error: 'no answer' },
      { way: 'm3, proxy', kind: 'new', afterMs: 30_000, tookMs: 100, status: 404, outcome: 'notFound' },
    ] as const;
    const lines = writeUpgradeReport({ ...product, through: { ...side(0), wrong } }, undefined).split('\n');
    expect(lines).to.include(
      '- Through the proxies: write at m1, proxy, 12 s: 201 after 6.0 s; a server itself took 5.9 s then',
    );
    expect(lines).to.include(
      '- Through the proxies: read of the new API at m2, proxy, 20 s: no answer after 20.0 s (no answer); ' +
        'no server answered its own clients then',
    );
    expect(lines).to.include('- Through the proxies: read of the new API at m3, proxy, 30 s: 404 after 0.1 s');
  });

  it('says what the manager of each side did, if the record has one', () => {
    const manager = {
      reconciles: 90,
      failures: { 'the server is gone': 2, 'connection refused': 5 },
      exits: ['leader election lost'],
      objects: 12,
      outOfStep: ['managed-3: no Secret'],
    };
    const through = { ...side(0), clients: { ...side(0).clients, manager } };
    const report = writeUpgradeReport({ ...product, through }, undefined);
    const cells = (start: string) =>
      row(report, start)
        ?.split('|')
        .slice(2, 5)
        .map((cell) => cell.trim());
    expect(cells('Reconciles of')).to.deep.equal(['90', '', '']);
    expect(cells('… of which failed and were')).to.deep.equal(['7', '', '']);
    expect(cells('Objects that the manager')).to.deep.equal(['12', '', '']);
    expect(cells('… out of step')).to.deep.equal(['**1**', '', '0']);
    expect(cells('Exits of the manager')).to.deep.equal(['**1**', '', '0']);
    const lines = report.split('\n').filter((line) => line.startsWith('- Through the proxies: '));
    expect(lines.map((line) => line.slice('- Through the proxies: '.length))).to.deep.equal([
      '5 reconciles: connection refused',
      '2 reconciles: the server is gone',
      'the manager ended: leader election lost',
      'out of step: managed-3: no Secret',
    ]);
  });

  it('has a column for the upgrade with the peer proxy once there was one', () => {
    const upstream: UpgradeRecord = { ...product, through: undefined, straight: side(5), operator: undefined };
    expect(shortOf(upstream)).to.deep.equal([]);
    expect(row(writeUpgradeReport(product, upstream), 'exec')).to.equal(
      '| exec | 0 of 0 failed | 2 of 2 failed | 5 of 5 failed | 0 failed |',
    );
  });
});
