import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { describeFailure } from '../../scripts/counting-reporter.ts';

describe('the reporter of the tests', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-reporter-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('prints the message of a failure first, then the path and the end of every log', () => {
    mkdirSync(join(folder, 'plane-1'));
    const log = join(folder, 'plane-1', 'new-1.log');
    writeFileSync(log, Array.from({ length: 40 }, (_, index) => `line ${index}`).join('\n'));
    const told = describeFailure(new Error('expected 3 peers'), folder);
    expect(told).to.match(/^Error: expected 3 peers\n/);
    expect(told).to.contain(`--- ${log}\n`).and.contain('line 39').and.not.contain('line 5\n');
  });

  it('counts passed, failed and skipped tests, and all tests of a suite whose setup skips it', async () => {
    const suite = join(folder, 'suite.cjs');
    writeFileSync(
      suite,
      `it('passes', () => {});
it('fails', () => { throw new Error('on purpose'); });
describe('without its program', () => {
  before(function () { this.skip(); });
  it('is skipped', () => {});
  it('is skipped, too', () => {});
});`,
    );
    const output = join(folder, 'counts.json');
    const args = ['node_modules/.bin/mocha', '--reporter-option', `output=${output}`, suite];
    const env = { ...process.env, TMPDIR: folder };
    const printed = await new Promise<string>((resolve) =>
      execFile(process.execPath, args, { env }, (_error, stdout) => resolve(stdout)),
    );
    const { failures, failedFiles, ...counts } = JSON.parse(readFileSync(output, 'utf8'));
    expect(counts).to.deep.equal({ passed: 1, failed: 1, skipped: 2 });
    expect(failedFiles).to.deep.equal([suite]);
    expect(failures).to.have.length(1);
    expect(failures[0]).to.match(/^fails\n {4}Error: on purpose\n/);
    expect(printed.indexOf('Error: on purpose')).to.be.within(0, printed.indexOf('1 passing'));
  });
});
