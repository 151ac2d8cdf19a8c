import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { type LockedPackage, readPackages } from './shipped-packages.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Why package.json names each package. */
const reasons: Readonly<Record<string, string>> = {
  'p-queue': 'bounds how many kube-apiservers the operator reads at once, per PeerDiscovery (`polling.concurrency`)',
  'prom-client': "metrics in Prometheus' text format, and their sums over `--workers`",
  typebox: 'PeerDiscovery and the bundle are defined once: types, JSON Schema and validation come of that',
  undici:
    "fetches from the Kubernetes API by agents of their own; its llhttp, as WebAssembly, is the proxy's HTTP/1.1 parser",
  winston: 'logs, as JSON or text',
  yaml: 'kubeconfigs, and YAML of discovery and of the plugin',
  '@biomejs/biome': 'formats, lints, and checks which folder imports which',
  '@kubernetes/client-node': 'reads kubeconfigs with exec plugins; only what is used of it is bundled',
  '@types/chai': 'types of chai',
  '@types/mocha': 'types of mocha',
  '@types/node': 'types of Node',
  'axe-core': 'judges the accessibility of the status page in its tests',
  chai: 'assertions of the tests',
  esbuild: 'bundles the programs',
  'fast-check': 'property tests of parsers, merge and routes',
  knip: 'finds unused code and dependencies',
  mocha: 'runs the tests',
  node: 'the Node that everything runs on, whatever the machine has',
  'playwright-core': 'drives Chromium in the tests of the status page',
  typescript: 'checks the types',
  wasmoon: "runs Argo CD's health check, which is Lua, in its test",
};

/** Licences that shipped packages may have. */
const allowedShipped = ['MIT', 'ISC', 'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', '0BSD'];
/** More licences for tools, which run but are not shipped. */
const allowedTools = ['MIT OR Apache-2.0', 'BlueOak-1.0.0', 'Unlicense', 'PSF-2.0', 'MPL-2.0'];

interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
}

function findProblems(packages: readonly LockedPackage[], direct: readonly string[]): string[] {
  const allowed = ({ license, shipped }: LockedPackage) =>
    license === undefined
      ? shipped === undefined
      : allowedShipped.includes(license) || (shipped === undefined && allowedTools.includes(license));
  return [
    ...direct.filter((name) => reasons[name] === undefined).map((name) => `give the reason for ${name}`),
    ...Object.keys(reasons)
      .filter((name) => !direct.includes(name))
      .map((name) => `package.json has no ${name}`),
    ...packages
      .filter((one) => !allowed(one))
      .map(
        ({ path, license, shipped }) =>
          `${path} (${shipped ?? 'a tool'}) has the licence ${license}, which is not allowed`,
      ),
  ];
}

const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
const sentence = (text: string) => `${text.charAt(0).toUpperCase()}${text.slice(1)}`;

function directTable(names: readonly string[], packages: readonly LockedPackage[]): string[] {
  const found = (name: string) => packages.find(({ path }) => path === `node_modules/${name}`);
  return [
    row(['Package', 'Version', 'Licence', 'Why']),
    '|---|---|---|---|',
    ...names.map((name) => {
      const { version = '', license = '' } = found(name) ?? {};
      return row([`\`${name}\``, version, license, sentence(reasons[name] ?? '')]);
    }),
  ];
}

function licenceTable(packages: readonly LockedPackage[]): string[] {
  const byLicense = new Map<string, string[]>();
  for (const { name, version, license } of packages)
    if (license !== undefined) byLicense.set(license, [...(byLicense.get(license) ?? []), `${name} ${version}`]);
  return [
    row(['Licence', 'Packages']),
    '|---|---|',
    ...[...byLicense].sort(([a], [b]) => (a < b ? -1 : 1)).map(([license, names]) => row([license, names.join(', ')])),
  ];
}

async function writeText(): Promise<{ readonly text: string; readonly problems: readonly string[] }> {
  const { dependencies, devDependencies } = JSON.parse(await readFile(`${root}/package.json`, 'utf8')) as Manifest;
  const packages = await readPackages();
  const isDirect = ({ path, name }: LockedPackage) =>
    path === `node_modules/${name}` && (name in dependencies || name in devDependencies);
  const others = packages.filter((one) => !isDirect(one));
  const text = [
    '# Supply chain',
    '',
    '<!-- Generated from package.json and package-lock.json by `make generate`; do not edit. -->',
    '',
    'Every package, what it is for, and its licence. `make check` fails where this list is out of date, a package has no reason,',
    'or a licence is none of those that `scripts/generate-supply-chain.ts` allows.',
    '',
    '## Shipped',
    '',
    'In the image, and installed with the npm package:',
    '',
    ...directTable(Object.keys(dependencies), packages),
    '',
    'Needed by these:',
    '',
    ...licenceTable(others.filter(({ shipped }) => shipped === 'installed')),
    '',
    'Bundled into the programs, of which only what is used is there:',
    '',
    ...licenceTable(packages.filter(({ shipped }) => shipped === 'bundled')),
    '',
    'The image has Node (MIT, and the licences of what is in it) and the libraries of the machine that Node links to, too: the C',
    'library (LGPL-2.1-or-later), libstdc++, libgcc and libatomic (GPL-3.0-or-later with the exception for runtime libraries).',
    '',
    '## Tools',
    '',
    'For building and testing; not shipped, except as said above:',
    '',
    ...directTable(Object.keys(devDependencies), packages),
    '',
    'Needed by these:',
    '',
    ...licenceTable(others.filter(({ shipped }) => shipped === undefined)),
    '',
    'The laboratory builds programs that it runs and does not ship from Go modules, by `lab/*/go.mod` and their sums:',
    'kube-apiserver, kubectl, kube-controller-manager, etcd, Helm, Prometheus (all Apache-2.0) and h2spec (MIT).',
    '',
    '## Bills of materials, and the same bytes',
    '',
    '`make sbom` writes what is shipped into `dist/sbom.cdx.json` (CycloneDX) and `dist/sbom.spdx.json` (SPDX).',
    '',
    'The same sources give the same npm package and the same image, byte for byte, in any folder, at any time, and whatever the',
    'umask: `test/e2e/reproducible.test.ts` builds each twice. The same machine packages are needed, as the image has the',
    "machine's C library. `make image` by podman or buildah is so, too; docker writes the time of the build into its image.",
    '',
  ].join('\n');
  return { text, problems: findProblems(packages, [...Object.keys(dependencies), ...Object.keys(devDependencies)]) };
}

const file = `${root}/docs/supply-chain.md`;
const { text, problems } = await writeText();
for (const problem of problems) console.error(`supply chain: ${problem}`);
if (problems.length > 0) process.exitCode = 1;
else if (process.argv.includes('--check')) {
  // The formatter aligns the tables.
  const plain = (markdown: string) =>
    markdown.replace(/ +/g, ' ').replace(/-+/g, '-').replace(/\| - /g, '|-').replace(/- \|/g, '-|');
  if (plain(await readFile(file, 'utf8').catch(() => '')) !== plain(text)) {
    console.error('docs/supply-chain.md is out of date: run `make generate` and commit the result');
    process.exitCode = 1;
  }
} else await writeFile(file, text);
