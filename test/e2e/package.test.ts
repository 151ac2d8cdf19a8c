import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { repository } from '../../lab/deploy-plane.ts';
import { entrypoint, packPackage } from '../../scripts/build-rootfs.ts';

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

  it('has the entry point in its Dockerfile that the tests run', () => {
    const text = readFileSync(join(repository, 'Dockerfile'), 'utf8');
    const [, list = ''] = /^ENTRYPOINT (.*)$/m.exec(text) ?? [];
    expect(JSON.parse(list)).to.deep.equal(entrypoint);
    expect(text).to.match(/^USER 65532:65532$/m);
  });
});
