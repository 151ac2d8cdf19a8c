import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type LifeVerdict, type LivedEvent, lifeEventIds } from './life.ts';
import type { Sample } from './samples.ts';

/** The result of one event. It is written when the event is over, so a run that dies later loses nothing. */
export interface LifeRecord {
  /** The start of the run, as ISO 8601. The events of one run share a cluster. */
  readonly run: string;
  /** The version of the cluster. */
  readonly version: string;
  /** Lines about the machine and the durations. */
  readonly lines: readonly string[];
  readonly event: LivedEvent;
  readonly verdict: LifeVerdict;
  /** The first of the event's requests that failed and are not excused. */
  readonly failed: readonly Sample[];
}

/** Stores records, one file for each event. */
export interface LifeRecords {
  /** Replaces the record of this event. */
  keep(record: LifeRecord): void;
  /** All records, in the order of `lifeEventIds`. */
  read(): readonly LifeRecord[];
  /** Removes all records. */
  clear(): void;
}

/** Opens the records in a folder, which need not exist yet. */
export function openRecords(folder: string): LifeRecords {
  const fileOf = (id: string) => join(folder, `${id}.json`);
  return {
    keep: (record) => {
      mkdirSync(folder, { recursive: true });
      writeFileSync(fileOf(record.event.id), `${JSON.stringify(record, undefined, 1)}\n`);
    },
    read: () => lifeEventIds.flatMap((id) => readRecord(fileOf(id)) ?? []),
    clear: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function readRecord(file: string): LifeRecord | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as LifeRecord;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new Error(`${file} cannot be read: remove it`, { cause: error });
  }
}
