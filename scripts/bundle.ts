import { readdir, readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BuildOptions, build, type Metafile, type Plugin } from 'esbuild';
import { releaseConstants } from './bundle-plugin.ts';
import { leastNode } from './write-launcher.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

/**
 * Drops unused parts of client-node. This project uses none of its 700 generated models at run time, and they cost an
 * idle operator about 45 MiB. Its package.json does not say that its modules have no side effects, so this plugin does.
 */
const lean: Plugin = {
  name: 'lean-client-node',
  setup({ onResolve, resolve }) {
    onResolve({ filter: /.*/ }, async ({ path, importer, resolveDir, kind, pluginData }) => {
      const concerns = path.startsWith('@kubernetes/client-node') || importer.includes('/@kubernetes/client-node/');
      if (!concerns || pluginData === lean) return undefined;
      const resolved = await resolve(path, { importer, resolveDir, kind, pluginData: lean });
      return resolved.external ? resolved : { ...resolved, sideEffects: false };
    });
  },
};

/** A file with a #! line is a program. A thread's program keeps its name, because it is started by name. */
async function findPrograms(): Promise<Record<string, string>> {
  const folder = `${root}/src/bin`;
  const programs: Record<string, string> = { 'document-thread': `${root}/src/proxy/discovery/document-thread.ts` };
  for (const name of await readdir(folder))
    if ((await readFile(`${folder}/${name}`, 'utf8')).startsWith('#!'))
      programs[basename(name, '.ts')] = `${folder}/${name}`;
  return programs;
}

async function bundleOptions(): Promise<BuildOptions> {
  const { dependencies } = JSON.parse(await readFile(`${root}/package.json`, 'utf8')) as {
    readonly dependencies: Readonly<Record<string, string>>;
  };
  return {
    entryPoints: await findPrograms(),
    outdir: `${root}/dist/lib`,
    bundle: true,
    splitting: true,
    platform: 'node',
    format: 'esm',
    target: `node${leastNode}`,
    external: Object.keys(dependencies).flatMap((name) => [name, `${name}/*`]),
    define: releaseConstants(),
    plugins: [lean],
    // Some modules of client-node are CommonJS and ask for Node's own by `require`.
    banner: {
      js: "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);",
    },
    absWorkingDir: root,
    logLevel: 'warning',
  };
}

/**
 * Bundles every program into `dist/lib`, without the dependencies of package.json, which are installed beside it.
 * Returns what is in the bundles. With `write` false, it only returns that.
 */
export async function bundlePrograms({ write = true } = {}): Promise<Metafile> {
  const { metafile } = await build({ ...(await bundleOptions()), write, metafile: true });
  return metafile;
}
