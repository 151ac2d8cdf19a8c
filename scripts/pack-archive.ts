import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';

/** Arguments with which GNU tar writes the same bytes for the same files, regardless of their owner and date. */
const sameBytes = [
  ...['--sort=name', '--format=gnu', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--mode=u=rwX,go=rX'],
];

/** Packs these files of a folder into a `.tar.gz`. The same files give the same bytes. */
export function packArchive(folder: string, names: readonly string[], file: string): void {
  const command = `tar ${sameBytes.join(' ')} -cf - "$@" | gzip -6n >"$0"`;
  const { status, stderr } = spawnSync('bash', ['-o', 'pipefail', '-c', command, resolve(file), ...names], {
    cwd: folder,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`${file} cannot be packed: ${stderr}`);
}
