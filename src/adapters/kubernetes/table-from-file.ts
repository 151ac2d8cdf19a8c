import { unwatchFile, watchFile } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { RoutingTableSource } from '../../proxy/ports.ts';
import type { Clock } from '../../runtime/clock.ts';
import { readBundleFile } from './read-bundle-file.ts';

const fileBelievedForMs = 30_000;

/**
 * Reads a file again whenever it changes; one that cannot be read leaves the last good table in place.
 *
 * Whoever writes it confirms it by writing or touching it; a file older than that is no longer believed to be complete.
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
        // By the file's date, and by our own time since it last changed: neither a wrong date nor a set-back one helps.
        if (mtimeMs !== writtenAt) seenAt = clock.now();
        writtenAt = mtimeMs;
        const ageMs = Math.max(clock.date() - mtimeMs, clock.now() - seenAt);
        const old = ageMs > fileBelievedForMs;
        onTrouble(
          trouble ?? (old ? `${path} was not written or touched for ${fileBelievedForMs / 1_000} s` : undefined),
        );
        await clock.sleep(1_000, signal);
      }
      unwatchFile(path, changed);
    },
  };
}
