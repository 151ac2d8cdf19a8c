import { readFileSync } from 'node:fs';
import { Agent } from 'node:https';
import { sendRequest } from '../simulated/send-request.ts';
import { waitUntil } from '../wait-until.ts';
import { tellStory } from './demo-story.ts';
import { createNarrator, type Narrator } from './narrator.ts';
import type { SimulatedPlane } from './simulated-plane.ts';

/** A narrator that marks each chapter as simulated, and that shows curl commands if kubectl is missing. */
export function createSimulatedNarrator(): Narrator {
  const narrator = createNarrator();
  return {
    ...narrator,
    chapter: (title) => narrator.chapter(`${title} (simulated)`),
  };
}

/** Tells the same story as on a real control plane, with a small controller in place of kube-controller-manager. */
export async function tellSimulatedStory(mixed: SimulatedPlane, narrator: Narrator): Promise<void> {
  const { builtIn } = mixed;
  const described: Narrator =
    builtIn === undefined
      ? narrator
      : {
          ...narrator,
          show: async (_, target, args) => {
            const result = await builtIn.run(target, args);
            narrator.output(builtIn.describe(target, args), result.stdout + result.stderr);
            return result;
          },
        };
  await tellStory(mixed, described, () => tellDeletion(mixed, described));
  described.say('\n9. and 10. need real servers: simulated ones keep every field they are given.');
}

/** Shows the harm of a wrong 404 to a namespace, and the same deletion through the proxy. */
async function tellDeletion(mixed: SimulatedPlane, narrator: Narrator): Promise<void> {
  const { say, chapter, check } = narrator;
  chapter('4. The harm of that 404: a controller that uses the old server deletes a namespace');
  say('   The namespace holds a ResourceClaim, a resource that only the new servers know.');
  say('   The controller asks its server what the namespace holds, deletes all of that, and then the namespace.\n');
  const left = await deleteNamespace(mixed, narrator, 'old-1', 'doomed');
  check(left, 'the damage: the namespace is gone, but its ResourceClaim is still there; nothing failed');
  chapter('5. The same again, but the controller uses the address of the proxy');
  const leftBehind = await deleteNamespace(mixed, narrator, 'proxy', 'saved');
  check(!leftBehind, 'the namespace and all its objects were deleted; nothing is left behind');
}

async function deleteNamespace(mixed: SimulatedPlane, { show }: Narrator, target: string, namespace: string) {
  const { store } = mixed.fleet;
  store.put({ resource: '/namespaces', namespace: '', name: namespace }, { metadata: { name: namespace }, spec: {} });
  store.put(
    { resource: 'resource.k8s.io/resourceclaims', namespace, name: 'my-gpu' },
    { metadata: { name: 'my-gpu', namespace }, spec: {} },
  );
  await show(mixed, 'new-1', ['get', 'resourceclaims', '--namespace', namespace]);
  await waitUntil('the controller', () => deleteContent(mixed, target, namespace));
  store.delete({ resource: '/namespaces', namespace: '', name: namespace });
  await show(mixed, 'new-1', ['get', 'namespace', namespace]);
  const left = await show(mixed, 'new-1', ['get', 'resourceclaims', '--namespace', namespace]);
  return left.stdout.includes('my-gpu');
}

interface Discovery {
  readonly items: readonly {
    readonly metadata: { readonly name?: string };
    readonly versions: readonly {
      readonly version: string;
      readonly resources?: readonly { readonly resource: string; readonly scope: string; readonly verbs: string[] }[];
    }[];
  }[];
}

/**
 * Works like the namespace controller: discovers all resources and deletes every collection. Returns false on any
 * answer except 200 and 404.
 */
async function deleteContent({ fleet, proxyUrl }: SimulatedPlane, target: string, namespace: string): Promise<boolean> {
  const agent = new Agent({ keepAlive: true });
  const base = target === 'proxy' ? proxyUrl : fleet.server(target).url;
  const accept = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json';
  const common = { ca: readFileSync(fleet.caFile), token: fleet.tokens.admin, headers: { accept }, agent };
  const serverName = target === 'proxy' ? 'localhost' : 'kubernetes.default.svc';
  const send = (method: string, path: string) => sendRequest({ ...common, url: base + path, method, serverName });
  try {
    let whole = true;
    for (const root of ['/api', '/apis']) {
      const { items } = JSON.parse((await send('GET', root)).body) as Discovery;
      for (const { metadata, versions } of items)
        for (const { version, resources = [] } of versions)
          for (const { resource, scope, verbs } of resources) {
            if (scope !== 'Namespaced' || !verbs.includes('deletecollection')) continue;
            const prefix = metadata.name === undefined ? `/api/${version}` : `/apis/${metadata.name}/${version}`;
            const { status } = await send('DELETE', `${prefix}/namespaces/${namespace}/${resource}`);
            whole &&= status === 200 || status === 404;
          }
    }
    return whole;
  } finally {
    agent.destroy();
  }
}
