import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { customResourceDefinition } from '../src/api/custom-resource-definition.ts';

const header = '# Generated from src/api/peer-discovery.ts by `make generate`; do not edit.\n';

/** The path of the generated file. */
export const crdFile = fileURLToPath(new URL('../crds/peerdiscovery.dev_peerdiscoveries.yaml', import.meta.url));

/** The text of the generated file. */
export function crdText(): string {
  return header + stringify(customResourceDefinition(), { lineWidth: 100, aliasDuplicateObjects: false });
}

if (import.meta.main) {
  if (process.argv.includes('--check')) {
    const current = await readFile(crdFile, 'utf8').catch(() => '');
    if (current !== crdText()) {
      console.error('crds/ is out of date: run `make generate` and commit the result');
      process.exitCode = 1;
    }
  } else {
    await mkdir(dirname(crdFile), { recursive: true });
    await writeFile(crdFile, crdText());
  }
}
