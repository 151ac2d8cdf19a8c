import { dirname } from 'node:path';
import { ensureControlPlane } from './build-control-plane.ts';
import { type MixedPlane, startMixedPlane } from './mixed-plane.ts';
import { waitUntil } from './wait-until.ts';

const once = process.argv.includes('--once');
const bold = (text: string) => (process.stdout.isTTY ? `\u001b[1m${text}\u001b[0m` : text);
const say = (text = '') => void process.stdout.write(`${text}\n`);
const chapter = (text: string) => say(`\n${bold(text)}\n`);
const progress = (text: string) => say(`   … ${text}`);

/** What did not go as the story says. */
const broken: string[] = [];

function check(held: boolean, claim: string): void {
  say(`   ${held ? '✔' : '✘'} ${claim}`);
  if (!held) broken.push(claim);
}

/** Runs kubectl for real and shows the command and its output. */
async function show(mixed: MixedPlane, target: string, args: readonly string[], lines = 40) {
  say(`   $ kubectl --kubeconfig $LAB/${target}.kubeconfig ${args.join(' ')}`);
  const result = await mixed.kubectl(target, args);
  const output = `${result.stdout}${result.stderr}`.trimEnd().split('\n');
  for (const line of output.slice(0, lines)) say(`     ${line}`);
  if (output.length > lines) say(`     … (${output.length - lines} more lines)`);
  return result;
}

async function peerStates(mixed: MixedPlane): Promise<Record<string, string>> {
  const { stdout } = await mixed.kubectl('old-1', ['get', 'peerdiscovery', 'cluster', '-o', 'json']);
  const peers: { hostname?: string; id: string; state: string }[] =
    stdout === '' ? [] : (JSON.parse(stdout).status?.peers ?? []);
  return Object.fromEntries(peers.map(({ hostname, id, state }) => [hostname ?? id, state]));
}

async function tell(mixed: MixedPlane): Promise<void> {
  chapter('1. Three kube-apiservers of two versions share one etcd, as in the middle of an upgrade');
  for (const server of mixed.plane.servers)
    say(`   ${server.hostname.padEnd(8)} ${server.version.padEnd(26)} ${server.url}`);

  say(`\n   export LAB=${dirname(mixed.proxyKubeconfig)}   (a kubeconfig for each server, and one for the proxy)`);

  chapter('2. The operator finds them, reads what each serves, and publishes a routing table');
  mixed.startOperator();
  mixed.startProxy();
  await waitUntil('three ready peers', async () => {
    const states = Object.values(await peerStates(mixed));
    return states.length === 3 && states.every((state) => state === 'Ready');
  });
  await waitUntil('the proxy', async () => (await mixed.kubectl('proxy', ['get', '--raw', '/version'])).code === 0);
  const glance = await show(mixed, 'old-1', ['get', 'peerdiscovery']);
  check(/cluster\s+Route\s+3\s+3\s+0/.test(glance.stdout), 'three peers, all ready, none stale');
  await show(mixed, 'old-1', ['get', 'peerdiscovery', '-o', 'wide']);
  await show(mixed, 'old-1', ['get', 'peerdiscovery', 'cluster', '-o', 'yaml'], 60);

  chapter('3. The same command at the old server, and through the proxy whose home is that old server');
  const direct = await show(mixed, 'old-1', ['get', '--raw', '/apis/resource.k8s.io/v1/resourceclaims']);
  check(direct.code !== 0, 'the old server says that the resource does not exist: a wrong 404');
  const proxied = await show(mixed, 'proxy', ['get', '--raw', '/apis/resource.k8s.io/v1/resourceclaims']);
  check(proxied.code === 0, 'through the proxy it is served, by a server that knows it');
  const listed = await show(mixed, 'proxy', ['get', 'resourceclaims', '--all-namespaces']);
  check(listed.code === 0, 'kubectl finds the resource in the unified discovery and lists it');

  chapter('4. One of the two new servers is killed with SIGKILL');
  await mixed.plane.server('new-1').kill();
  const killedAt = Date.now();
  const after = await mixed.kubectl('proxy', ['get', '--raw', '/apis/resource.k8s.io/v1/resourceclaims']);
  check(after.code === 0, 'the next read through the proxy is answered by the other new server');
  await waitUntil('the status to turn', async () => (await peerStates(mixed))['new-1'] === 'Unreachable');
  say(`   (the status turned ${((Date.now() - killedAt) / 1000).toFixed(1)} s after the kill)`);
  const turned = await show(mixed, 'old-1', ['get', 'peerdiscovery', '-o', 'wide']);
  check(/cluster\s+Route\s+3\s+2/.test(turned.stdout), 'two of three peers are ready');

  chapter('5. The other one is killed too: nobody can serve the resource now, but it exists');
  await mixed.plane.server('new-2').kill();
  const nobody = await waitUntil('an answer of the proxy', async () => {
    const result = await show(mixed, 'proxy', ['get', '--raw', '/apis/resource.k8s.io/v1/resourceclaims']);
    return result.code === 0 ? undefined : result;
  });
  const notFound = /NotFound|could not find the requested resource|404/.test(nobody.stderr);
  check(
    !notFound && /ServiceUnavailable|unavailable|503/i.test(nobody.stderr),
    '503, not 404: no controller acts on a guess',
  );

  chapter('6. Both come back under their old names');
  await Promise.all(['new-1', 'new-2'].map((name) => mixed.plane.server(name).start()));
  await waitUntil('all peers to be ready again', async () => {
    const states = Object.values(await peerStates(mixed));
    return states.length === 3 && states.every((state) => state === 'Ready');
  });
  const again = await waitUntil('the resource', async () => {
    const result = await mixed.kubectl('proxy', ['get', '--raw', '/apis/resource.k8s.io/v1/resourceclaims']);
    return result.code === 0 && result;
  });
  check(again.code === 0, 'the resource is served again');
}

async function main(): Promise<number> {
  say(bold('PeerDiscovery: a control plane of mixed versions that answers as one'));
  chapter('0. A real control plane on this machine');
  await ensureControlPlane({ versions: ['1.36'], log: progress });
  const mixed = await startMixedPlane({
    servers: [
      { name: 'old-1', version: '1.36', emulatedVersion: '1.33' },
      { name: 'new-1', version: '1.36' },
      { name: 'new-2', version: '1.36' },
    ],
    home: 'old-1',
    log: progress,
  });
  try {
    await tell(mixed);
    say();
    if (broken.length > 0) say(`The story did not hold:\n${broken.map((claim) => `  - ${claim}\n`).join('')}`);
    else say(bold('The story held.'));
    if (!once) {
      say(`\nThe proxy:   ${mixed.proxyUrl}`);
      say(`kubeconfig:  ${mixed.proxyKubeconfig}`);
      say(`From another terminal, enter the demo's network first:`);
      say(`  nsenter --target ${process.pid} --net kubectl --kubeconfig ${mixed.proxyKubeconfig} get peerdiscovery`);
      say('Ctrl-C stops everything and leaves nothing behind.');
      await new Promise<void>((resolve) => {
        // An open timer keeps the process alive until a signal comes.
        const alive = setInterval(() => {}, 60_000);
        for (const name of ['SIGINT', 'SIGTERM'] as const)
          process.once(name, () => {
            clearInterval(alive);
            resolve();
          });
      });
      say('\nstopping …');
    }
    return broken.length === 0 ? 0 : 1;
  } catch (error) {
    say(mixed.plane.logTails(20));
    throw error;
  } finally {
    await mixed.stop();
  }
}

process.exitCode = await main();
