import { dirname } from 'node:path';
import type { LabServer } from '../plane/control-plane.ts';
import type { MixedPlane } from '../plane/mixed-plane.ts';
import { waitUntil } from '../wait-until.ts';
import type { Narrator } from './narrator.ts';

const claims = '/apis/resource.k8s.io/v1/resourceclaims';

/** The parts of a control plane that the story uses. The control plane is real or simulated. */
export interface StoryPlane extends Pick<MixedPlane, 'kubectl' | 'plugin' | 'proxyUrl' | 'proxyKubeconfig'> {
  readonly plane: {
    readonly servers: readonly Pick<LabServer, 'hostname' | 'version' | 'url'>[];
    server(name: string): Pick<LabServer, 'start' | 'kill'>;
    logTails(lines: number): string;
  };
  startOperator(): void;
  startProxy(): void;
}

async function peerStates(mixed: StoryPlane): Promise<Record<string, string>> {
  const { stdout } = await mixed.kubectl('old-1', ['get', 'peerdiscovery', 'cluster', '-o', 'json']);
  const peers: { hostname?: string; id: string; state: string }[] =
    stdout === '' ? [] : (JSON.parse(stdout).status?.peers ?? []);
  return Object.fromEntries(peers.map(({ hostname, id, state }) => [hostname ?? id, state]));
}

async function threeReady(mixed: StoryPlane): Promise<boolean> {
  const states = Object.values(await peerStates(mixed));
  return states.length === 3 && states.every((state) => state === 'Ready');
}

/** Tells the whole story on a control plane of `old-1`, `new-1` and `new-2`. The proxy's home is `old-1`. */
export async function tellStory(
  mixed: StoryPlane,
  narrator: Narrator,
  tellDeletion: () => Promise<void>,
): Promise<void> {
  const { say, chapter, check, show } = narrator;
  chapter('1. Three kube-apiservers of two versions share one etcd, as in the middle of an upgrade');
  for (const server of mixed.plane.servers)
    say(`   ${server.hostname.padEnd(8)} ${server.version.padEnd(26)} ${server.url}`);
  say(`\n   export LAB=${dirname(mixed.proxyKubeconfig)}   (a kubeconfig for each server, and one for the proxy)\n`);
  say('   A new server answers this request; the old server rejects the same request:\n');
  await show(mixed, 'new-1', ['get', 'resourceclaims', '--all-namespaces']);
  const direct = await show(mixed, 'old-1', ['get', '--raw', claims]);
  check(direct.code !== 0, 'the old server says that the resource does not exist: a wrong 404');

  chapter('2. The operator finds them, reads what each one serves, and publishes a routing table');
  mixed.startOperator();
  mixed.startProxy();
  await waitUntil('three ready peers', () => threeReady(mixed));
  await waitUntil('the proxy', async () => (await mixed.kubectl('proxy', ['get', '--raw', '/version'])).code === 0);
  const glance = await show(mixed, 'old-1', ['get', 'peerdiscovery']);
  check(/cluster\s+Route\s+3\s+3\s+0/.test(glance.stdout), 'three peers, all ready, none stale');

  chapter('3. The same request through the proxy, which uses the old server by default');
  const proxied = await show(mixed, 'proxy', ['get', '--raw', claims]);
  check(proxied.code === 0, 'the proxy sends it to a server that knows the resource');
  const listed = await show(mixed, 'proxy', ['get', 'resourceclaims', '--all-namespaces']);
  check(listed.code === 0, 'kubectl finds the resource in the unified discovery and lists it');
  say('\n   The kubectl plugin says why, and what a proxy in front of another server would do:\n');
  const explained = await mixed.plugin('old-1', ['explain', 'resourceclaims.v1.resource.k8s.io']);
  narrator.output(
    'kubectl peerdiscovery explain resourceclaims.v1.resource.k8s.io --kubeconfig $LAB/old-1.kubeconfig',
    explained.stdout + explained.stderr,
  );
  check(/^old-1 +new-\d .*old-1 does not serve it$/m.test(explained.stdout), 'it names the server and the reason');

  await tellDeletion();
  await tellFailures(mixed, narrator);
}

async function tellFailures(mixed: StoryPlane, { say, chapter, check, show }: Narrator): Promise<void> {
  chapter('6. One of the two new servers is killed with SIGKILL');
  await mixed.plane.server('new-1').kill();
  const killedAt = Date.now();
  const after = await mixed.kubectl('proxy', ['get', '--raw', claims]);
  check(after.code === 0, 'the other new server answers the next read through the proxy');
  await waitUntil('the status to change', async () => (await peerStates(mixed))['new-1'] === 'Unreachable');
  say(`   (the status changed ${((Date.now() - killedAt) / 1000).toFixed(1)} s after the kill)`);
  const turned = await show(mixed, 'old-1', ['get', 'peerdiscovery']);
  check(/cluster\s+Route\s+3\s+2/.test(turned.stdout), 'two of three peers are ready');

  chapter('7. The other one is killed too: no server can serve the resource now, but it exists');
  await mixed.plane.server('new-2').kill();
  const nobody = await waitUntil('an answer of the proxy', async () => {
    const result = await show(mixed, 'proxy', ['get', '--raw', claims]);
    return result.code === 0 ? undefined : result;
  });
  const notFound = /NotFound|could not find the requested resource|404/.test(nobody.stderr);
  const unavailable = /ServiceUnavailable|unavailable|503/i.test(nobody.stderr);
  check(!notFound && unavailable, '503, not 404: no controller acts on a guess');

  chapter('8. Both come back under the same names');
  await Promise.all(['new-1', 'new-2'].map((name) => mixed.plane.server(name).start()));
  await waitUntil('all peers to be ready again', () => threeReady(mixed));
  const again = await waitUntil('the resource', async () => {
    const result = await mixed.kubectl('proxy', ['get', '--raw', claims]);
    return result.code === 0 && result;
  });
  check(again.code === 0, 'the resource is served again');
}
