import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { parse } from 'yaml';
import { repository } from '../../lab/repository.ts';
import { buildPlugin } from '../../scripts/build-plugin.ts';
import { entrypoint, packPackage } from '../../scripts/build-rootfs.ts';
import { generateKrew } from '../../scripts/generate-krew.ts';
import { leastNode } from '../../scripts/write-launcher.ts';

/** The system's own Node, if it is too old for the shipped programs. */
function olderNode(): { readonly version?: string; readonly node?: string } {
  for (const node of ['/usr/bin/node', '/usr/local/bin/node']) {
    const version = spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout?.trim().slice(1);
    if (version !== undefined && Number.parseInt(version, 10) < Number.parseInt(leastNode, 10))
      return { version, node };
  }
  return {};
}

const alone = 'kubectl_complete-peerdiscovery';

describe('the shipped files', function () {
  this.timeout(300_000);
  let folder: string;

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-package-'));
  });

  after(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  it('are a package with exactly the program, the CRD and the documentation', () => {
    const { stdout } = spawnSync('tar', ['-tzf', packPackage(folder)], { encoding: 'utf8' });
    const files = stdout
      .trim()
      .split('\n')
      .map((path) => path.replace(/^package\//, ''));
    const { bin } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8'));
    expect(files).to.include.members([...(Object.values(bin) as string[]), 'package.json', 'README.md', 'LICENSE']);
    expect(files).to.include.members(['crds/peerdiscovery.dev_peerdiscoveries.yaml', 'docs/guides/install.md']);
    expect(files, 'the licences of what is bundled').to.include('dist/lib/LICENSES.txt');
    const expected =
      /^(package\.json|README\.md|LICENSE|dist\/.+\.js|dist\/lib\/LICENSES\.txt|crds\/[^/]+\.yaml|docs\/.+\.(md|json|svg|png))$/;
    expect(files.filter((path) => !expected.test(path))).to.deep.equal([]);
  });

  it('run from the unpacked package', () => {
    const [tarball = ''] = readdirSync(folder).filter((name) => name.endsWith('.tgz'));
    spawnSync('tar', ['-xzf', join(folder, tarball), '-C', folder]);
    symlinkSync(join(repository, 'node_modules'), join(folder, 'package/node_modules'));
    const program = join(folder, 'package/dist/bin/peerdiscovery.js');
    const { stdout, stderr } = spawnSync(process.execPath, [program, 'version'], { encoding: 'utf8' });
    expect(stdout, stderr).to.match(/^peerdiscovery \d+\.\d+\.\d+\n$/);
  });

  it('name the required Node under an older one, in each program', function () {
    const { version = '', node } = olderNode();
    if (node === undefined) return this.skip();
    const { bin } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8'));
    for (const [name, path] of Object.entries<string>(bin)) {
      const { status, stdout, stderr } = spawnSync(node, [join(folder, 'package', path), '--help'], {
        encoding: 'utf8',
      });
      const line = `${name} needs Node.js ${leastNode} or later, and found ${version}`;
      expect({ status, stdout, line: stderr.slice(0, line.length) }).to.deep.equal({ status: 2, stdout: '', line });
      expect(stderr.trimEnd().split('\n')).to.have.length(1);
    }
  });

  it('have the entry point in the Dockerfile that the tests run', () => {
    const text = readFileSync(join(repository, 'Dockerfile'), 'utf8');
    const [, list = ''] = /^ENTRYPOINT (.*)$/m.exec(text) ?? [];
    expect(JSON.parse(list)).to.deep.equal(entrypoint);
    expect(text).to.match(/^USER 65532:65532$/m);
  });

  it('include a plugin that runs without Node', async () => {
    const platform = `${process.platform}-${process.arch}`;
    const [program = ''] = await buildPlugin(join(folder, 'plugin'), [platform]);
    const run = (...args: string[]) => spawnSync(program, args, { encoding: 'utf8', cwd: folder, env: { PATH: '' } });
    expect(run('version').stdout).to.match(/^kubectl-peerdiscovery \d+\.\d+\.\d+\n$/);
    const { stdout, stderr } = run('status', '--kubeconfig', 'none');
    expect(stderr, stdout).to.match(/^error: .*none.*\n {2}cure: /);
    const refused = await buildPlugin(folder, ['plan9-x64']).catch(String);
    expect(refused).to.contain('plan9-x64').and.to.contain('choose of linux-x64');
  });

  it('include an archive for krew, whose manifest has its checksum, the same each time', async () => {
    const downloads = 'https://example.com/v0/';
    const here = process.arch === 'arm64' ? 'linux-arm64' : 'linux-x64';
    const { archives, manifest } = await generateKrew(join(folder, 'krew'), downloads, [here, 'darwin']);
    const { metadata, spec } = parse(readFileSync(manifest, 'utf8'));
    const sumOf = (file = '') => createHash('sha256').update(readFileSync(file)).digest('hex');
    expect(metadata).to.deep.equal({ name: 'peerdiscovery' });
    expect(spec.version).to.match(/^v\d+\.\d+\.\d+$/);
    expect(spec.shortDescription).to.have.length.lessThan(51);
    const [linux, darwin] = spec.platforms;
    expect(linux).to.deep.include({
      selector: { matchLabels: { os: 'linux', arch: here === 'linux-x64' ? 'amd64' : 'arm64' } },
      uri: `${downloads}kubectl-peerdiscovery-${here}.tar.gz`,
      sha256: sumOf(archives[here]),
    });
    expect(darwin).to.deep.include({ selector: { matchLabels: { os: 'darwin' } }, sha256: sumOf(archives.darwin) });
    const again = await generateKrew(join(folder, 'krew-again'), downloads, [here, 'darwin']);
    expect([sumOf(again.archives[here]), sumOf(again.archives.darwin)]).to.deep.equal([linux.sha256, darwin.sha256]);

    /** As krew installs it: a link on the PATH to a program of the unpacked archive. */
    const install = (archive = '', bin: string) => {
      const unpacked = mkdtempSync(join(folder, 'unpacked-'));
      const path = mkdtempSync(join(folder, 'path-'));
      spawnSync('tar', ['-xzf', archive, '-C', unpacked]);
      symlinkSync(join(unpacked, bin), join(path, 'kubectl-peerdiscovery'));
      const run = (program: string, ...args: string[]) =>
        spawnSync(program, args, { encoding: 'utf8', cwd: unpacked, env: { PATH: path } });
      return { unpacked, path, run };
    };
    const single = install(archives[here], linux.bin);
    expect(readdirSync(single.unpacked)).to.have.members(['LICENSE', 'docs', linux.bin, alone]);
    const scripts = install(archives.darwin, darwin.bin);
    expect(readdirSync(scripts.unpacked)).to.have.members([
      'LICENSE',
      'docs',
      darwin.bin,
      `${alone}.mjs`,
      'plugin.mjs',
    ]);
    symlinkSync(process.execPath, join(scripts.path, 'node'));
    for (const [{ unpacked, path, run }, completion] of [
      [single, alone],
      [scripts, `${alone}.mjs`],
    ] as const) {
      const program = join(path, 'kubectl-peerdiscovery');
      const { stdout, stderr } = run(program, 'version');
      expect(stdout, stderr).to.equal(`kubectl-peerdiscovery ${spec.version.slice(1)}\n`);
      expect(run(program, 'status', '--kubeconfig', 'none').stderr).to.match(/^error: .*none.*\n {2}cure: /);
      const completed = run(join(unpacked, completion), 'st');
      expect(completed.stdout, completed.stderr).to.match(/^status\t.*\n:4\n$/);
    }
    expect(spec.caveats).to.contain(`/${alone}`);
  });
});
