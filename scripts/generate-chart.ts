import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { crdText } from './generate-crd.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const chart = join(root, 'charts/peerdiscovery');

/** Documents of a kustomize folder and of those that it names, without the CRD and the operator's Namespace. */
function documentsOf(folder: string): string[] {
  const { resources = [] } = parse(readFileSync(join(folder, 'kustomization.yaml'), 'utf8')) as {
    resources?: string[];
  };
  return resources.flatMap((name) => {
    const path = join(folder, name);
    const fromRoot = relative(root, path);
    // Helm has a folder of its own for CRDs, and makes the namespace of a release itself.
    if (fromRoot === 'crds' || fromRoot === 'config/base/namespace.yaml') return [];
    return statSync(path).isDirectory() ? documentsOf(path) : readFileSync(path, 'utf8').trim().split('\n---\n');
  });
}

/** The chart's files that have their source elsewhere. */
export function generatedFiles(): ReadonlyMap<string, string> {
  const files = new Map([[join(chart, 'crds/peerdiscovery.dev_peerdiscoveries.yaml'), crdText()]]);
  for (const name of ['operator', 'proxy', 'front-proxy']) {
    const documents = documentsOf(join(root, 'config', name));
    files.set(join(chart, 'files', `${name}.yaml`), `${documents.join('\n---\n')}\n`);
  }
  return files;
}

if (import.meta.main) {
  const check = process.argv.includes('--check');
  for (const [path, text] of generatedFiles()) {
    if (!check) writeFileSync(path, text);
    else if (
      !readdirSync(join(path, '..')).includes(path.split('/').at(-1) ?? '') ||
      readFileSync(path, 'utf8') !== text
    ) {
      console.error(`${relative(root, path)} is out of date: run \`make generate\` and commit the result`);
      process.exitCode = 1;
    }
  }
}
