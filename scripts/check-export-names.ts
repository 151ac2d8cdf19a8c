import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../src', import.meta.url));
const declaration =
  /^export (?:declare |abstract |async )*(?:function\*?|const|let|class|interface|type|enum) +(\w+)/gm;

/** Returns a line for each name that several files of `src/` export: the name and the files. One word, one meaning. */
function findSharedNames(): string[] {
  const filesOf = new Map<string, Set<string>>();
  for (const file of readdirSync(root, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts')) continue;
    for (const [, name = ''] of readFileSync(join(root, file), 'utf8').matchAll(declaration))
      filesOf.set(name, (filesOf.get(name) ?? new Set()).add(`src/${file}`));
  }
  return [...filesOf].filter(([, files]) => files.size > 1).map(([name, files]) => `${name}: ${[...files].join(', ')}`);
}

const shared = findSharedNames();
if (shared.length > 0) {
  console.error(`two files export one name; rename one of each pair:\n${shared.join('\n')}`);
  process.exitCode = 1;
}
