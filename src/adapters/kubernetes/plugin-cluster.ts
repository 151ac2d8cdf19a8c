import { text } from 'node:stream/consumers';
import { apiVersion, type PeerDiscovery, plural } from '../../api/peer-discovery.ts';
import { documentationUrl } from '../../domain/documentation-url.ts';
import { type AccessQuestion, type Cluster, PluginError } from '../../plugin/ports.ts';
import { systemClock } from '../../runtime/clock.ts';
import { silentLog } from '../../runtime/log.ts';
import { messageOf } from '../../runtime/message-of.ts';
import { withoutNodeAdvice } from '../../runtime/without-node-advice.ts';
import { inspectServer } from '../peers/inspect-server.ts';
import type { ApiClient } from './api-client.ts';
import { ApiError } from './api-error.ts';
import { readBundle, readHead } from './config-map-bundle.ts';
import { createStatusPageReader } from './read-status-page.ts';
import { startReflector, type Watchable } from './reflector.ts';

const inspectionTimeoutMs = 5_000;

/** The cluster behind an API client, for the kubectl plugin. Every failure says what to do about it. */
export function createPluginCluster(client: ApiClient): Cluster {
  const guarded = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      throw error instanceof PluginError ? error : explainFailure(error, client.serverUrl);
    }
  };
  const get = <T>(path: string) =>
    guarded(async () => {
      try {
        return await client.get<T>(path);
      } catch (error) {
        if (error instanceof ApiError && error.code === 404) return undefined;
        throw error;
      }
    });
  return {
    serverUrl: client.serverUrl,
    get,
    list: (path, labelSelector) =>
      guarded(async () => (await client.list<never>(path, { query: { labelSelector } })).items),
    text: (path) => guarded(async () => text(await client.requestStream(path))),
    textOf: async (server, path) => {
      try {
        return (await client.readFrom(server, path)).body.toString('utf8');
      } catch (error) {
        throw explainFailure(error, `https://${server.address}`);
      }
    },
    may: (question) =>
      guarded(async () => {
        const review = await client.create<{ readonly status?: { readonly allowed?: boolean } }>(
          '/apis/authorization.k8s.io/v1/subjectaccessreviews',
          buildReview(question),
        );
        return review.status?.allowed === true;
      }),
    readBundle: (location) =>
      guarded(async () => {
        const found = await readHead(client, location);
        if (!found.ok)
          return {
            ok: false,
            reason: found.reason === 'Missing' ? 'it does not exist' : (found.message ?? 'malformed'),
          };
        const bundle = await readBundle(client, location, found.head);
        return bundle === undefined
          ? { ok: false, reason: 'its shards are incomplete or damaged' }
          : { ok: true, bundle };
      }),
    watchObject: (name, onChange, signal) =>
      guarded(async () => {
        // The first list fails with a clear error; a watch alone would retry in silence.
        await client.list(`/apis/${apiVersion}/${plural}`, { signal, pageSize: 1 });
        const reflector = startReflector<PeerDiscovery & Watchable>({
          client,
          path: `/apis/${apiVersion}/${plural}`,
          fieldSelector: `metadata.name=${name}`,
          onChange: () => {
            if (reflector.synced) onChange(reflector.items().get(name));
          },
          clock: systemClock,
          log: silentLog,
          signal,
          random: Math.random,
        });
        await reflector.stopped;
      }),
    statusPage(namespace) {
      const read = createStatusPageReader(client, namespace, systemClock);
      return (search) => guarded(() => read(search));
    },
    inspectServer: (address, serverName, caPem) =>
      inspectServer({
        address,
        serverName,
        caPem: caPem ?? client.caPem(),
        timeoutMs: inspectionTimeoutMs,
        now: () => systemClock.date(),
      }),
    close: () => client.close(),
  };
}

function buildReview(question: AccessQuestion): object {
  const { serviceAccount, verb, nonResourcePath, ...resource } = question;
  const [namespace, name] = (serviceAccount ?? ':').split(':');
  const attributes =
    nonResourcePath === undefined
      ? { resourceAttributes: { verb, ...resource } }
      : { nonResourceAttributes: { verb, path: nonResourcePath } };
  return {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SubjectAccessReview',
    spec: {
      user: `system:serviceaccount:${namespace}:${name}`,
      groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
      ...attributes,
    },
  };
}

function explainFailure(error: unknown, serverUrl: string): PluginError {
  const message = messageOf(error);
  const cureOf = (code: number): string => {
    if (code === 401) return 'log in again: the credentials of the kubeconfig are not accepted';
    if (code === 403) return "ask for a role that allows it, or give an administrator's --kubeconfig or --context";
    if (code === 404) return `install PeerDiscovery first: ${documentationUrl('guides/install.md')}`;
    if (code === 0) return 'check that the server of the kubeconfig is right and reachable: kubectl get --raw /readyz';
    return "try again; the message above is the API server's own";
  };
  const code = error instanceof ApiError ? error.code : 0;
  const text = error instanceof ApiError && code !== 0 ? (error.status?.message ?? message) : message;
  return new PluginError(`${serverUrl}: ${withoutNodeAdvice(text)}`, cureOf(code), {
    cause: error,
    refused: code === 403,
  });
}
