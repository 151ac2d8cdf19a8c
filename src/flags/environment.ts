import { readFileSync } from 'node:fs';
import { delimiter } from 'node:path';

/** A process's environment as Node gives it. */
export type EnvironmentVariables = Readonly<Record<string, string | undefined>>;

/** The variables that the programs read from their environment. No other code reads one. */
export interface Environment {
  /** The files that `KUBECONFIG` names. */
  readonly kubeconfigFiles: readonly string[];
  /** Where a Pod finds the API; undefined outside of one. */
  readonly service: { readonly host: string; readonly port: string } | undefined;
  readonly home: string | undefined;
  /** False if the user or the terminal does not want colours. */
  readonly color: boolean;
  /** True in a process that another process of this program has started to share its port. */
  readonly isWorker: boolean;
}

/** Set for processes that another `peerdiscovery proxy` has started. They report to it instead of having endpoints. */
export const workerVariable = 'PEERDISCOVERY_PROXY_WORKER';
/** Where a Pod finds its ServiceAccount: files `token`, `namespace` and `ca.crt`. */
export const serviceAccountFolder = '/var/run/secrets/kubernetes.io/serviceaccount';

/** Reads all variables that the programs use. */
export function readEnvironment(env: EnvironmentVariables): Environment {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = env;
  return {
    kubeconfigFiles: (env.KUBECONFIG ?? '').split(delimiter).filter((file) => file !== ''),
    service: host && port ? { host, port } : undefined,
    home: env.HOME,
    color: (env.NO_COLOR ?? '') === '' && env.TERM !== 'dumb',
    isWorker: env[workerVariable] === '1',
  };
}

/** The namespace of the manifests. */
export const defaultNamespace = 'peerdiscovery-system';

/** The namespace to work in: that of the flag, else the Pod's own, else that of the manifests. */
export function namespaceOr(flag: string | undefined): string {
  return flag ?? podNamespace() ?? defaultNamespace;
}

function podNamespace(): string | undefined {
  try {
    return readFileSync(`${serviceAccountFolder}/namespace`, 'utf8').trim();
  } catch {
    return undefined;
  }
}
