import { unwatchFile, watchFile } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { RoutingTableSource } from '../../proxy/ports.ts';
import type { Clock } from '../../runtime/clock.ts';
import { readBundleFile } from './read-bundle-file.ts';
import { believedForMs } from './table-lease.ts';

/**
 * Re-reads a file whenever it changes. If it cannot be read, the last good table stays in use.
 *
 * Writing or touching the file confirms the table. An older file no longer counts as complete.
 */
export function tableFromFile(path: string, clock: Clock): RoutingTableSource {
  return {
    start: async (onBundle, onTrouble, signal) => {
      let trouble: string | undefined;
      let writtenAt = 0;
      let seenAt = 0;
      const read = async () => {
        const decoded = await readBundleFile(path);
        trouble = decoded.ok ? undefined : decoded.reason;
        if (decoded.ok) onBundle(decoded.bundle);
        else onTrouble(decoded.reason);
      };
      const changed = () => {
        read().catch((error: unknown) => onTrouble(String(error)));
      };
      watchFile(path, { interval: 1_000, persistent: false }, changed);
      await read();
      while (!signal.aborted) {
        const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: 0 }));
        // Uses both the file's date and the time since this process saw it change, so that neither a wrong nor a
        // set-back date helps.
        if (mtimeMs !== writtenAt) seenAt = clock.now();
        writtenAt = mtimeMs;
        const ageMs = Math.max(clock.date() - mtimeMs, clock.now() - seenAt);
        const old = ageMs > believedForMs;
        onTrouble(trouble ?? (old ? `${path} was not written or touched for ${believedForMs / 1_000} s` : undefined));
        await clock.sleep(1_000, signal);
      }
      unwatchFile(path, changed);
    },
  };
}
