import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { Log } from '../../runtime/log.ts';
import type { AddressPolicy } from '../peers/address-policy.ts';
import type { ApiClient } from './api-client.ts';
import { formatServers, parseServers, type ServerAddress } from './known-servers-file.ts';

/** Tells the API client about all kube-apiservers that any source knows. */
export interface KnownServers {
  /** Replaces the servers of one source. An empty list changes nothing. */
  learn(source: string, servers: readonly ServerAddress[]): void;
  /** Removes a source that no longer exists, but keeps the servers of the last source. */
  forget(source: string): void;
}

/** Where to store the servers across restarts, and which of them may be used. */
export interface RememberOptions {
  readonly client: Pick<ApiClient, 'learnServers'>;
  readonly file: string | undefined;
  readonly policy: AddressPolicy;
  readonly log: Log;
}

/**
 * Starts with the servers in the file, so that a process whose kubeconfig's server hangs at the start has others.
 *
 * It writes the file when the servers change. On a read-only file system, such as a mounted ConfigMap, it only reads.
 * It logs a file that cannot be read or written, and goes on.
 */
export function rememberServers({ client, file, policy, log }: RememberOptions): KnownServers {
  const sources = new Map<string, readonly ServerAddress[]>();
  let last = '';
  const known = file === undefined ? [] : readServers(file, log).filter(({ address }) => policy.check(address).ok);
  if (known.length > 0) client.learnServers(known);

  function tell(): void {
    const all = unite([...sources].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, servers]) => servers));
    const text = formatServers(all);
    if (all.length === 0 || text === last) return;
    last = text;
    client.learnServers(all);
    if (file !== undefined) writeServers(file, text, log);
  }

  return {
    learn(source, servers) {
      if (servers.length === 0) return;
      sources.set(source, servers);
      tell();
    },
    forget(source) {
      sources.delete(source);
      tell();
    },
  };
}

/** Each address once, sorted by address. */
function unite(lists: readonly (readonly ServerAddress[])[]): readonly ServerAddress[] {
  const byAddress = new Map<string, ServerAddress>();
  for (const { address, serverName } of lists.flat())
    if (!byAddress.has(address)) byAddress.set(address, { address, serverName });
  return [...byAddress.values()].sort((a, b) => (a.address < b.address ? -1 : 1));
}

function readServers(file: string, log: Log): readonly ServerAddress[] {
  try {
    return parseServers(readFileSync(file, 'utf8'));
  } catch (error) {
    if (codeOf(error) !== 'ENOENT')
      log.warn('cannot read the known kube-apiservers from --known-servers-file', { file, error });
    return [];
  }
}

function writeServers(file: string, text: string, log: Log): void {
  // Worker processes write the same file.
  const draft = `${file}.${process.pid}`;
  try {
    writeFileSync(draft, text, { mode: 0o600 });
    renameSync(draft, file);
  } catch (error) {
    if (codeOf(error) === 'EROFS') return;
    log.warn('cannot write the known kube-apiservers to --known-servers-file', { file, error });
  }
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}
