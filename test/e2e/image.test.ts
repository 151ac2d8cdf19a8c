import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { findContainers } from '../../lab/prepare-machine.ts';
import { repository } from '../../lab/repository.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import { localImage } from '../../scripts/build-image.ts';
import { commandBlock } from '../support/guide-commands.ts';

describe('make image and make load, with a real buildah and containerd', function () {
  this.timeout(1_200_000);
  let folder: string;
  let containerd: ChildProcess | undefined;
  let environment: NodeJS.ProcessEnv;

  before(async function () {
    const path = (await findContainers()) ?? this.skip();
    folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-image-'));
    const socket = join(folder, 'containerd.sock');
    writeFileSync(join(folder, 'config.toml'), `version = 2\n[grpc]\n  address = "${socket}"\n`);
    environment = { ...process.env, PATH: path, CONTAINERD_ADDRESS: socket };
    const flags = [
      '--config',
      join(folder, 'config.toml'),
      '--root',
      join(folder, 'root'),
      '--state',
      join(folder, 'run'),
    ];
    containerd = spawn('containerd', flags, { env: environment, stdio: 'ignore' });
    await waitUntil('containerd', async () => run('ctr', 'version').status === 0);
  });

  after(async () => {
    if (containerd !== undefined) {
      const ended = new Promise((resolve) => containerd?.once('exit', resolve));
      containerd.kill();
      await ended;
    }
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  });

  const run = (command: string, ...args: readonly string[]) =>
    spawnSync(command, args, { cwd: repository, env: environment, encoding: 'utf8' });

  it('put the image where a Pod finds it, and a container of it runs', () => {
    // The test does not touch a developer's own clusters.
    const chosen = { ...environment, BUILDER: 'buildah', CLUSTER: 'containerd' };
    const block = commandBlock('install.md', /^make image load/m);
    const made = spawnSync('bash', ['-euo', 'pipefail', '-c', block], {
      cwd: repository,
      env: chosen,
      encoding: 'utf8',
    });
    expect(made.status, `${made.stdout}${made.stderr}`).to.equal(0);
    expect(made.stdout).to.contain('is loaded into containerd');
    const ctr = ['--namespace', 'k8s.io'];
    expect(run('ctr', ...ctr, 'images', 'list', '--quiet').stdout.split('\n')).to.include(localImage());
    const { stdout, stderr } = run('ctr', ...ctr, 'run', '--rm', '--snapshotter', 'native', localImage(), 'try');
    expect(stdout, stderr).to.contain('peerdiscovery COMMAND --help');
  });
});
