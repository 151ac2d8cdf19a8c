import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Metafile } from 'esbuild';
import { bundlePrograms } from './bundle.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

/** A package that package-lock.json lists. */
export interface LockedPackage {
  /** Where it is installed: `node_modules/a` or deeper. */
  readonly path: string;
  readonly name: string;
  readonly version: string;
  /** The SPDX expression; undefined if the lock file has none, as for builds for other platforms. */
  readonly license: string | undefined;
  /** `installed` next to the program, `bundled` into it, or not shipped. */
  readonly shipped: 'installed' | 'bundled' | undefined;
}

interface LockFile {
  readonly packages: Readonly<
    Record<string, { readonly version?: string; readonly license?: string; readonly dev?: boolean }>
  >;
}

/** Every package of the lock file, and how it is shipped, in order of their paths. */
export async function readPackages(bundles?: Metafile): Promise<readonly LockedPackage[]> {
  const lock = JSON.parse(readFileSync(`${root}/package-lock.json`, 'utf8')) as LockFile;
  const bundled = bundledPaths(bundles ?? (await bundlePrograms({ write: false })));
  return Object.entries(lock.packages)
    .filter(([path]) => path !== '')
    .map(([path, { version = '', license, dev = false }]) => ({
      path,
      name: path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length),
      version,
      license,
      shipped: dev ? (bundled.has(path) ? ('bundled' as const) : undefined) : ('installed' as const),
    }));
}

/** The packages with code in the program. */
function bundledPaths({ outputs }: Metafile): ReadonlySet<string> {
  const inputs = Object.values(outputs).flatMap((output) =>
    Object.entries(output.inputs).flatMap(([path, { bytesInOutput }]) => (bytesInOutput > 0 ? [path] : [])),
  );
  return new Set(inputs.flatMap((path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? []));
}

/** The licences of bundled packages, in the form that they require. */
export async function gatherLicences(bundles: Metafile): Promise<string> {
  const bundled = (await readPackages(bundles)).filter(({ shipped }) => shipped === 'bundled');
  const parts = bundled.map(({ path, name, version, license }) => {
    const file = readdirSync(`${root}/${path}`).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file === undefined ? '' : readFileSync(`${root}/${path}/${file}`, 'utf8').trim();
    return `${name} ${version}, ${license}\n\n${text}`;
  });
  return `${['These programs hold parts of other packages.', ...parts].join(`\n\n${'-'.repeat(80)}\n\n`)}\n`;
}
