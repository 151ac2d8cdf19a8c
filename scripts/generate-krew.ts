import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { stringify } from 'yaml';
import { leastNode, writeLauncher } from './write-launcher.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const archiveName = 'kubectl-peerdiscovery.tar.gz';
const program = 'kubectl-peerdiscovery.mjs';
const completion = 'kubectl_complete-peerdiscovery.mjs';
const code = 'plugin.mjs';

/** What is put up for download: the archive, and the manifest that krew-index wants. */
export interface KrewRelease {
  readonly archive: string;
  readonly manifest: string;
}

/**
 * Packs the plugin and its completion: JavaScript that needs Node and nothing else, and checks its version first.
 *
 * Writes `peerdiscovery.yaml` with the archive's SHA-256 beside it, for a release whose archive is found at `uri`. The
 * same sources give the same archive.
 */
export async function generateKrew(folder: string, uri: string): Promise<KrewRelease> {
  mkdirSync(folder, { recursive: true });
  const archive = join(folder, archiveName);
  const scratch = mkdtempSync(join(tmpdir(), 'peerdiscovery-krew-'));
  try {
    await build({
      entryPoints: [join(root, 'src/bin/kubectl-peerdiscovery.ts')],
      outfile: join(scratch, code),
      bundle: true,
      minify: true,
      platform: 'node',
      format: 'esm',
      target: `node${leastNode}`,
      // Some modules are CommonJS and ask for Node's own by `require`.
      banner: {
        js: "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);",
      },
      absWorkingDir: root,
      logLevel: 'warning',
    });
    writeLauncher(join(scratch, program), 'kubectl-peerdiscovery', `./${code}`);
    writeLauncher(join(scratch, completion), 'kubectl_complete-peerdiscovery', `./${code}`, '__complete');
    copyFileSync(join(root, 'LICENSE'), join(scratch, 'LICENSE'));
    const plain = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--mode=u=rwX,go=rX'];
    const command = `tar ${plain.join(' ')} -cf - LICENSE ${program} ${completion} ${code} | gzip -9n > "$0"`;
    const { status, stderr } = spawnSync('sh', ['-c', command, resolve(archive)], { cwd: scratch, encoding: 'utf8' });
    if (status !== 0) throw new Error(`the archive cannot be packed: ${stderr}`);
  } finally {
    rmSync(scratch, { recursive: true });
  }
  const manifest = join(folder, 'peerdiscovery.yaml');
  const sha256 = createHash('sha256').update(readFileSync(archive)).digest('hex');
  writeFileSync(manifest, stringify(krewPlugin(uri, sha256), { lineWidth: 0 }));
  return { archive, manifest };
}

/** Source of the fields: https://krew.sigs.k8s.io/docs/developer-guide/plugin-manifest/. */
function krewPlugin(uri: string, sha256: string): object {
  const { version, homepage } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    version: string;
    homepage?: string;
  };
  return {
    apiVersion: 'krew.googlecontainertools.github.com/v1alpha2',
    kind: 'Plugin',
    metadata: { name: 'peerdiscovery' },
    spec: {
      version: `v${version}`,
      homepage: homepage ?? new URL('.', uri).href,
      shortDescription: 'Inspect a control plane of mixed versions',
      description: [
        'Shows what the kube-apiservers of a mixed-version control plane serve',
        'differently, where a request goes and why, what an upgrade would change,',
        'and what keeps the PeerDiscovery operator from its work.',
        '',
      ].join('\n'),
      caveats: [
        `It needs Node ${leastNode} or later on the PATH, and the PeerDiscovery operator in the cluster.`,
        'krew puts one program of a plugin on the PATH. For completion, put the other one there:',
        `  cd ~/.krew && ln -s ../store/peerdiscovery/v${version}/${completion} bin/kubectl_complete-peerdiscovery`,
        '',
      ].join('\n'),
      platforms: [
        {
          selector: { matchExpressions: [{ key: 'os', operator: 'In', values: ['darwin', 'linux'] }] },
          uri,
          sha256,
          bin: program,
        },
      ],
    },
  };
}

if (import.meta.main) {
  const [uri, folder = 'dist/krew'] = process.argv.slice(2);
  if (uri === undefined || !URL.canParse(uri) || !uri.endsWith(`/${archiveName}`)) {
    process.stderr.write(`Usage: node scripts/generate-krew.ts https://…/${archiveName} [FOLDER]\n`);
    process.exitCode = 2;
  } else {
    const { archive, manifest } = await generateKrew(folder, uri);
    process.stdout.write(`${archive}\n${manifest}\n`);
  }
}
