import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseDocument } from 'yaml';
import { ensureControlPlane } from '../lab/build/build-control-plane.ts';
import { localImage } from './build-image.ts';
import { buildRootfs, entrypoint, packPackage } from './build-rootfs.ts';
import { readDocs } from './bundle-plugin.ts';
import { generateKrew, type KrewPlatformName } from './generate-krew.ts';
import { packArchive } from './pack-archive.ts';
import { writeOciArchive } from './write-oci-archive.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const overlays = ['routing', 'high-availability', 'control-plane'];

/** The name of a release, and where its files and its image will be. */
interface ReleaseOptions {
  readonly version: string;
  /** Image reference for the manifests, with tag or digest. */
  readonly image: string;
  /** URL of the folder for downloads, with a slash at its end; empty if there is none. */
  readonly downloads: string;
  /** URL of the folder `docs/`, with a slash at its end; empty if there is none. */
  readonly docs: string;
  /** The date in the bills of materials, so that the same sources give the same bytes. */
  readonly date: string;
  /** Platforms of the plugin; all by default. */
  readonly platforms?: readonly KrewPlatformName[];
  readonly log: (message: string) => void;
}

/** Parses a reference with a registry's or a local name, and a tag or digest, as a release's Pods need it. */
export function readImage(reference: string): {
  readonly repository: string;
  readonly tag: string;
  readonly digest: string;
} {
  const [, repository, tag = '', digest = ''] =
    /^([a-z0-9][a-z0-9._-]*(?::\d+)?(?:\/[a-z0-9._-]+)+)(?::([\w.-]+))?(?:@(sha256:[0-9a-f]{64}))?$/.exec(reference) ??
    [];
  if (repository === undefined || (tag === '') === (digest === ''))
    throw new Error(
      `IMAGE=${reference} is no reference that Pods can pull: give registry, name and tag or digest, ` +
        'as in make release IMAGE=registry.example.com/peerdiscovery:0.1.0',
    );
  return { repository, tag, digest };
}

