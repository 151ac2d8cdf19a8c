import { setTimeout } from 'node:timers/promises';
import { renewFrontProxySecret } from './front-proxy-secret.ts';
import { runGuide } from './guide-steps.ts';
import type { Outcome } from './life.ts';
import type { LifeCluster } from './life-cluster.ts';
import type { Machine } from './machine.ts';

const guide = 'ca-rotation.md';
/** The first lines of the guide's blocks of commands, in their order. */
export const rotationSteps = {
  make: '# On one control-plane node: make a new front-proxy CA',
  trust: '# On each control-plane node: trust both front-proxy CAs',
  sign: '# On each control-plane node: sign with the new front-proxy CA',
  forget: '# On each control-plane node: forget the old front-proxy CA',
  publish: '# Once: let the servers publish the CAs that they trust',
} as const;
/** kube-apiserver re-reads its files at least this often. */
const rereadMs = 60_000;

/** Rotates the front-proxy CA by the guide. A server that still trusts the old one at the end is a problem. */
export async function rotateFrontProxyCa({ machines }: LifeCluster): Promise<Outcome> {
  const steps = rotationSteps;
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
