import { existsSync, readFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { delimiter, dirname, resolve } from 'node:path';
import { type Cluster, KubeConfig, type User } from '@kubernetes/client-node';
import { parse } from 'yaml';
import { type Environment, serviceAccountFolder } from '../../flags/environment.ts';
import { messageOf } from '../../runtime/message-of.ts';

/** Where to find the API server and the credentials. */
export interface LoadKubeConfigOptions {
  /** Path from the command line; it takes precedence. */
  readonly kubeconfig?: string | undefined;
  /** The context to use instead of the kubeconfig's current one. */
  readonly context?: string | undefined;
  readonly environment: Pick<Environment, 'kubeconfigFiles' | 'service'>;
  /** Where a Pod finds its ServiceAccount. */
  readonly serviceAccountPath?: string;
}

/**
 * Loads the kubeconfig of the flag, else of `KUBECONFIG` (several files are merged, and the first definition of a name
 * wins), else the Pod's ServiceAccount. An error says what to do.
 */
export function loadKubeConfig(options: LoadKubeConfigOptions): KubeConfig {
  const { kubeconfig, context, environment, serviceAccountPath = serviceAccountFolder } = options;
  if (kubeconfig) return checked(loadFiles([kubeconfig]), `--kubeconfig ${kubeconfig}`, context);
  const { kubeconfigFiles: files, service } = environment;
  if (files.length > 0) return checked(loadFiles(files), `KUBECONFIG=${files.join(delimiter)}`, context);
  const tokenFile = `${serviceAccountPath}/token`;
  if (service !== undefined && existsSync(tokenFile))
    return loadServiceAccount(serviceAccountPath, service.host, service.port);
  throw new Error(
    'no API server to talk to: pass --kubeconfig PATH, or set KUBECONFIG, or run in a Pod with a ServiceAccount token ' +
      `(${tokenFile} ${existsSync(tokenFile) ? 'exists' : 'does not exist'}, KUBERNETES_SERVICE_HOST is ` +
      `${service === undefined ? 'not set' : 'set'})`,
  );
}

function loadFiles(files: readonly string[]): KubeConfig {
  const clusters = new Map<string, Cluster>();
  const users = new Map<string, User>();
  const contexts = new Map<string, ReturnType<KubeConfig['getContexts']>[number]>();
  let currentContext = '';
  for (const file of files) {
    const part = loadFile(file);
    for (const cluster of part.clusters) if (!clusters.has(cluster.name)) clusters.set(cluster.name, cluster);
    for (const user of part.users) if (!users.has(user.name)) users.set(user.name, user);
    for (const context of part.contexts) if (!contexts.has(context.name)) contexts.set(context.name, context);
    currentContext ||= part.currentContext ?? '';
  }
  const merged = new KubeConfig();
  merged.loadFromOptions({
    clusters: [...clusters.values()],
    users: [...users.values()],
    contexts: [...contexts.values()],
    currentContext,
  });
  return merged;
}

function loadFile(file: string): KubeConfig {
  const loaded = new KubeConfig();
  try {
    const text = readFileSync(file, 'utf8');
    loaded.loadFromString(text);
    loaded.makePathsAbsolute(dirname(file));
    loaded.users = withTokenFiles(loaded.users, text, dirname(file));
  } catch (error) {
    const why = messageOf(error);
    throw new Error(`cannot load kubeconfig ${file}: ${why}`, { cause: error });
  }
  return loaded;
}

/** client-node ignores a user's `tokenFile`, but re-reads the file of this auth provider every minute. */
function withTokenFiles(users: readonly User[], text: string, directory: string): User[] {
  const document = parse(text) as { users?: { name?: string; user?: { tokenFile?: string } }[] } | null;
  const tokenFiles = new Map<string, string>();
  for (const { name, user } of document?.users ?? []) {
    if (name && user?.tokenFile) tokenFiles.set(name, resolve(directory, user.tokenFile));
  }
  return users.map((user) => {
    const tokenFile = tokenFiles.get(user.name);
    if (!tokenFile) return user;
    const { token: _replaced, ...rest } = user;
    return { ...rest, authProvider: { name: 'tokenFile', config: { tokenFile } } };
  });
}

function loadServiceAccount(path: string, host: string, port: string): KubeConfig {
  const loaded = new KubeConfig();
  const namespaceFile = `${path}/namespace`;
  loaded.loadFromOptions({
    clusters: [
      {
        name: 'in-cluster',
        caFile: `${path}/ca.crt`,
        server: `https://${isIPv6(host) ? `[${host}]` : host}:${port}`,
        skipTLSVerify: false,
      },
    ],
    users: [{ name: 'service-account', authProvider: { name: 'tokenFile', config: { tokenFile: `${path}/token` } } }],
    contexts: [
      {
        name: 'in-cluster',
        cluster: 'in-cluster',
        user: 'service-account',
        ...(existsSync(namespaceFile) ? { namespace: readFileSync(namespaceFile, 'utf8').trim() } : {}),
      },
    ],
    currentContext: 'in-cluster',
  });
  return loaded;
}

function checked(kubeConfig: KubeConfig, source: string, chosen?: string): KubeConfig {
  if (chosen !== undefined) kubeConfig.setCurrentContext(chosen);
  const names = kubeConfig.getContexts().map(({ name }) => name);
  const context = kubeConfig.getContextObject(kubeConfig.getCurrentContext());
  if (!context) {
    throw new Error(
      `${source} has no usable current-context (it says "${kubeConfig.getCurrentContext()}"): ` +
        `set it to one of: ${names.join(', ') || 'none is defined'}`,
    );
  }
  if (!kubeConfig.getCluster(context.cluster)) {
    throw new Error(`${source}: context "${context.name}" names cluster "${context.cluster}", which is not defined`);
  }
  if (context.user && !kubeConfig.getUser(context.user)) {
    throw new Error(`${source}: context "${context.name}" names user "${context.user}", which is not defined`);
  }
  return kubeConfig;
}
