import { issueForProxies } from './certificate-faults.ts';
import { createHttp1Client, createHttp2Client } from './client.ts';
import { createLeases, removeForged } from './lease-faults.ts';
import { must, pause, programs, ready, type Scene, servers } from './scene.ts';
import { proxies } from './stage.ts';

const connectionsPerCycle = 40;

const definition = (cycle: number) =>
  JSON.stringify({
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `gears.soak${cycle}.example` },
    spec: {
      group: `soak${cycle}.example`,
      names: { kind: 'Gear', plural: 'gears' },
      scope: 'Cluster',
      versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object' } } }],
    },
  });

/** Connections that come and go. Each has its own token, which is invalid or was just created. */
async function comeAndGo(scene: Scene, ca: string, cycle: number): Promise<void> {
  const { code, stdout } = await scene.kubectl(['create', 'token', 'default', '-n', 'default']);
  const made = code === 0 ? stdout.trim() : 'nobody';
  await Promise.all(
    Array.from({ length: connectionsPerCycle }, async (_, at) => {
      const target = proxies[at % proxies.length] ?? proxies[0];
      const client = (at % 4 < 2 ? createHttp1Client : createHttp2Client)(target.url, ca);
      const token = at % 8 === 0 ? made : `made-up-${cycle}-${at}`;
      for (const path of ['/apis', `/apis/soak${cycle}.example/v1/gears`, '/openapi/v3', '/version'])
        await client.ask({ method: 'GET', path, token }, 20_000);
      client.close();
    }),
  );
}

/** Servers that exist for some seconds. Each has its own address. */
async function serversComeAndGo(scene: Scene, cycle: number): Promise<void> {
  const leases = Array.from({ length: 10 }, (_, at) => ({
    name: `apiserver-soak${cycle}x${at}`,
    hostname: `soak-${cycle}-${at}`,
    address: `10.${78 + (cycle % 100)}.${Math.floor(cycle / 100)}.${at + 1}:6443`,
  }));
  await createLeases(scene, leases);
  await pause(1_500);
  await removeForged(scene);
}

/** One cycle of the changes in a cluster over hours: definitions, servers, certificates, tokens, connections. */
export async function churn(scene: Scene, ca: string, cycle: number): Promise<void> {
  await must(scene, ['apply', '-f', '-'], definition(cycle));
  await serversComeAndGo(scene, cycle);
  await comeAndGo(scene, ca, cycle);
  if (cycle % 3 === 0) issueForProxies(scene);
  const name = servers[cycle % servers.length] ?? servers[0];
  if (cycle % 2 === 0) {
    const server = scene.mixed.plane.server(name);
    scene.mark(name, false);
    await server.stop();
    await server.start();
    await ready(scene, name);
  }
  await must(scene, ['delete', 'crd', `gears.soak${cycle}.example`, '--wait=false']);
  for (const program of programs)
    if (scene.pidOf(program) === undefined) throw new Error(`${program} has ended: ${scene.mixed.plane.logTails(20)}`);
}
