import type { CertificateStore } from '../../operator/ports.ts';
import type { CertificatePair } from '../../runtime/issue-certificate.ts';
import type { ApiClient } from './api-client.ts';
import { managedBy } from './managed-by.ts';

/** Name of the CA's Secret, and of the ConfigMaps with the CA's certificates. */
const authorityName = 'peerdiscovery-ca';

interface Secret {
  readonly data?: Readonly<Record<string, string>>;
}

interface Node {
  readonly status?: { readonly addresses?: readonly { readonly address: string }[] };
}

/**
 * Keeps certificates in Secrets of type `kubernetes.io/tls`, and the CA's certificates in ConfigMaps under the key
 * `ca.crt`.
 */
export function createCertificateStore(options: {
  readonly client: Pick<ApiClient, 'apply' | 'get' | 'list'>;
  readonly fieldManager: string;
  readonly signal: AbortSignal;
}): CertificateStore {
  const { client, fieldManager, signal } = options;
  const read = async (namespace: string, name: string) => {
    const secret = await client.get<Secret>(`/api/v1/namespaces/${namespace}/secrets/${name}`, { signal });
    const text = (key: string) => Buffer.from(secret?.data?.[key] ?? '', 'base64').toString('utf8');
    const pair = (cert: string, key: string): CertificatePair | undefined =>
      text(cert) === '' && text(key) === '' ? undefined : { cert: text(cert), key: text(key) };
    return { text, pair };
  };
  // Writes by server-side apply. A role with resourceNames allows that even if it creates the object.
  const write = (namespace: string, name: string, texts: Readonly<Record<string, string | undefined>>) => {
    const data = Object.entries(texts).flatMap(([key, text]) =>
      text === undefined ? [] : [[key, Buffer.from(text).toString('base64')]],
    );
    const object = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name, namespace, labels: managedBy },
      type: 'kubernetes.io/tls',
      data: Object.fromEntries(data),
    };
    const path = `/api/v1/namespaces/${namespace}/secrets/${name}`;
    return client.apply<void>(path, object, { fieldManager, force: true, signal });
  };
  return {
    async readAuthority(namespace) {
      const { text, pair } = await read(namespace, authorityName);
      const signing = pair('tls.crt', 'tls.key');
      const next = pair('next.crt', 'next.key');
      const previous = text('previous.crt');
      if (signing === undefined) return undefined;
      return { signing, ...(next !== undefined && { next }), ...(previous !== '' && { previous }) };
    },
    writeAuthority: (namespace, { signing, next, previous }) =>
      write(namespace, authorityName, {
        'tls.crt': signing.cert,
        'tls.key': signing.key,
        'next.crt': next?.cert,
        'next.key': next?.key,
        'previous.crt': previous,
      }),
    async publishAuthority(namespace, bundle) {
      const path = `/api/v1/namespaces/${namespace}/configmaps/${authorityName}`;
      const current = await client.get<Secret>(path, { signal });
      if (current?.data?.['ca.crt'] === bundle) return;
      const metadata = { name: authorityName, namespace, labels: managedBy };
      const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { 'ca.crt': bundle } };
      await client.apply(path, object, { fieldManager, force: true, signal });
    },
    readServing: async (namespace, secret) => (await read(namespace, secret)).pair('tls.crt', 'tls.key'),
    writeServing: (namespace, secret, { cert, key }) => write(namespace, secret, { 'tls.crt': cert, 'tls.key': key }),
    async readNodeAddresses() {
      const query = { labelSelector: 'node-role.kubernetes.io/control-plane' };
      const { items } = await client.list<Node>('/api/v1/nodes', { query, signal });
      return items.flatMap(({ status }) => status?.addresses?.map(({ address }) => address) ?? []);
    },
  };
}
