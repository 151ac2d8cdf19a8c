import { readFileSync, writeFileSync } from 'node:fs';

/** The oldest Node that runs the shipped programs, according to `engines` of package.json: `22.19`. */
export const leastNode = readLeastNode();

function readLeastNode(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  const { engines } = JSON.parse(text) as { readonly engines: { readonly node: string } };
  const [, version] = /^>=(\d+\.\d+)$/.exec(engines.node) ?? [];
  if (version === undefined) throw new Error(`engines.node of package.json is ${engines.node}, which is not >=X.Y`);
  return version;
}

/**
 * The text of a program that every Node since version 10 can parse. Under a Node that is too old, it prints one line
 * and exits with 2, whatever the arguments are. Otherwise it loads `module`.
 *
 * The program must not use import statements: Node loads such modules before it runs the first line.
 */
export function launcherText(name: string, module: string, firstArgument?: string): string {
  const [major, minor] = leastNode.split('.');
  return `#!/usr/bin/env node
var found = process.versions.node.split('.').map(Number);
if (found[0] < ${major} || (found[0] === ${major} && found[1] < ${minor})) {
  process.stderr.write(
    '${name} needs Node.js ${leastNode} or later, and found ' + process.versions.node + ' (' + process.execPath + ')\\n',
  );
  process.exitCode = 2;
} else {
${firstArgument === undefined ? '' : `  process.argv.splice(2, 0, '${firstArgument}');\n`}  import('${module}');
}
`;
}

/**
 * Writes a program that checks the version of Node and then loads `module`, which is relative to it, with one argument
 * more.
 */
export function writeLauncher(path: string, name: string, module: string, firstArgument?: string): void {
  writeFileSync(path, launcherText(name, module, firstArgument), { mode: 0o755 });
}
