import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { buildPlugin } from './build-plugin.ts';
import { bundlePlugin } from './bundle-plugin.ts';
import { packArchive } from './pack-archive.ts';
import { leastNode, writeLauncher } from './write-launcher.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

/** The fields by which krew selects an archive. */
interface KrewPlatform {
  readonly labels: Readonly<Record<'os' | 'arch', string>> | { readonly os: string };
  /** The programs of the archive: the plugin and its completion. */
  readonly program: string;
  readonly completion: string;
}

const alone = { program: 'kubectl-peerdiscovery', completion: 'kubectl_complete-peerdiscovery' };

/**
 * By name. Linux and Windows have a program that needs no Node. macOS has JavaScript that needs Node, because Apple
 * silicon starts no unsigned program, and only a Mac can sign one.
 */
const krewPlatforms = {
  'linux-x64': { labels: { os: 'linux', arch: 'amd64' }, ...alone },
  'linux-arm64': { labels: { os: 'linux', arch: 'arm64' }, ...alone },
  'win32-x64': {
    labels: { os: 'windows', arch: 'amd64' },
    program: 'kubectl-peerdiscovery.exe',
    completion: 'kubectl_complete-peerdiscovery.cmd',
  },
  darwin: {
    labels: { os: 'darwin' },
    program: 'kubectl-peerdiscovery.mjs',
    completion: 'kubectl_complete-peerdiscovery.mjs',
  },
} as const satisfies Readonly<Record<string, KrewPlatform>>;

export type KrewPlatformName = keyof typeof krewPlatforms;

const allPlatforms = Object.keys(krewPlatforms) as readonly KrewPlatformName[];

/** The files to publish: an archive for each platform, and krew's manifest. */
interface KrewRelease {
  readonly archives: Readonly<Partial<Record<KrewPlatformName, string>>>;
  readonly manifest: string;
}

/**
 * Packs the plugin, its completion and the documentation for each platform, and writes `peerdiscovery.yaml` with the
 * archives' checksums. `downloads` is the URL of the folder with the archives; it ends with `/`.
 *
 * The same sources give the same archives.
 */
export async function generateKrew(
  folder: string,
  downloads: string,
  platforms: readonly KrewPlatformName[] = allPlatforms,
): Promise<KrewRelease> {
  mkdirSync(folder, { recursive: true });
  const scratch = mkdtempSync(join(tmpdir(), 'peerdiscovery-krew-'));
  const archives: Partial<Record<KrewPlatformName, string>> = {};
  try {
    const single = platforms.filter((name) => name !== 'darwin');
    await buildPlugin(scratch, single);
    for (const name of single) writeCompletion(join(scratch, name), krewPlatforms[name]);
    if (platforms.includes('darwin')) await writeScripts(join(scratch, 'darwin'), krewPlatforms.darwin);
    for (const name of platforms) {
      const contents = join(scratch, name);
      for (const shared of ['LICENSE', 'docs']) cpSync(join(root, shared), join(contents, shared), { recursive: true });
      const archive = join(folder, `kubectl-peerdiscovery-${name}.tar.gz`);
      packArchive(contents, readdirSync(contents).sort(), archive);
      archives[name] = archive;
    }
  } finally {
    rmSync(scratch, { recursive: true });
  }
  const manifest = join(folder, 'peerdiscovery.yaml');
  writeFileSync(manifest, stringify(krewPlugin(downloads, archives), { lineWidth: 0 }));
  return { archives, manifest };
}

/** The completion asks the plugin, which kubectl has found on the PATH. */
function writeCompletion(folder: string, { completion }: KrewPlatform): void {
  const text = completion.endsWith('.cmd')
    ? '@kubectl-peerdiscovery.exe __complete %*\r\n'
    : '#!/bin/sh\nexec kubectl-peerdiscovery __complete "$@"\n';
  writeFileSync(join(folder, completion), text, { mode: 0o755 });
}

/** The plugin and its completion as JavaScript that first checks the version of Node. */
async function writeScripts(folder: string, { program, completion }: KrewPlatform): Promise<void> {
  await bundlePlugin(join(folder, 'plugin.mjs'), leastNode);
  writeLauncher(join(folder, program), 'kubectl-peerdiscovery', './plugin.mjs');
  writeLauncher(join(folder, completion), 'kubectl_complete-peerdiscovery', './plugin.mjs', '__complete');
}

/** Source of the fields: https://krew.sigs.k8s.io/docs/developer-guide/plugin-manifest/. */
function krewPlugin(downloads: string, archives: KrewRelease['archives']): object {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { readonly version: string };
  const platforms = allPlatforms.flatMap((name) => {
    const archive = archives[name];
    if (archive === undefined) return [];
    const { labels, program } = krewPlatforms[name];
    const sha256 = createHash('sha256').update(readFileSync(archive)).digest('hex');
    const uri = `${downloads}kubectl-peerdiscovery-${name}.tar.gz`;
    return [{ selector: { matchLabels: labels }, uri, sha256, bin: program }];
  });
  return {
    apiVersion: 'krew.googlecontainertools.github.com/v1alpha2',
    kind: 'Plugin',
    metadata: { name: 'peerdiscovery' },
    spec: {
      version: `v${version}`,
      homepage: downloads,
      shortDescription: 'Inspect a control plane of mixed versions',
      description: [
        'Shows what the kube-apiservers of a mixed-version control plane serve',
        'differently, where a request goes and why, what an upgrade would change,',
        'and what keeps the PeerDiscovery operator from working.',
        '',
      ].join('\n'),
      caveats: [
        `It needs the PeerDiscovery operator in the cluster, and on macOS Node ${leastNode} or later on the PATH.`,
        'krew puts one program of a plugin on the PATH. For completion, put the other one there; on Linux:',
        `  cd ~/.krew && ln -s ../store/peerdiscovery/v${version}/${alone.completion} bin/`,
        `On macOS its name ends with .mjs: ln -s … bin/${alone.completion}`,
        '',
      ].join('\n'),
      platforms,
    },
  };
}

if (import.meta.main) {
  const [downloads = '', folder = 'dist/krew'] = process.argv.slice(2);
  if (!URL.canParse(downloads) || !downloads.endsWith('/')) {
    process.stderr.write(
      'make krew: DOWNLOADS is to be the address of the folder where you put the archives up: ' +
        'make krew DOWNLOADS=https://example.com/peerdiscovery/\n',
    );
    process.exitCode = 2;
  } else {
    const { archives, manifest } = await generateKrew(resolve(folder), downloads);
    process.stdout.write(`${[...Object.values(archives), manifest].join('\n')}\n`);
  }
}
