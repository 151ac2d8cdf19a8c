import { accessSync, constants, globSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** The path of the first of these names that the PATH has; undefined if it has none. */
export function findProgram(names: readonly string[], path: string | undefined = process.env.PATH): string | undefined {
  const folders = (path ?? '').split(delimiter).filter((folder) => folder !== '');
  return folders.flatMap((folder) => names.map((name) => join(folder, name))).find(isExecutable);
}

/** The path of the library that changes a program's clock, from the package libfaketime; undefined if it is missing. */
export function findDateLibrary(): string | undefined {
  return globSync('/usr/lib*/{*/,}faketime/libfaketime.so.1')[0];
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
