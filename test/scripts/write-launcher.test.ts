import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { launcherText, leastNode, writeLauncher } from '../../scripts/write-launcher.ts';

describe('the launcher of a program', () => {
  let folder: string;
  let launcher: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-launcher-'));
    launcher = join(folder, 'program.mjs');
    writeLauncher(launcher, 'program', './code.mjs');
    writeFileSync(join(folder, 'code.mjs'), 'process.stdout.write(process.argv.slice(2).join(" "));');
  });

  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  /** Runs the launcher under a Node that says it is of another version. */
  function runAs(version: string, ...args: string[]) {
    const pretence = join(folder, 'pretence.cjs');
    writeFileSync(pretence, `Object.defineProperty(process.versions, 'node', { value: '${version}' });`);
    return spawnSync(process.execPath, ['--require', pretence, launcher, ...args], { encoding: 'utf8' });
  }

  for (const version of ['12.22.12', '18.20.8', '20.20.2', '22.0.0', '22.18.9'])
    it(`says in one line that Node ${version} is too old, and ends with 2, before it loads anything`, () => {
      for (const args of [[], ['--help'], ['version']]) {
        const { status, stdout, stderr } = runAs(version, ...args);
        const wanted = `program needs Node.js ${leastNode} or later, and found ${version} (${process.execPath})\n`;
        expect({ status, stdout, stderr }).to.deep.equal({ status: 2, stdout: '', stderr: wanted });
      }
    });

  for (const version of [`${leastNode}.0`, '22.100.0', '23.0.0', '26.10.0', '100.0.0'])
    it(`runs the program under Node ${version}`, () => {
      const { status, stdout, stderr } = runAs(version, 'a', 'b');
      expect({ status, stdout, stderr }).to.deep.equal({ status: 0, stdout: 'a b', stderr: '' });
    });

  it('has no statement that an old Node cannot read, nor one that loads a module first', () => {
    const text = launcherText('program', './code.mjs');
    expect(text).not.to.match(/^(import\s|export\s)|\b(let|const|await|async)\b|=>|\?\.|\?\?|`/m);
  });
});
