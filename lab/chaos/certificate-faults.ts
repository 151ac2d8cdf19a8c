import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { issue, makeAuthority } from '../plane/certificates.ts';
import { proxyAddresses } from '../plane/mixed-plane.ts';
import {
  addressOf,
  dropPackets,
  endDrops,
  type Fault,
  nothingToMend,
  packetsTo,
  pause,
  ready,
  type Scene,
} from './scene.ts';

const server = 'new-2';
const goodNames = ['kubernetes.default.svc', 'kubernetes', server];
/** A certificate with a validity of zero days expires one second after it was made. */
const noDays = '0';

/** Ends every connection between our programs and the server, so that the server must show its certificate again. */
async function resetConnections(scene: Scene): Promise<void> {
  await dropPackets(scene, [`${packetsTo(scene, server)} ip protocol tcp reject with tcp reset`]);
  await pause(1_500);
  await endDrops(scene);
}

function shows(what: string, replace: (scene: Scene) => void): Fault {
  return {
    name: `${server} shows a certificate ${what}`,
    touches: [`server ${server}`, 'packets'],
    holdMs: 10_000,
    async strike(scene) {
      scene.mark(server, false);
      replace(scene);
      // kube-apiserver reloads it within about a second.
      await pause(1_500);
      await resetConnections(scene);
    },
    async heal(scene) {
      scene.mixed.plane.issueServingCert(server, goodNames, [addressOf(scene, server)]);
      await ready(scene, server);
    },
  };
}

/** A kubeconfig with an expired client certificate, for the operators. */
function writeExpiredKubeconfig(scene: Scene): string {
  const { plane } = scene.mixed;
  const { cert, key } = plane.issueClientCert('expired-operator', '/O=system:masters/CN=operator', noDays);
  const inline = (path: string) => readFileSync(path).toString('base64');
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'expired',
    clusters: [
      {
        name: 'expired',
        cluster: { server: plane.server('old-1').url, 'certificate-authority-data': inline(plane.caFile) },
      },
    ],
    users: [{ name: 'expired', user: { 'client-certificate-data': inline(cert), 'client-key-data': inline(key) } }],
    contexts: [{ name: 'expired', context: { cluster: 'expired', user: 'expired' } }],
  };
  const path = join(scene.folder, 'expired.kubeconfig');
  writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
  return path;
}

/** Rotates the serving certificate of the proxies. */
export const issueForProxies = (scene: Scene, validDays?: string) =>
  void scene.mixed.plane.issueServingCert('proxy', ['localhost'], proxyAddresses, validDays);

/** Certificates that are rotated, untrusted or expired. */
export const certificateFaults: readonly Fault[] = [
  shows('from an unknown authority', (scene) => {
    const { plane } = scene.mixed;
    const { cert } = plane.issueServingCert(server, goodNames, [addressOf(scene, server)]);
    const stranger = makeAuthority(scene.folder, 'stranger');
    const names = [...goodNames.map((name) => `DNS:${name}`), `IP:${addressOf(scene, server)}`];
    issue(dirname(cert), `serving-${server}`, stranger, `/CN=${server}`, names);
  }),
  shows('for a wrong name', (scene) => {
    scene.mixed.plane.issueServingCert(server, ['nobody.example'], ['192.0.2.1']);
  }),
  shows('that has expired', (scene) => {
    scene.mixed.plane.issueServingCert(server, goodNames, [addressOf(scene, server)], noDays);
  }),
  {
    name: 'the certificate of the proxies is rotated',
    touches: ['proxy-1', 'proxy-2'],
    holdMs: 5_000,
    strike: async (scene) => issueForProxies(scene),
    heal: nothingToMend,
  },
  {
    name: 'the certificate of the proxies expires, and is then rotated',
    touches: ['proxy-1', 'proxy-2'],
    holdMs: 8_000,
    async strike(scene) {
      for (const proxy of ['proxy-1', 'proxy-2']) scene.mark(proxy, false);
      issueForProxies(scene, noDays);
    },
    async heal(scene) {
      issueForProxies(scene);
      for (const proxy of ['proxy-1', 'proxy-2']) scene.mark(proxy, true);
    },
  },
  {
    name: 'the client certificate of the operators has expired',
    touches: ['operators'],
    holdMs: 35_000,
    async strike(scene) {
      const flags = ['--kubeconfig', writeExpiredKubeconfig(scene)];
      for (const name of ['operator-1', 'operator-2'] as const) {
        await scene.signal(name, 'SIGKILL');
        await scene.start(name, [], flags);
      }
    },
    async heal(scene) {
      for (const name of ['operator-1', 'operator-2'] as const) {
        await scene.signal(name, 'SIGKILL');
        await scene.start(name);
      }
    },
  },
];
