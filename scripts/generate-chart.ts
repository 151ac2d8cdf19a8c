import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isMap, isNode, isScalar, parse, parseDocument, stringify, type YAMLMap } from 'yaml';
import { crdText } from './generate-crd.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const chart = join(root, 'charts/peerdiscovery');

/** The documents of a kustomize folder and its references, without the CRD and the operator's Namespace. */
function documentsOf(folder: string): string[] {
  const { resources = [] } = parse(readFileSync(join(folder, 'kustomization.yaml'), 'utf8')) as {
    resources?: string[];
  };
  return resources.flatMap((name) => {
    const path = join(folder, name);
    const fromRoot = relative(root, path);
    // Helm has a folder of its own for CRDs, and creates a release's namespace itself.
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

/** A kustomize component as the chart applies it: its objects, and its JSON patches with their targets. */
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
  'cert-manager-front-proxy': 'components/cert-manager/front-proxy',
  impersonation: 'components/impersonation',
};

interface Schema {
  readonly description?: string;
  readonly enum?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
}

/** A row for each value of a map with its own default: name, default and comment. */
function valueRows(map: YAMLMap, schema: Schema, prefix: string): string[] {
  return map.items.flatMap(({ key, value }, index) => {
    if (!isScalar(key)) return [];
    const name = `${prefix}${key.value}`;
    const own = schema.properties?.[String(key.value)];
    if (own === undefined) throw new Error(`values.schema.json does not have ${name}`);
    if (isMap(value) && value.items.length > 0 && own.properties !== undefined)
      return valueRows(value, own, `${name}.`);
    // The comment before the first key belongs to the map.
    const before = key.commentBefore ?? (index === 0 && prefix !== '' ? map.commentBefore : undefined);
    const comment = before?.trim().replaceAll(/\s*\n\s*/g, ' ');
    const choices = own.enum?.filter((choice) => choice !== '').map((choice) => `\`${choice}\``);
    const text = comment ?? own.description ?? '';
    const description = [text, choices === undefined ? '' : `One of ${choices.join(', ')}.`].filter(
      (part) => part !== '',
    );
    const byDefault = JSON.stringify(isNode(value) ? value.toJSON() : value);
    return [`| \`${name}\` | \`${byDefault}\` | ${description.join(' ').replaceAll('|', '\\|')} |`];
  });
}

/** The README of the chart: how to install it, and every value. */
function chartReadme(): string {
  const { contents } = parseDocument(readFileSync(join(chart, 'values.yaml'), 'utf8'));
  const schema = JSON.parse(readFileSync(join(chart, 'values.schema.json'), 'utf8')) as Schema;
  if (!isMap(contents)) throw new Error('values.yaml is not a map');
  return `# The chart peerdiscovery

An operator and, if you want, proxies that make a control plane of mixed kube-apiserver versions answer as one. The defaults
install the operator alone, in mode Observe: nothing changes for any client.

No image is published yet: build one and load it into a local cluster, or push it to a registry of yours. The chart renders
nothing without \`image.repository\`.

\`\`\`sh
make image load
helm install peerdiscovery charts/peerdiscovery --set image.repository=localhost/peerdiscovery
\`\`\`

More is in [the guide](../../docs/guides/install.md). Helm does not upgrade CRDs: see [its own](../../docs/guides/crd-upgrade.md).

## Values

\`make generate\` writes this table from values.yaml and values.schema.json. The schema refuses values that are not here.

| Value | Default | What it is |
| ----- | ------- | ---------- |
${valueRows(contents as YAMLMap, schema, '').join('\n')}
`;
}

/** The chart's files with their source elsewhere. */
export function generatedFiles(): ReadonlyMap<string, string> {
  const files = new Map([
    [join(chart, 'crds/peerdiscovery.dev_peerdiscoveries.yaml'), crdText()],
    [join(chart, 'README.md'), chartReadme()],
  ]);
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
