import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { parse } from 'yaml';
import { repository } from '../../lab/deploy-plane.ts';
import { buildPlugin } from '../../scripts/build-plugin.ts';
import { entrypoint, packPackage } from '../../scripts/build-rootfs.ts';
import { generateKrew } from '../../scripts/generate-krew.ts';
import { leastNode } from '../../scripts/write-launcher.ts';

/** The system's own Node, if it is too old for what is shipped. */
function olderNode(): { readonly version?: string; readonly node?: string } {
  for (const node of ['/usr/bin/node', '/usr/local/bin/node']) {
    const version = spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout?.trim().slice(1);
    if (version !== undefined && Number.parseInt(version, 10) < Number.parseInt(leastNode, 10))
      return { version, node };
  }
  return {};
}

describe('what is shipped', function () {
  this.timeout(120_000);
  let folder: string;

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-package-'));
  });

  after(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  it('is a package with the program, the CRD and the schemas in it, and nothing else', () => {
    const { stdout } = spawnSync('tar', ['-tzf', packPackage(folder)], { encoding: 'utf8' });
    const files = stdout
      .trim()
      .split('\n')
      .map((path) => path.replace(/^package\//, ''));
    const { bin } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8'));
    expect(files).to.include.members([...(Object.values(bin) as string[]), 'package.json', 'README.md', 'LICENSE']);
    expect(files).to.include('crds/peerdiscovery.dev_peerdiscoveries.yaml');
    const expected = /^(package\.json|README\.md|LICENSE|dist\/.+\.js|crds\/[^/]+\.yaml|docs\/schemas\/[^/]+\.json)$/;
    expect(files.filter((path) => !expected.test(path))).to.deep.equal([]);
  });

  it('runs from the unpacked package', () => {
    const [tarball = ''] = readdirSync(folder).filter((name) => name.endsWith('.tgz'));
    spawnSync('tar', ['-xzf', join(folder, tarball), '-C', folder]);
    symlinkSync(join(repository, 'node_modules'), join(folder, 'package/node_modules'));
    const program = join(folder, 'package/dist/bin/peerdiscovery.js');
    const { stdout, stderr } = spawnSync(process.execPath, [program, 'version'], { encoding: 'utf8' });
    expect(stdout, stderr).to.match(/^peerdiscovery \d+\.\d+\.\d+\n$/);
  });

  it('says which Node it needs under an older one, in each of its programs', function () {
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

  it('has the entry point in its Dockerfile that the tests run', () => {
    const text = readFileSync(join(repository, 'Dockerfile'), 'utf8');
    const [, list = ''] = /^ENTRYPOINT (.*)$/m.exec(text) ?? [];
    expect(JSON.parse(list)).to.deep.equal(entrypoint);
    expect(text).to.match(/^USER 65532:65532$/m);
  });

  it('is a plugin that runs where there is no Node', async () => {
    const platform = `${process.platform}-${process.arch}`;
    const [program = ''] = await buildPlugin(join(folder, 'plugin'), [platform]);
    const run = (...args: string[]) => spawnSync(program, args, { encoding: 'utf8', cwd: folder, env: { PATH: '' } });
    expect(run('version').stdout).to.match(/^kubectl-peerdiscovery \d+\.\d+\.\d+\n$/);
    const { stdout, stderr } = run('status', '--kubeconfig', 'none');
    expect(stderr, stdout).to.match(/^error: .*none.*\n {2}cure: /);
    const refused = await buildPlugin(folder, ['plan9-x64']).catch(String);
    expect(refused).to.contain('plan9-x64').and.to.contain('choose of linux-x64');
  });

  it('is a krew archive too, whose manifest has the sum of what was packed, the same each time', async () => {
    const uri = 'https://example.com/v0/kubectl-peerdiscovery.tar.gz';
    const { archive, manifest } = await generateKrew(join(folder, 'krew'), uri);
    const { metadata, spec } = parse(readFileSync(manifest, 'utf8'));
    const sumOf = (file: string) => createHash('sha256').update(readFileSync(file)).digest('hex');
    expect(metadata).to.deep.equal({ name: 'peerdiscovery' });
    expect(spec.version).to.match(/^v\d+\.\d+\.\d+$/);
    expect(spec.shortDescription).to.have.length.lessThan(51);
    expect(spec.platforms).to.have.length(1);
    const [platform] = spec.platforms;
    expect(platform).to.include({ uri, sha256: sumOf(archive) });
    const again = await generateKrew(join(folder, 'krew-again'), uri);
    expect(sumOf(again.archive)).to.equal(platform.sha256);
    const unpacked = join(folder, 'unpacked');
    mkdirSync(unpacked);
    spawnSync('tar', ['-xzf', archive, '-C', unpacked]);
    expect(readdirSync(unpacked)).to.have.members([
      'LICENSE',
      platform.bin,
      'kubectl_complete-peerdiscovery.mjs',
      'plugin.mjs',
    ]);
    // As krew installs it: a link on the PATH, where there is nothing else but Node.
    const path = join(folder, 'path');
    mkdirSync(path);
    symlinkSync(process.execPath, join(path, 'node'));
    symlinkSync(join(unpacked, platform.bin), join(path, 'kubectl-peerdiscovery'));
    const run = (...args: string[]) =>
      spawnSync(join(path, 'kubectl-peerdiscovery'), args, { encoding: 'utf8', cwd: unpacked, env: { PATH: path } });
    const { stdout, stderr } = run('version');
    expect(stdout, stderr).to.equal(`kubectl-peerdiscovery ${spec.version.slice(1)}\n`);
    expect(run('status', '--kubeconfig', 'none').stderr).to.match(/^error: .*none.*\n {2}cure: /);
    const complete = join(unpacked, 'kubectl_complete-peerdiscovery.mjs');
    const completed = spawnSync(complete, ['st'], { encoding: 'utf8', cwd: unpacked, env: { PATH: path } });
    expect(completed.stdout, completed.stderr).to.match(/^status\t.*\n:4\n$/);
    expect(spec.caveats).to.contain('/kubectl_complete-peerdiscovery.mjs');
  });
});
