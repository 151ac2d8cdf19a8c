import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { expect } from 'chai';
import { repository } from '../../lab/repository.ts';

/** Copies the sources into a folder of another name and depth, with the same dependencies. */
function copyRepository(to: string, fileMode: number): void {
  const filesIn = (folder: string, recursive: boolean) =>
    readdirSync(join(repository, folder), { recursive, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => relative(repository, join(parentPath, name)));
  const sources = ['src', 'scripts', 'crds', 'docs', 'charts'].flatMap((folder) => filesIn(folder, true));
  const files = [...filesIn('.', false), ...sources];
  for (const path of files) {
    mkdirSync(dirname(join(to, path)), { recursive: true });
    cpSync(join(repository, path), join(to, path));
    chmodSync(join(to, path), fileMode);
  }
  const modules = join(repository, 'node_modules');
  const linked = spawnSync('cp', ['-al', modules, to]);
  if (linked.status !== 0) spawnSync('cp', ['-a', modules, to]);
}

/** Builds everything that is shipped, in a shell with this umask and time zone. Returns the hash of each file. */
function build(folder: string, umask: string, zone: string): Record<string, string> {
  const script = `
    import { packPackage, buildRootfs } from './scripts/build-rootfs.ts';
    import { writeOciArchive } from './scripts/write-oci-archive.ts';
    buildRootfs('rootfs', packPackage('out'));
    writeOciArchive({ rootfs: 'rootfs', names: ['localhost/x:1'], config: {} }, 'out/image.tar');
  `;
  const command = `umask ${umask} && exec "$0" --input-type=module -e "$1"`;
  const { status, stderr } = spawnSync('sh', ['-c', command, process.execPath, script], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, TZ: zone },
  });
  expect(status, stderr).to.equal(0);
  const hash = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex');
  const found = (name: string) => [name, hash(join(folder, 'out', name))];
  return Object.fromEntries(['peerdiscovery-0.1.0.tgz', 'image.tar'].map(found));
}

describe('two builds of the same sources', function () {
  this.timeout(900_000);
  const folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-twice-'));

  after(() => rmSync(folder, { recursive: true, force: true }));

  it('give the same bytes: the npm package and the image, in another folder, at another time, with another umask', () => {
    const [one, other] = [join(folder, 'one'), join(folder, 'much', 'deeper', 'other')];
    for (const to of [one, other]) mkdirSync(to, { recursive: true });
    copyRepository(one, 0o644);
    copyRepository(other, 0o600);
    const first = build(one, '022', 'UTC');
    expect(build(other, '077', 'Asia/Kathmandu')).to.deep.equal(first);
  });
});
