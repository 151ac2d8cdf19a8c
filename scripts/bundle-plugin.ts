import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Constants that a release inserts into the programs: the URL of its documentation, from the variable DOCS. */
export function releaseConstants(): Readonly<Record<string, string>> {
  return { RELEASE_DOCS: JSON.stringify(readDocs(process.env.DOCS)) };
}

/** The URL of the folder `docs/`; empty if there is none. */
export function readDocs(docs: string | undefined): string {
  if (docs === undefined || docs === '') return '';
  if (!/^https?:\/\/[^/]+\/(?:.*\/)?$/.test(docs))
    throw new Error(
      `DOCS=${docs} is no address of a folder: write it as https://example.com/docs/, with the last slash`,
    );
  return docs;
}

/** Packs the plugin and everything that it imports into one file for a version of Node. */
export async function bundlePlugin(outfile: string, nodeVersion: string): Promise<void> {
  await build({
    entryPoints: [`${root}/src/bin/kubectl-peerdiscovery.ts`],
    outfile,
    bundle: true,
    minify: true,
    platform: 'node',
    format: 'esm',
    target: `node${nodeVersion}`,
    define: releaseConstants(),
    // Some modules are CommonJS and ask for Node's own by `require`.
    banner: {
      js: "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);",
    },
    absWorkingDir: root,
    logLevel: 'warning',
  });
}
