import { readFileSync } from 'node:fs';
import { identityLeaseName } from '../../src/runtime/identity-lease-name.ts';
import { waitUntil } from '../wait-until.ts';
import { createHttp2Client } from './client.ts';
import { addressOf, type Fault, type Scene } from './scene.ts';

interface ForgedLease {
  readonly name: string;
  readonly hostname: string;
  readonly address: string;
}

const namespace = 'kube-system';

function leaseOf({ name, hostname, address }: ForgedLease): object {
  return {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: {
      name,
      namespace,
      labels: {
        'apiserver.kubernetes.io/identity': 'kube-apiserver',
        'kubernetes.io/hostname': hostname,
        'chaos.example/forged': 'true',
      },
      annotations: { 'kubernetes.io/peer-advertise-address': address },
    },
    spec: {
      holderIdentity: `${name}_forged`,
      leaseDurationSeconds: 3600,
      renewTime: new Date().toISOString().replace('Z', '000Z'),
    },
  };
}

/** Creates the Leases at one server, this many at a time. */
export async function createLeases(scene: Scene, leases: readonly ForgedLease[]): Promise<void> {
  const { plane } = scene.mixed;
  const client = createHttp2Client(plane.server('new-1').url, readFileSync(plane.caFile, 'utf8'));
  const path = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
  const left = [...leases];
  const work = async () => {
    for (let lease = left.pop(); lease !== undefined; lease = left.pop()) {
      const body = JSON.stringify(leaseOf(lease));
      await client.ask({ method: 'POST', path, token: plane.tokens.admin, body }, 30_000);
    }
  };
  await Promise.all(Array.from({ length: 32 }, work));
  client.close();
}

/** Removes all of them. A server takes longer for 10,000 Leases than one request may last. */
export async function removeForged(scene: Scene): Promise<void> {
  const { plane } = scene.mixed;
  const client = createHttp2Client(plane.server('new-1').url, readFileSync(plane.caFile, 'utf8'));
  const ask = (method: string, query: string) =>
    client.ask(
      { method, path: `${leasesPath}?labelSelector=chaos.example%2Fforged%3Dtrue${query}`, token: plane.tokens.admin },
      90_000,
    );
  const isRemoved = async () => {
    await ask('DELETE', '');
    const { status, text } = await ask('GET', '&limit=1');
    return status === 200 && (JSON.parse(text) as { readonly items: readonly object[] }).items.length === 0;
  };
  try {
    await waitUntil('the forged Leases to be removed', isRemoved, { boundMs: 300_000, everyMs: 500 });
  } finally {
    client.close();
  }
}

const leasesPath = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;

function forge(name: string, holdMs: number, leases: (scene: Scene) => readonly ForgedLease[]): Fault {
  return {
    name,
    touches: ['leases'],
    holdMs,
    strike: (scene) => createLeases(scene, leases(scene)),
    heal: removeForged,
  };
}

/**
 * The Leases look as if kube-apiservers on hosts of these names wrote them, so the operator takes each one for a
 * server.
 */
const manyServers = (count: number) => () =>
  Array.from({ length: count }, (_, at) => ({
    name: identityLeaseName(`many-${at}`),
    hostname: `many-${at}`,
    address: `10.77.${10 + (at % 20)}.${at % 250}:6443`,
  }));

const many = (count: number) => () =>
  Array.from({ length: count }, (_, at) => ({
    name: `apiserver-many${at}`,
    hostname: `many-${at}`,
    address: `10.77.9.${at % 250}:6443`,
  }));

/** Identity Leases that were not written by a kube-apiserver. */
export const leaseFaults: readonly Fault[] = [
  forge('forged Leases with hostile addresses', 8_000, () =>
    [
      '169.254.169.254:80',
      '[64:ff9b::169.254.169.254]:80',
      '127.0.0.1:2379',
      '[::1]:6443',
      'nonsense',
      '10.77.0.11:99999',
    ].map((address, at) => ({ name: `apiserver-forged${at}`, hostname: `forged-${at}`, address })),
  ),
  forge('a forged Lease has the hostname of another server, and the address of a third', 10_000, (scene) => [
    { name: 'apiserver-forgedtwin', hostname: 'new-1', address: `${addressOf(scene, 'old-1')}:6443` },
  ]),
  forge('a forged Lease has the hostname and the address of another server', 10_000, (scene) => [
    { name: 'apiserver-forgedsame', hostname: 'new-1', address: `${addressOf(scene, 'new-1')}:6443` },
  ]),
  forge('1,000 forged Leases', 8_000, many(1_000)),
  forge('10,000 forged Leases', 15_000, many(10_000)),
  forge('2,000 forged Leases of servers that do not exist', 15_000, manyServers(2_000)),
];
