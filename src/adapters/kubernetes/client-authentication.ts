import type { ClientAuthorities } from '../../proxy/ports.ts';
import { readCertificates } from '../../runtime/certificates.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import { messageOf } from '../../runtime/message-of.ts';
import type { ApiClient } from './api-client.ts';
import { startReflector, type Watchable } from './reflector.ts';

/** Where kube-apiserver publishes its client authentication. */
const namespace = 'kube-system';
const configMap = 'extension-apiserver-authentication';

interface ConfigMap extends Watchable {
  readonly data?: Readonly<Record<string, string>>;
}

/** Follows that ConfigMap. If it is deleted or cannot be used, the last good one stays in use. */
export function watchClientAuthentication(options: {
  readonly client: ApiClient;
  readonly onChange: (authorities: ClientAuthorities) => void;
  readonly onTrouble: (message: string) => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly random: () => number;
}): void {
  startReflector<ConfigMap>({
    ...options,
    path: `/api/v1/namespaces/${namespace}/configmaps`,
    fieldSelector: `metadata.name=${configMap}`,
    onChange: (event) => {
      if (event.type === 'Synced' || event.type === 'Deleted') return;
      try {
        options.onChange(parseClientAuthentication(event.object.data ?? {}));
      } catch (error) {
        const why = messageOf(error);
        options.onTrouble(`ConfigMap ${namespace}/${configMap}: ${why}`);
      }
    },
  });
}

/** Reads the ConfigMap's data. Source: `ClusterAuthenticationInfo` in pkg/controlplane of kube-apiserver. */
export function parseClientAuthentication(data: Readonly<Record<string, string>>): ClientAuthorities {
  const ca = (key: string) => {
    const pem = data[key];
    if (pem === undefined || pem.trim() === '') return [];
    try {
      return readCertificates(pem);
    } catch (error) {
      throw new Error(`${key}: ${messageOf(error)}`);
    }
  };
  const names = (key: string, otherwise: readonly string[]): readonly string[] => {
    const text = data[key];
    if (text === undefined || text.trim() === '') return otherwise;
    let parsed: unknown;
    try {
      parsed = JSON.parse(text);
    } catch {
      throw new Error(`${key} is not JSON`);
    }
    if (!Array.isArray(parsed) || !parsed.every((name) => typeof name === 'string'))
      throw new Error(`${key} is not a list of names`);
    return parsed.length === 0 ? otherwise : parsed;
  };
  const clientCa = ca('client-ca-file');
  if (clientCa.length === 0) throw new Error('client-ca-file is missing: kube-apiserver runs without --client-ca-file');
  return {
    clientCa,
    requestHeaderCa: ca('requestheader-client-ca-file'),
    allowedNames: names('requestheader-allowed-names', []),
    headerNames: {
      user: names('requestheader-username-headers', ['X-Remote-User']),
      uid: names('requestheader-uid-headers', ['X-Remote-Uid']),
      group: names('requestheader-group-headers', ['X-Remote-Group']),
      extraPrefix: names('requestheader-extra-headers-prefix', ['X-Remote-Extra-']),
    },
  };
}
