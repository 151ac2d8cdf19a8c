import { readFile } from 'node:fs/promises';

const serviceAccountNamespaceFile = '/var/run/secrets/kubernetes.io/serviceaccount/namespace';

/** The namespace to work in: the flag's, else the Pod's own, else that of the manifests. */
export async function namespaceOr(flag: string | undefined): Promise<string> {
  return flag ?? (await podNamespace()) ?? 'peerdiscovery-system';
}

async function podNamespace(): Promise<string | undefined> {
  try {
    return (await readFile(serviceAccountNamespaceFile, 'utf8')).trim();
  } catch {
    return undefined;
  }
}
