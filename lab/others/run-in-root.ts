import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ControlPlane } from '../plane/control-plane.ts';

/** A program with a file system of its own, as a container has it: the machine's libraries, and the files given. */
export interface RootedProgram {
  readonly name: string;
  /** Path of the program on this machine. */
  readonly program: string;
  readonly args: readonly string[];
  /** An empty folder. */
  readonly folder: string;
  /** Content of each file, by its path within. */
  readonly files: Readonly<Record<string, string>>;
  readonly env?: NodeJS.ProcessEnv;
}

const libraries = ['/usr', '/lib', '/lib64', '/bin', '/dev'];

/** Starts the program; needs the right to mount. */
export function runInRoot(plane: ControlPlane, { name, program, args, folder, files, env }: RootedProgram): void {
  for (const [path, text] of Object.entries({ ...files, '/program': '', '/tmp/none': '' })) {
    const file = join(folder, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
  const mounts = [...libraries.filter((path) => existsSync(path)).map((path) => [path, path]), [program, '/program']];
  const script = mounts.flatMap(([source = '', target = '']) => {
    const place = join(folder, target);
    return [...(source === program ? [] : [`mkdir -p '${place}'`]), `mount --rbind '${source}' '${place}'`];
  });
  const quoted = args.map((arg) => `'${arg}'`).join(' ');
  const command = ['set -eu', ...script, `exec chroot '${folder}' /program ${quoted}`].join('\n');
  plane.spawn('unshare', ['--mount', '--propagation=private', 'bash', '-c', command], {
    name,
    ...(env === undefined ? {} : { env }),
  });
}
