/** A kube-apiserver and its own address. */
export interface ServerAddress {
  /** `ip:port`. */
  readonly address: string;
  /** DNS name that its certificate must contain. */
  readonly serverName: string;
}

/** The text of a file for `--known-servers-file`. */
export function formatServers(servers: readonly ServerAddress[]): string {
  return `${JSON.stringify({ servers })}\n`;
}

/** Parses such a text. Throws an error that names the fault. */
export function parseServers(text: string): readonly ServerAddress[] {
  const { servers } = JSON.parse(text) as { readonly servers?: unknown };
  if (!Array.isArray(servers) || !servers.every(isServerAddress))
    throw new Error('it must be {"servers": [{"address": "IP:PORT", "serverName": "NAME"}]}');
  return servers;
}

function isServerAddress(value: unknown): value is ServerAddress {
  const { address, serverName } = (value ?? {}) as Record<string, unknown>;
  return typeof address === 'string' && typeof serverName === 'string';
}