/** Writes all files of a release into a new folder. The same sources give the same bytes. */
export async function buildRelease(target: string, options: ReleaseOptions): Promise<void> {
  const { version, image, downloads, docs, date, platforms, log } = options;
  readImage(image);
  const scratch = mkdtempSync(join(tmpdir(), 'peerdiscovery-release-'));
  // Building the package empties dist/, where the files end up.
  const folder = join(scratch, 'release');
  mkdirSync(folder);
  try {
    log('building the npm package and the image');
    cpSync(packPackage(join(scratch, 'npm')), join(folder, `peerdiscovery-npm-${version}.tgz`));
    writeImage(join(scratch, 'rootfs'), folder, { version, image });
    log('rendering manifests and chart');
    packChart(scratch, join(folder, `peerdiscovery-chart-${version}.tgz`), { image, docs });
    await renderManifests(folder, image, log);
    log('building the plugin for each platform');
    const { manifest } = await generateKrew(folder, downloads, platforms);
    // krew refuses a manifest without addresses.
    if (downloads === '') rmSync(manifest);
    for (const [format, file] of [
      ['cyclonedx', 'sbom.cdx.json'],
      ['spdx', 'sbom.spdx.json'],
    ] as const)
      writeFileSync(
        join(folder, file),
        settleSbom(run(['npm', 'sbom', '--omit=dev', `--sbom-format=${format}`]), date),
      );
    writeFileSync(join(folder, 'NOTES.md'), notesOf(readFileSync(join(root, 'CHANGELOG.md'), 'utf8'), version));
    writeFileSync(join(folder, 'SHA256SUMS'), sumsOf(folder));
    rmSync(target, { recursive: true, force: true });
    cpSync(folder, target, { recursive: true });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Writes the image as an OCI archive, under the manifests' name and the name for a local cluster. */
function writeImage(
  rootfs: string,
  folder: string,
  { version, image }: Pick<ReleaseOptions, 'version' | 'image'>,
): void {
  buildRootfs(rootfs);
  chmodSync(rootfs, 0o755);
  const architecture = process.arch === 'arm64' ? 'arm64' : 'amd64';
  const { repository, tag } = readImage(image);
  // The digest is known only after the build, so no archive can contain a name with one.
  const names = [...(tag === '' ? [] : [`${repository}:${tag}`]), localImage()];
  const config = {
    Entrypoint: entrypoint,
    User: '65532:65532',
    Labels: { 'org.opencontainers.image.version': version },
  };
  const file = join(folder, `peerdiscovery-${version}-linux-${architecture}.oci.tar`);
  writeOciArchive({ rootfs, names: [...new Set(names)], architecture, config }, file);
}

/** Packs the chart like `helm package`, with the release's image and documentation as defaults. */
function packChart(scratch: string, file: string, { image, docs }: Pick<ReleaseOptions, 'image' | 'docs'>): void {
  const chart = join(scratch, 'chart/peerdiscovery');
  cpSync(join(root, 'charts/peerdiscovery'), chart, { recursive: true });
  const values = parseDocument(readFileSync(join(chart, 'values.yaml'), 'utf8'));
  for (const [key, value] of Object.entries(readImage(image))) values.setIn(['image', key], value);
  if (docs !== '') values.setIn(['monitoring', 'runbooks'], `${docs}runbooks/`);
  writeFileSync(join(chart, 'values.yaml'), values.toString({ lineWidth: 0 }));
  packArchive(join(scratch, 'chart'), ['peerdiscovery'], file);
}

/** The changes of a version from CHANGELOG.md; the unreleased ones if it has no such version. */
export function notesOf(changelog: string, version: string): string {
  const sections = changelog.split(/^(?=## \[)/m);
  const named = (name: string) => sections.find((section) => section.startsWith(`## [${name}]`));
  const section = named(version) ?? named('Unreleased');
  if (section === undefined) throw new Error(`CHANGELOG.md has neither [${version}] nor [Unreleased]`);
  return `# PeerDiscovery ${version}\n\n${section.replace(/^## .*\n+/, '').trimEnd()}\n`;
}

/** npm's bill of materials without the parts that differ each time: its date and its random name. */
export function settleSbom(text: string, date: string): string {
  const name = createHash('sha256')
    .update(text.replace(/[0-9a-f]{8}-[0-9a-f-]{27}|\d{4}-\d\d-\d\dT[\d:.]+Z/g, ''))
    .digest('hex');
  const uuid = [
    name.slice(0, 8),
    name.slice(8, 12),
    `4${name.slice(13, 16)}`,
    `8${name.slice(17, 20)}`,
    name.slice(20, 32),
  ].join('-');
  const settled = text
    .replace(/("serialNumber": "urn:uuid:)[^"]*/, `$1${uuid}`)
    .replace(/("documentNamespace": "[^"]*-)[0-9a-f]{8}-[0-9a-f-]{27}/, `$1${uuid}`)
    .replace(/("(?:timestamp|created)": ")[^"]*/, `$1${date}`);
  return settled;
}

function sumsOf(folder: string): string {
  const sum = (name: string) =>
    createHash('sha256')
      .update(readFileSync(join(folder, name)))
      .digest('hex');
  return readdirSync(folder)
    .filter((name) => name !== 'SHA256SUMS')
    .sort()
    .map((name) => `${sum(name)}  ${name}\n`)
    .join('');
}

/**
 * `install.yaml` has the CustomResourceDefinition and the operator. `observe.yaml` has the object that makes the
 * operator observe; kubectl knows its kind only after that. Every other overlay has its own file.
 */
async function renderManifests(folder: string, image: string, log: ReleaseOptions['log']): Promise<void> {
  const { '1.36': programs = '' } = await ensureControlPlane({ versions: ['1.36'], log });
  const render = (path: string) =>
    run([join(programs, 'kubectl'), 'kustomize', join(root, path)]).replaceAll(localImage(), image);
  const [objects, others] = splitManifest(render('config/overlays/observe-only'));
  writeFileSync(join(folder, 'install.yaml'), [render('crds'), others].join('---\n'));
  writeFileSync(join(folder, 'observe.yaml'), objects);
  for (const overlay of overlays) writeFileSync(join(folder, `${overlay}.yaml`), render(`config/overlays/${overlay}`));
}

/** Splits a manifest into its PeerDiscovery objects and the rest. */
export function splitManifest(manifest: string): readonly [string, string] {
  const documents = manifest.split(/^---\n/m).filter((text) => text.trim() !== '');
  const isObject = (text: string) => /^kind: PeerDiscovery$/m.test(text);
  return [documents.filter(isObject).join('---\n'), documents.filter((text) => !isObject(text)).join('---\n')];
}

function run([program = '', ...args]: readonly string[], cwd = root): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, { cwd, encoding: 'utf8', maxBuffer: 1 << 28 });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} failed: ${error?.message ?? stderr}`);
  return stdout;
}

if (import.meta.main) {
  const { IMAGE = '', DOWNLOADS = '', DOCS } = process.env;
  const folder = 'dist/release';
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { readonly version: string };
  const log = (message: string) => void process.stderr.write(`${message}\n`);
  try {
    readImage(IMAGE);
    if (DOWNLOADS !== '' && !(URL.canParse(DOWNLOADS) && DOWNLOADS.endsWith('/')))
      throw new Error(`DOWNLOADS=${DOWNLOADS} is no address of a folder: write it as https://example.com/downloads/`);
    const docs = readDocs(DOCS);
    const date = run(['git', 'log', '-1', '--format=%cd', '--date=format-local:%Y-%m-%dT%H:%M:%SZ']).trim();
    await buildRelease(join(root, folder), { version, image: IMAGE, downloads: DOWNLOADS, docs, date, log });
    process.stdout.write(readFileSync(join(root, folder, 'SHA256SUMS'), 'utf8'));
    if (DOWNLOADS === '')
      log('there is no manifest for krew: it needs DOWNLOADS=https://…/, where you put the files up');
    if (docs === '') log('messages name docs/ as shipped: DOCS=https://…/docs/ gives them an address');
  } catch (error) {
    log(`make release: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
