import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { ApiClient } from '../adapters/kubernetes/api-client.ts';
import type { Log } from '../runtime/log.ts';

/** Tells the API client of other kube-apiservers, and remembers them in a file over a restart. */
export type LearnServers = (addresses: readonly string[], serverName: string) => void;

interface KnownServers {
  readonly serverName: string;
  readonly addresses: readonly string[];
}

/**
 * Begins with the servers in the file, so that a process which starts while its kubeconfig's server hangs has others.
 *
 * The file is written when the servers change. One that cannot be read or written is logged, and costs nothing else.
 */
export function rememberServers(
  client: Pick<ApiClient, 'learnServers'>,
  file: string | undefined,
  allows: (address: string) => boolean,
  log: Log,
): LearnServers {
  let last = '';
  const known = file === undefined ? undefined : readKnown(file, log);
  if (known !== undefined) client.learnServers(known.addresses.filter(allows), known.serverName);
  return (addresses, serverName) => {
    if (addresses.length === 0) return;
    const text = `${JSON.stringify({ serverName, addresses: [...addresses].sort() })}\n`;
    if (text === last) return;
    last = text;
    client.learnServers(addresses, serverName);
    if (file === undefined) return;
    try {
      writeFileSync(`${file}.new`, text, { mode: 0o600 });
      renameSync(`${file}.new`, file);
    } catch (error) {
      log.warn('the known kube-apiservers cannot be written to --known-servers-file', { file, error });
    }
  };
}

function readKnown(file: string, log: Log): KnownServers | undefined {
  try {
    const { serverName, addresses } = JSON.parse(readFileSync(file, 'utf8')) as Partial<KnownServers>;
    if (typeof serverName !== 'string' || !Array.isArray(addresses))
      throw new Error('serverName or addresses is missing');
    return { serverName, addresses: addresses.filter((address) => typeof address === 'string') };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
      log.warn('the known kube-apiservers cannot be read from --known-servers-file', { file, error });
    return undefined;
  }
}
