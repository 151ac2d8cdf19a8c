import { expect } from 'chai';
import { minorsBetween } from '../../lab/cluster/build-programs.ts';
import { writeChainReport } from '../../lab/cluster/chain-report.ts';
import type { UpgradeRecord } from '../../lab/cluster/upgrade-records.ts';
import { sideWith } from './upgrade-side.ts';

const side = (failed: number) => sideWith(failed, []);

const first: UpgradeRecord = {
  versions: ['v1.33.13', 'v1.34.3'],
  lines: ['a line'],
  steps: [{ name: 'm1 kubeadm upgrade', afterMs: 1_000, tookMs: 2_000 }],
  through: side(0),
  straight: side(2),
  operator: { convergedMs: 0, wronglyConvergedMs: 0, silenceMs: 8_000 },
};
const second: UpgradeRecord = {
  ...first,
  versions: ['v1.34.3', 'v1.35.4'],
  failure: 'etcd is away\nfor good',
  through: side(1),
  operator: { convergedMs: 30_000, wronglyConvergedMs: 6_000, silenceMs: 5_000 },
};

describe('The report of upgrades one after the other', () => {
  const report = writeChainReport([first, second]);
  const lines = report.split('\n');
  const rows = (start: string) => lines.filter((line) => line.startsWith(`| ${start}`));

  it('names all versions and the command', () => {
    expect(lines[0]).to.equal('# Real upgrades of one cluster, v1.33.13 to v1.34.3 to v1.35.4, under load');
    expect(report).to.contain('`make test-cluster ARGS="1.33 1.35"`');
  });

  it('judges each upgrade', () => {
    expect(lines).to.include('**v1.33.13 to v1.34.3:** all requirements were met.');
    expect(lines).to.include(
      '**v1.34.3 to v1.35.4:** it did not finish: etcd is away; requirements that were not met: ' +
        'Converged stayed True for 6.0 s without reason; 1 failed attempts of: exec.',
    );
  });

  it('has a column for each upgrade, and requires only of the proxies', () => {
    expect(rows('exec')).to.deep.equal([
      '| exec | 0 of 0 failed | **1 of 1 failed** | 0 failed |',
      '| exec | 2 of 2 failed | 2 of 2 failed | 0 failed |',
    ]);
    expect(rows('Longest time between')[0]).to.contain('| 8.0 s | 5.0 s | 10.0 s |');
  });

  it('says what is new in each version', () => {
    expect(report).to.contain(
      '- The API that only v1.34.3 serves: clients read `/apis/resource.k8s.io/v1/deviceclasses`.',
    );
    expect(report).to.contain('kubeadm’s patches add --runtime-config=certificates.k8s.io/v1beta1=true');
  });
});

describe('The versions of a chain of upgrades', () => {
  it('skip no minor', () => {
    expect(minorsBetween('1.33', '1.35')).to.deep.equal(['1.33', '1.34', '1.35']);
  });

  it('are none for an unknown minor, and none backwards', () => {
    expect(minorsBetween('1.2', '1.37')).to.deep.equal([]);
    expect(minorsBetween('1.35', '1.2')).to.deep.equal([]);
    expect(minorsBetween('1.36', '1.34')).to.deep.equal([]);
  });
});
