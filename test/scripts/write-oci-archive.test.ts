import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { writeOciArchive } from '../../scripts/write-oci-archive.ts';

describe('writeOciArchive', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-test-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const fill = (name: string, order: readonly string[], date: number): string => {
    const rootfs = join(folder, name);
    mkdirSync(rootfs);
    for (const file of order) {
      writeFileSync(join(rootfs, file), file, { mode: 0o644 });
      utimesSync(join(rootfs, file), date, date);
    }
    return rootfs;
  };

  it('writes the same bytes for the same files, at any time and with any umask', () => {
    const config = { Entrypoint: ['/a'], User: '1:1' };
    const sources = [fill('one', ['a', 'b'], 1_000), fill('two', ['b', 'a'], 2_000)];
    const [first, second] = sources.map((rootfs, at) => {
      const file = `${rootfs}.tar`;
      const umask = process.umask(at === 0 ? 0o022 : 0o077);
      try {
        writeOciArchive({ rootfs, names: ['localhost/x:1'], config }, file);
      } finally {
        process.umask(umask);
      }
      return readFileSync(file);
    });
    expect(first?.equals(second ?? Buffer.alloc(0))).to.equal(true);
  });

  it('gives an image every requested name', () => {
    const file = join(folder, 'image.tar');
    writeOciArchive(
      { rootfs: fill('one', ['a'], 1_000), names: ['registry.test/x:1', 'registry.test/y:2'], config: {} },
      file,
    );
    const { stdout } = spawnSync('tar', ['-xOf', file, 'index.json'], { encoding: 'utf8' });
    const index = JSON.parse(stdout) as {
      readonly manifests: readonly {
        readonly digest: string;
        readonly annotations: Readonly<Record<string, string>>;
      }[];
    };
    expect(index.manifests.map(({ annotations }) => annotations['io.containerd.image.name'])).to.deep.equal([
      'registry.test/x:1',
      'registry.test/y:2',
    ]);
    expect(new Set(index.manifests.map(({ digest }) => digest)).size).to.equal(1);
  });
});
