import type { PeerDiscovery } from '../api/peer-discovery.ts';
import { readSettings, type SettingsContext } from './read-settings.ts';

/** A kube-apiserver that a status lists. */
export interface StatusServer {
  /** `ip:port`. */
  readonly address: string;
  /** DNS name that its certificate must contain. */
  readonly serverName: string;
}

/**
 * The kube-apiservers of a status, only with addresses that the spec allows now. With another selector, the Leases may
 * belong to other software.
 */
export function listStatusServers(
  object: PeerDiscovery,
  context: Pick<SettingsContext, 'namespace' | 'createAddressPolicy'>,
): readonly StatusServer[] {
  const read = readSettings(object, context);
  if (!read.ok || !read.settings.checkLeaseNames) return [];
  const { serverName, checkAddress } = read.settings;
  return (object.status?.peers ?? []).flatMap(({ address, state }) =>
    address === undefined || state === 'Refused' || !checkAddress(address).ok ? [] : [{ address, serverName }],
  );
}
