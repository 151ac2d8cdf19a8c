import { setTimeout } from 'node:timers/promises';
import { waitUntil } from '../wait-until.ts';
import { type Credentials, createClient } from './clients.ts';
import { renewFrontProxySecret } from './front-proxy-secret.ts';
import { runGuide } from './guide-steps.ts';
import { type Outcome, waitUntilRight } from './life.ts';
import type { LifeCluster } from './life-cluster.ts';
import { readCredentials, waysOf } from './load.ts';
import type { Machine } from './machine.ts';
import { waitUntilReread } from './reread-files.ts';

const guide = 'ca-rotation.md';
/** The first lines of the guide's blocks of commands, in their order. */
export const rotationSteps = {
  frontProxy: {
    make: '# On one control-plane node: make a new front-proxy CA',
    trust: '# On each control-plane node: trust both front-proxy CAs',
    sign: '# On each control-plane node: sign with the new front-proxy CA',
    forget: '# On each control-plane node: forget the old front-proxy CA',
    publish: '# Once: let the servers publish the CAs that they trust',
  },
  cluster: {
    make: '# On one control-plane node: make a new cluster CA',
    trust: '# On each control-plane node: trust both cluster CAs',
    trustInPods: '# Once: let all Pods trust both cluster CAs',
    sign: '# On each control-plane node: sign with the new cluster CA',
    forget: '# On each control-plane node: forget the old cluster CA',
    forgetInPods: '# Once: let all Pods forget the old cluster CA',
  },
} as const;
/** kube-apiserver re-reads its files at least this often. */
const rereadMs = 60_000;

/** Rotates the front-proxy CA by the guide. A server that still trusts the old one at the end is a problem. */
export async function rotateFrontProxyCa({ machines }: LifeCluster): Promise<Outcome> {
  const steps = rotationSteps.frontProxy;
  const [first] = machines;
  await first.must(['sh', '-ec', `cp -p ${frontProxyPki}.crt ${frontProxyPki}.key ${first.folder}`]);
  await runGuide(first, guide, steps.make);
  await copyNewPki(machines, ['front-proxy-ca.crt', 'front-proxy-ca.key']);
  await onEach(machines, steps.trust);
  await setTimeout(rereadMs);
  await onEach(machines, steps.sign);
  await renewFrontProxySecret(machines);
  await onEach(machines, steps.forget);
  await setTimeout(rereadMs);
  await runGuide(first, guide, steps.publish);
  const accepting: string[] = [];
  for (const { name, address } of machines) {
    const status = await askAsFrontProxy(first, address);
    if (status !== '401') accepting.push(`${name} answered ${status} to the old front-proxy client certificate`);
  }
  return { problems: accepting };
}

const frontProxyPki = '/etc/kubernetes/pki/front-proxy-client';

/** The status of a server's answer to the copy of the old client certificate. */
async function askAsFrontProxy(machine: Machine, address: string): Promise<string> {
  const pair = [
    '--cert',
    `${machine.folder}/front-proxy-client.crt`,
    '--key',
    `${machine.folder}/front-proxy-client.key`,
  ];
  const flags = ['-sk', '-o', '/dev/null', '-w', '%{http_code}', ...pair, '-H', 'X-Remote-User: somebody'];
  return (await machine.run(['curl', ...flags, `https://${address}:6443/api`])).stdout;
}

/** Rotates the cluster CA by the guide. An endpoint that still trusts the old one at the end is a problem. */
export async function rotateClusterCa({ machines, health, load }: LifeCluster): Promise<Outcome> {
  const steps = rotationSteps.cluster;
  const [first] = machines;
  const old = await readCredentials(first);
  const began = Date.now();
  const rounds: string[] = [];
  const round = async (name: string, run: () => Promise<void>) => {
    const from = Date.now();
    await run();
    await load.renew(first);
    rounds.push(`“${name}” ${((Date.now() - from) / 1_000).toFixed(0)} s`);
  };
  const inTurn = async (step: string) => {
    for (const machine of machines) {
      await runGuide(machine, guide, step);
      const { at, missing } = await waitUntilRight(health);
      if (at === undefined) throw new Error(`after “${step}” on ${machine.name}: ${missing}`);
    }
  };
  await runGuide(first, guide, steps.make);
  await copyNewPki(machines, ['ca.crt', 'ca.key']);
  await round('everything trusts both', async () => {
    await inTurn(steps.trust);
    await runGuide(first, guide, steps.trustInPods);
    await waitUntilReread(machines, 'peer-ca', new Date(began));
  });
  await round('the new one signs', () => inTurn(steps.sign));
  await round('everything forgets the old one', async () => {
    await inTurn(steps.forget);
    await runGuide(first, guide, steps.forgetInPods);
  });
  const problems = await endpointsThatAccept({ ...old, ca: (await readCredentials(first)).ca }, machines);
  return { problems, notes: [`The rounds took: ${rounds.join(', ')}.`] };
}

async function onEach(machines: readonly Machine[], step: string): Promise<void> {
  for (const machine of machines) await runGuide(machine, guide, step);
}

/** Copies files of the new CA from the first machine to the others, as scp does. */
async function copyNewPki([first, ...others]: LifeCluster['machines'], files: readonly string[]): Promise<void> {
  for (const file of files) {
    const path = `/etc/kubernetes/new-pki/${file}`;
    const input = await first.must(['cat', path]);
    for (const other of others)
      await other.must(['sh', '-ec', `mkdir -p -m 700 /etc/kubernetes/new-pki; umask 077; cat >${path}`], { input });
  }
}

/** The endpoints that do not refuse these credentials within two minutes. */
async function endpointsThatAccept(credentials: Credentials, machines: readonly Machine[]): Promise<readonly string[]> {
  const accepting: string[] = [];
  for (const way of waysOf(machines)) {
    let last = '';
    const isRefused = async () => {
      const client = createClient(way, credentials);
      const { status, error } = await client.send('GET', '/api/v1/namespaces', undefined, 5_000);
      client.close();
      last = `${status} ${error ?? ''}`.trim();
      return status === 401;
    };
    await waitUntil(`${way.name} to forget the old CA`, isRefused, { boundMs: 120_000, everyMs: 2_000 }).catch(() => {
      accepting.push(`${way.name} answered ${last} to a client certificate of the old CA`);
    });
  }
  return accepting;
}
