import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ClientFigures } from './client-figures.ts';
import type { Remedy } from './cluster-plan.ts';
import type { OperatorVerdict, Verdict, WrongRequest } from './samples.ts';

/** What clients of one side of an upgrade saw. */
export interface SideRecord {
  readonly requests: Verdict;
  readonly clients: ClientFigures;
  /** The first requests through the proxies whose answer no client should get. */
  readonly wrong?: readonly WrongRequest[] | undefined;
}

/** The result of one upgrade. The report compares the upgrade with this project and the one with the peer proxy. */
export interface UpgradeRecord {
  /** The versions before and after. */
  readonly versions: readonly [string, string];
  /** Lines about the machine and the durations. */
  readonly lines: readonly string[];
  /** The steps and how long they took, in milliseconds. */
  readonly steps: readonly { readonly name: string; readonly afterMs: number; readonly tookMs: number }[];
  /** Why the upgrade did not finish. */
  readonly failure?: string | undefined;
  /** What clients of the proxies saw; undefined without this project. */
  readonly through?: SideRecord | undefined;
  /** What clients of the servers saw. */
  readonly straight: SideRecord;
  readonly operator?: OperatorVerdict | undefined;
}

/** Stores one record for each remedy. */
export interface UpgradeRecords {
  keep(remedy: Remedy, record: UpgradeRecord): void;
  /** The last record; undefined if there is none. */
  read(remedy: Remedy): UpgradeRecord | undefined;
}

/** Opens the records in a folder, which need not exist yet. */
export function openUpgradeRecords(folder: string): UpgradeRecords {
  const fileOf = (remedy: Remedy) => join(folder, `${remedy}.json`);
  return {
    keep: (remedy, record) => {
      mkdirSync(folder, { recursive: true });
      writeFileSync(fileOf(remedy), `${JSON.stringify(record, undefined, 1)}\n`);
    },
    read: (remedy) => {
      const file = fileOf(remedy);
      try {
        return JSON.parse(readFileSync(file, 'utf8')) as UpgradeRecord;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
        throw new Error(`${file} cannot be read: remove it`, { cause: error });
      }
    },
  };
}
