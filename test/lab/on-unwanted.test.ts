import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { repository } from '../../lab/repository.ts';
import { waitUntil } from '../../lab/wait-until.ts';

describe('onUnwanted', function () {
  this.timeout(60_000);
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-unwanted-'));
  });

  afterEach(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  it('notices that the terminal was closed, although only the first process of the session gets a signal', async function () {
    // `script` is in Debian's bsdutils, which another system may lack.
    if (spawnSync('script', ['--version']).status !== 0) this.skip();
    const [program, pid, status] = ['program.ts', 'pid', 'status'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    writeFileSync(
      program,
      `import { writeFileSync } from 'node:fs';
import { onUnwanted } from '${join(repository, 'lab/on-unwanted.ts')}';
onUnwanted((status) => {
  writeFileSync('${status}', String(status));
  process.exit();
});
setInterval(() => {}, 1_000);
writeFileSync('${pid}', String(process.pid));
`,
    );
    // The shell is the first process and continues to wait, like make.
    const command = `trap '' HUP; '${process.execPath}' '${program}'; true`;
    const terminal = spawn('script', ['--quiet', '--command', command, '/dev/null'], { stdio: 'ignore' });
    try {
      await waitUntil('the program to run', async () => existsSync(pid));
      terminal.kill('SIGKILL');
      await once(terminal, 'exit');
      await waitUntil('the program to notice', async () => existsSync(status), { boundMs: 15_000 });
      expect(readFileSync(status, 'utf8')).to.equal('129');
    } finally {
      terminal.kill('SIGKILL');
      if (existsSync(pid) && !existsSync(status)) process.kill(Number(readFileSync(pid, 'utf8')), 'SIGKILL');
    }
  });
});
