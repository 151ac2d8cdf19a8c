import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { buildControlPlane } from '../../lab/build/build-control-plane.ts';
import { repository } from '../../lab/repository.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import { chaptersOf, commandsForReadme, drawTerminal, pictures, withoutTimes } from '../../scripts/draw-terminal.ts';
import { commandBlock } from '../support/guide-commands.ts';

interface Run {
  readonly child: ChildProcess;
  readonly output: () => string;
  readonly ended: Promise<{ readonly code: number | null }>;
}

describe('make demo', function () {
  this.timeout(300_000);
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-demo-test-'));
  });

  afterEach(() => {
    for (const pid of marked()) process.kill(pid, 'SIGKILL');
    rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
  });

  /** Processes of the demo. They are recognised by the folder for temporary files, which only this test sets. */
  function marked(): readonly number[] {
    return readdirSync('/proc').flatMap((name) => {
      if (!/^\d+$/.test(name)) return [];
      try {
        const inherited = readFileSync(`/proc/${name}/environ`, 'utf8').includes(folder);
        // A zombie process has no command line.
        return inherited && readFileSync(`/proc/${name}/cmdline`, 'utf8') !== '' ? [Number(name)] : [];
      } catch {
        return [];
      }
    });
  }

  /** Runs a shell command in its own process group and without make's variables, as in a terminal. */
  function start(command: string, env: NodeJS.ProcessEnv = {}): Run {
    const { MAKELEVEL: _level, MAKEFLAGS: _flags, MFLAGS: _oldFlags, ...outer } = process.env;
    const child = spawn('bash', ['-c', command], {
      cwd: repository,
      env: { ...outer, TMPDIR: folder, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    let text = '';
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (more: string) => {
        text += more;
      });
    return { child, output: () => text, ended: once(child, 'close').then(([code]) => ({ code })) };
  }

  async function untilSaid({ output }: Run, pattern: RegExp): Promise<void> {
    await waitUntil(`the demo to say ${pattern}`, async () => pattern.test(output()), { seen: output });
  }

  async function untilAllEnded(): Promise<void> {
    await waitUntil('every process to end', async () => marked().length === 0, { boundMs: 30_000 });
  }

  async function expectNothingLeft(): Promise<void> {
    await untilAllEnded();
    expect(readdirSync(folder)).to.deep.equal([]);
  }

  // Real servers take longer to start than to end, so the simulated ones cover most of the cases.
  const ways = {
    '': { group: ['SIGINT', 'SIGHUP'], alone: ['SIGTERM'] },
    '--simulated': {
      group: ['SIGINT', 'SIGHUP', 'SIGTERM', 'SIGQUIT'],
      alone: ['SIGINT', 'SIGHUP', 'SIGTERM', 'SIGPIPE', 'SIGKILL'],
    },
  } as const;
  for (const [kind, { group, alone }] of Object.entries(ways)) {
    const make = `make --no-print-directory demo ARGS='${kind}'`;

    describe(`on ${kind === '' ? 'real' : 'simulated'} servers`, () => {
      it('leaves nothing behind when its reader leaves in the middle of the story', async () => {
        const { output, ended } = start(`${make} | head -n 12`);
        await ended;
        expect(output()).to.contain('0. A ');
        await expectNothingLeft();
      });

      for (const signal of group)
        it(`leaves nothing behind when all its processes get ${signal}`, async () => {
          const run = start(kind === '' ? commandBlock('../../README.md', /^make demo$/m) : make);
          await untilSaid(run, /1\. Three/);
          process.kill(-(run.child.pid ?? 0), signal);
          await run.ended;
          await expectNothingLeft();
        });

      for (const signal of alone)
        it(`leaves nothing behind when the process that make started gets ${signal}`, async () => {
          const run = start(`exec node lab/demo/run-demo.ts ${kind}`);
          await untilSaid(run, /1\. Three/);
          run.child.kill(signal);
          await run.ended;
          // A killed process cannot clean up. The demo notices that through its lifeline, and removes its own files.
          if (signal === 'SIGKILL') {
            await untilAllEnded();
            const [left = ''] = readdirSync(folder);
            expect(readdirSync(join(folder, left), { recursive: true }), run.output()).to.deep.equal([]);
          } else await expectNothingLeft();
        });
    });
  }

  it('leaves nothing behind when its reader leaves while it waits', async () => {
    const run = start(`make demo ARGS=--simulated | sed '/The story held/q'`);
    await run.ended;
    expect(run.output()).to.contain('The story held');
    await expectNothingLeft();
  });

  it('leaves nothing behind when make is killed', async () => {
    const run = start('exec make demo ARGS=--simulated');
    await untilSaid(run, /1\. Three/);
    run.child.kill('SIGKILL');
    await expectNothingLeft();
  });

  it('builds the programs that KUBEBUILDER_ASSETS lacks first, and prints what README and picture show', async () => {
    const built = await buildControlPlane('1.36', () => {});
    const assets = mkdtempSync(join(tmpdir(), 'peerdiscovery-assets-'));
    try {
      for (const program of ['etcd', 'kube-apiserver', 'kubectl'])
        symlinkSync(join(built, 'controlplane'), join(assets, program));
      const run = start('make demo ARGS=--once', { KUBEBUILDER_ASSETS: assets });
      expect((await run.ended).code, run.output()).to.equal(0);
      expect(run.output()).to.match(/brings etcd, kube-apiserver, kubectl; the lab builds the rest[\s\S]*0\. A real/);
      expect(run.output()).to.contain('The story held.');
      const readme = readFileSync(join(repository, 'README.md'), 'utf8');
      const cure = 'another text than the demo prints: run "make demo-picture"';
      expect(withoutTimes(readme), cure).to.contain(withoutTimes(commandsForReadme(run.output())));
      for (const [name, chapters] of Object.entries(pictures)) {
        const picture = readFileSync(join(repository, 'docs/images', name), 'utf8');
        expect(withoutTimes(picture), cure).to.equal(withoutTimes(drawTerminal(chaptersOf(run.output(), chapters))));
      }
    } finally {
      rmSync(assets, { recursive: true });
    }
  });
});
