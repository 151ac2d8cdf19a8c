import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse, stringify } from 'yaml';
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

interface Component {
  readonly patches?: readonly { readonly path?: string; readonly patch?: string; readonly target: object }[];
  readonly configMapGenerator?: readonly {
    readonly name: string;
    readonly namespace: string;
    readonly files: readonly string[];
    readonly options: { readonly labels: object };
  }[];
}

/** A kustomize component as the chart lays it over the rest: its objects and its JSON patches, with their targets. */
function componentOf(folder: string): string {
  const { patches = [], configMapGenerator = [] } = parse(
    readFileSync(join(folder, 'kustomization.yaml'), 'utf8'),
  ) as Component;
  const text = (name: string) => readFileSync(join(folder, name), 'utf8');
  const maps = configMapGenerator.map(({ name, namespace, files, options: { labels } }) => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, namespace, labels },
    data: Object.fromEntries(files.map((file) => [file, text(file)])),
  }));
  return stringify({
    objects: [...documentsOf(folder).map((document) => parse(document)), ...maps],
    patches: patches.map(({ path, patch, target }) => ({
      target,
      operations: parse(path === undefined ? (patch ?? '') : text(path)),
    })),
  });
}

/** Components of `config/` by their names in the chart. */
const components = {
  monitoring: 'monitoring',
  'monitoring-front-proxy': 'monitoring/front-proxy',
  'self-issued': 'components/self-issued',
  'self-issued-front-proxy': 'components/self-issued/front-proxy',
  'cert-manager': 'components/cert-manager',
  impersonation: 'components/impersonation',
};

/** The chart's files that have their source elsewhere. */
export function generatedFiles(): ReadonlyMap<string, string> {
  const files = new Map([[join(chart, 'crds/peerdiscovery.dev_peerdiscoveries.yaml'), crdText()]]);
  for (const name of ['operator', 'proxy', 'front-proxy']) {
    const documents = documentsOf(join(root, 'config', name));
    files.set(join(chart, 'files', `${name}.yaml`), `${documents.join('\n---\n')}\n`);
  }
  for (const [name, folder] of Object.entries(components))
    files.set(join(chart, 'files/components', `${name}.yaml`), componentOf(join(root, 'config', folder)));
  return files;
}

if (import.meta.main) {
  const check = process.argv.includes('--check');
  for (const [path, text] of generatedFiles()) {
    if (!check) {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text);
    } else if (!existsSync(path) || readFileSync(path, 'utf8') !== text) {
      console.error(`${relative(root, path)} is out of date: run \`make generate\` and commit the result`);
      process.exitCode = 1;
    }
  }
}
