import { issue, makeAuthority } from '../certificates.ts';
import type { MixedPlane } from '../mixed-plane.ts';
import { waitUntil } from '../wait-until.ts';

/** What faults act on. */
export interface Scene {
  readonly mixed: MixedPlane;
  /** A folder for what faults need. */
  readonly folder: string;
  /** Says whether a server or a proxy is fit for work from now on. */
  mark(name: string, fit: boolean): void;
  /** kubectl with all rights at the first server that is fit. */
  kubectl(args: readonly string[], input?: string): Promise<{ code: number; stdout: string; stderr: string }>;
  /** Starts a program of ours again, by its name, with a command before it if one is given. */
  start(name: Program, by?: readonly string[]): Promise<void>;
  /** Sends a program of ours a signal; resolves when it has ended if the signal ends it. */
  signal(name: Program, signal: NodeJS.Signals): Promise<void>;
  /** The operator that leads, by its log. */
  leader(): Program;
}

/** Our programs in the laboratory. */
export type Program = 'operator-1' | 'operator-2' | 'proxy-1' | 'proxy-2';

/** Group of each program's process, by which packets are told apart. */
export const groupIds: Readonly<Record<Program, number>> = {
  'operator-1': 7001,
  'operator-2': 7002,
  'proxy-1': 7003,
  'proxy-2': 7004,
};

/** One thing that breaks, and how it is mended. */
export interface Fault {
  readonly name: string;
  /** What it touches: two faults at once share nothing. */
  readonly touches: readonly string[];
  readonly holdMs: number;
  strike(scene: Scene): Promise<void>;
  heal(scene: Scene): Promise<void>;
}

const servers = ['old-1', 'new-1', 'new-2'] as const;
const everyServer = servers.map((name) => `server ${name}`);

async function must(scene: Scene, args: readonly string[], input?: string): Promise<string> {
  let said = '';
  return waitUntil(
    `kubectl ${args.join(' ')}`,
    async () => {
      const { code, stdout, stderr } = await scene.kubectl(args, input);
      said = stderr;
      return code === 0 ? stdout || ' ' : undefined;
    },
    { everyMs: 500, seen: () => said },
  );
}

async function ready(scene: Scene, name: string): Promise<void> {
  const { plane } = scene.mixed;
  const { url } = plane.server(name);
  const probe = [
    '-s',
    '--max-time',
    '3',
    '--cacert',
    plane.caFile,
    '-H',
    `Authorization: Bearer ${plane.tokens.admin}`,
  ];
  await waitUntil(
    `${name} to be ready`,
    async () => (await plane.exec('curl', [...probe, `${url}/readyz`])).stdout === 'ok',
  );
  scene.mark(name, true);
}

function serverFaults(name: string): readonly Fault[] {
  const touches = [`server ${name}`];
  const server = (scene: Scene) => scene.mixed.plane.server(name);
  const restart = async (scene: Scene) => {
    await server(scene).start();
    scene.mark(name, true);
  };
  const away = (scene: Scene) => scene.mark(name, false);
  /** `rules` get what matches every packet of our programs to the server. */
  const dropping = (what: string, rules: (toServer: string) => readonly string[]): Fault => ({
    name: what,
    touches: [...touches, 'packets'],
    holdMs: 15_000,
    async strike(scene) {
      away(scene);
      const ours = Object.values(groupIds).join(', ');
      await dropPackets(scene, rules(`ip daddr ${addressOf(scene, name)} meta skgid { ${ours} }`));
    },
    async heal(scene) {
      await endDrops(scene);
      await ready(scene, name);
    },
  });
  return [
    {
      name: `${name} is killed and restarted`,
      touches,
      holdMs: 6_000,
      async strike(scene) {
        away(scene);
        await server(scene).kill();
      },
      heal: restart,
    },
    {
      name: `${name} is stopped cleanly and restarted`,
      touches,
      holdMs: 4_000,
      async strike(scene) {
        away(scene);
        await server(scene).stop();
      },
      heal: restart,
    },
    {
      name: `${name} hangs (SIGSTOP)`,
      touches,
      holdMs: 15_000,
      async strike(scene) {
        away(scene);
        server(scene).pause('server');
      },
      async heal(scene) {
        server(scene).resume('server');
        await ready(scene, name);
      },
    },
    dropping(`packets to ${name} are dropped`, (toServer) => [`${toServer} drop`]),
    dropping(`answers of ${name} are dropped`, (toServer) => [
      `${toServer} ct mark set 7`,
      'ct direction reply ct mark 7 drop',
    ]),
  ];
}

function addressOf(scene: Scene, name: string): string {
  const { address } = scene.mixed.plane.server(name);
  return address.slice(0, address.lastIndexOf(':'));
}

async function dropPackets(scene: Scene, rules: readonly string[]): Promise<void> {
  const chain = ['type filter hook output priority 0', ...rules].join('\n');
  const { code, stderr } = await scene.mixed.plane.exec('nft', ['-f', '-'], {
    input: `table inet chaos {\nchain output {\n${chain}\n}\n}\n`,
  });
  if (code !== 0) throw new Error(`nft: ${stderr}`);
}

async function endDrops(scene: Scene): Promise<void> {
  await scene.mixed.plane.exec('nft', ['delete', 'table', 'inet', 'chaos']);
}

const etcdFaults: readonly Fault[] = [
  {
    name: 'etcd stops for 10 s',
    touches: ['etcd', ...everyServer],
    holdMs: 10_000,
    async strike(scene) {
      for (const name of servers) scene.mark(name, false);
      scene.mixed.plane.pauseEtcd();
    },
    async heal(scene) {
      scene.mixed.plane.resumeEtcd();
      for (const name of servers) await ready(scene, name);
    },
  },
  {
    name: 'etcd stutters (0.3 s of every 0.6 s)',
    touches: ['etcd', ...everyServer],
    holdMs: 0,
    async strike(scene) {
      for (let turn = 0; turn < 20; turn++) {
        scene.mixed.plane.pauseEtcd();
        await new Promise((resolve) => setTimeout(resolve, 300));
        scene.mixed.plane.resumeEtcd();
        await new Promise((resolve) => setTimeout(resolve, 300));
      }
    },
    async heal(scene) {
      for (const name of servers) await ready(scene, name);
    },
  },
];

const operatorFaults: readonly Fault[] = [
  (() => {
    let killed: Program = 'operator-1';
    return {
      name: 'the leading operator is killed',
      touches: ['operators'],
      holdMs: 5_000,
      async strike(scene: Scene) {
        killed = scene.leader();
        await scene.signal(killed, 'SIGKILL');
      },
      heal: (scene: Scene) => scene.start(killed),
    };
  })(),
  (() => {
    let paused: Program = 'operator-1';
    return {
      name: 'the leading operator is paused past its Lease',
      touches: ['operators'],
      holdMs: 25_000,
      async strike(scene: Scene) {
        paused = scene.leader();
        await scene.signal(paused, 'SIGSTOP');
      },
      heal: (scene: Scene) => scene.signal(paused, 'SIGCONT'),
    };
  })(),
  {
    name: 'both operators are gone for 45 s',
    touches: ['operators'],
    holdMs: 45_000,
    async strike(scene) {
      await Promise.all([scene.signal('operator-1', 'SIGKILL'), scene.signal('operator-2', 'SIGKILL')]);
    },
    async heal(scene) {
      await Promise.all([scene.start('operator-1'), scene.start('operator-2')]);
    },
  },
  {
    name: 'the operators reach no server',
    touches: ['operators', 'packets'],
    holdMs: 25_000,
    strike: (scene) =>
      dropPackets(scene, [`meta skgid { ${groupIds['operator-1']}, ${groupIds['operator-2']} } tcp dport 6443 drop`]),
    heal: endDrops,
  },
];

function proxyFaults(name: 'proxy-1' | 'proxy-2'): readonly Fault[] {
  const touches = [name];
  const gone = (signal: NodeJS.Signals) => async (scene: Scene) => {
    scene.mark(name, false);
    await scene.signal(name, signal);
  };
  return [
    {
      name: `${name} is killed and restarted`,
      touches,
      holdMs: 2_000,
      strike: gone('SIGKILL'),
      heal: (scene) => scene.start(name),
    },
    {
      name: `${name} is drained and restarted`,
      touches,
      holdMs: 0,
      strike: gone('SIGTERM'),
      heal: (scene) => scene.start(name),
    },
    {
      name: `${name} has 64 descriptors`,
      touches,
      holdMs: 10_000,
      async strike(scene) {
        await gone('SIGTERM')(scene);
        await scene.start(name, ['prlimit', '--nofile=64', '--']);
        scene.mark(name, false);
      },
      async heal(scene) {
        await gone('SIGKILL')(scene);
        await scene.start(name);
      },
    },
  ];
}

const tableLabel = 'peerdiscovery.dev/routing-table=peerdiscovery-cluster';
const tableHead = 'configmap/peerdiscovery-cluster';
const namespaced = ['-n', 'peerdiscovery-system'];
const nothingToMend = async () => {};

const tableFaults: readonly Fault[] = [
  {
    name: 'the table is deleted',
    touches: ['table'],
    holdMs: 8_000,
    async strike(scene) {
      await must(scene, ['delete', 'configmap', ...namespaced, '-l', tableLabel, '--wait=false']);
    },
    heal: nothingToMend,
  },
  {
    name: 'the table is damaged',
    touches: ['table'],
    holdMs: 8_000,
    async strike(scene) {
      await must(scene, [
        'patch',
        tableHead,
        ...namespaced,
        '--type=merge',
        '-p',
        '{"data":{"sha256":"0000","shards":"["}}',
      ]);
    },
    heal: nothingToMend,
  },
  {
    name: 'the table says an old revision',
    touches: ['table'],
    holdMs: 8_000,
    async strike(scene) {
      await must(scene, ['patch', tableHead, ...namespaced, '--type=merge', '-p', '{"data":{"revision":"1"}}']);
    },
    heal: nothingToMend,
  },
  {
    name: 'the table lists no server',
    touches: ['table'],
    holdMs: 8_000,
    async strike(scene) {
      await must(scene, ['patch', tableHead, ...namespaced, '--type=merge', '-p', '{"data":{"shards":"[]"}}']);
    },
    heal: nothingToMend,
  },
  {
    name: 'the Lease that confirms the table is deleted',
    touches: ['table'],
    holdMs: 5_000,
    async strike(scene) {
      await must(scene, ['delete', 'lease', 'peerdiscovery-cluster', ...namespaced, '--wait=false']);
    },
    heal: nothingToMend,
  },
];

const peerDiscovery = (name: string) =>
  JSON.stringify({
    apiVersion: 'peerdiscovery.dev/v1alpha1',
    kind: 'PeerDiscovery',
    metadata: { name },
    spec: { mode: 'Route', routingTable: { name: 'peerdiscovery-cluster' } },
  });

const objectFaults: readonly Fault[] = [
  {
    name: 'the CRD is deleted and made again',
    touches: ['objects', 'table', 'operators'],
    holdMs: 5_000,
    async strike(scene) {
      await must(scene, ['delete', 'crd', 'peerdiscoveries.peerdiscovery.dev', '--wait=false']);
    },
    async heal(scene) {
      await must(scene, ['apply', '-k', 'crds']);
      await must(scene, ['wait', '--for=condition=Established', 'crd/peerdiscoveries.peerdiscovery.dev']);
      await must(scene, ['apply', '-f', '-'], peerDiscovery('cluster'));
    },
  },
  {
    name: 'a second PeerDiscovery names the same table',
    touches: ['objects', 'table'],
    holdMs: 8_000,
    async strike(scene) {
      await must(scene, ['apply', '-f', '-'], peerDiscovery('second'));
    },
    async heal(scene) {
      await must(scene, ['delete', 'peerdiscovery', 'second', '--ignore-not-found']);
    },
  },
];

interface ForgedLease {
  readonly name: string;
  readonly hostname: string;
  readonly address: string;
}

function leaseList(leases: readonly ForgedLease[]): string {
  const renewTime = new Date().toISOString().replace('Z', '000Z');
  const items = leases.map(({ name, hostname, address }) => ({
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: {
      name,
      namespace: 'kube-system',
      labels: {
        'apiserver.kubernetes.io/identity': 'kube-apiserver',
        'kubernetes.io/hostname': hostname,
        'chaos.example/forged': 'true',
      },
      annotations: { 'kubernetes.io/peer-advertise-address': address },
    },
    spec: { holderIdentity: `${name}_forged`, leaseDurationSeconds: 3600, renewTime },
  }));
  return JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
}

const removeForged = async (scene: Scene) => {
  await must(scene, ['delete', 'lease', '-n', 'kube-system', '-l', 'chaos.example/forged=true', '--wait=false']);
};

const leaseFaults: readonly Fault[] = [
  {
    name: 'forged Leases with hostile addresses, and one with the name of another server',
    touches: ['leases'],
    holdMs: 8_000,
    async strike(scene) {
      const addresses = ['169.254.169.254:80', '127.0.0.1:2379', '[::1]:6443', 'nonsense', '10.77.0.11:99999'];
      const hostile = addresses.map((address, at) => ({
        name: `apiserver-forged${at}`,
        hostname: `forged-${at}`,
        address,
      }));
      const twin = { name: 'apiserver-forgedtwin', hostname: 'new-1', address: addressOf(scene, 'old-1') };
      await must(scene, ['create', '-f', '-'], leaseList([...hostile, twin]));
    },
    heal: removeForged,
  },
  {
    name: '1,000 forged Leases',
    touches: ['leases'],
    holdMs: 8_000,
    async strike(scene) {
      const many = Array.from({ length: 1_000 }, (_, at) => ({
        name: `apiserver-many${at}`,
        hostname: `many-${at}`,
        address: `10.77.9.${at % 250}:6443`,
      }));
      await scene.kubectl(['create', '-f', '-'], leaseList(many));
    },
    heal: removeForged,
  },
];

const certificateFaults: readonly Fault[] = [
  {
    name: 'new-2 shows a certificate of an unknown authority',
    touches: ['server new-2'],
    holdMs: 10_000,
    async strike(scene) {
      scene.mark('new-2', false);
      const { plane } = scene.mixed;
      const path = plane.issueServingCert('new-2', ['kubernetes.default.svc'], [addressOf(scene, 'new-2')]);
      const stranger = makeAuthority(scene.folder, 'stranger');
      const names = ['DNS:kubernetes.default.svc', `IP:${addressOf(scene, 'new-2')}`];
      issue(path.cert.slice(0, path.cert.lastIndexOf('/')), 'serving-new-2', stranger, '/CN=new-2', names);
    },
    async heal(scene) {
      const { plane } = scene.mixed;
      plane.issueServingCert('new-2', ['kubernetes.default.svc', 'kubernetes', 'new-2'], [addressOf(scene, 'new-2')]);
      await ready(scene, 'new-2');
    },
  },
  {
    name: 'the certificate of the proxies is rotated',
    touches: ['proxy certificate'],
    holdMs: 5_000,
    async strike(scene) {
      scene.mixed.plane.issueServingCert('proxy', ['localhost'], ['10.77.0.30', '10.77.0.31']);
    },
    heal: nothingToMend,
  },
];

/** Every fault that there is. */
export const faults: readonly Fault[] = [
  ...servers.flatMap(serverFaults),
  ...etcdFaults,
  ...operatorFaults,
  ...proxyFaults('proxy-1'),
  ...proxyFaults('proxy-2'),
  ...tableFaults,
  ...objectFaults,
  ...leaseFaults,
  ...certificateFaults,
];

/** Both faults at once; the one with the longer hold decides. */
export function pair(first: Fault, second: Fault): Fault {
  return {
    name: `${first.name}, and ${second.name}`,
    touches: [...first.touches, ...second.touches],
    holdMs: Math.max(first.holdMs, second.holdMs),
    async strike(scene) {
      await Promise.all([first.strike(scene), second.strike(scene)]);
    },
    async heal(scene) {
      await Promise.all([first.heal(scene), second.heal(scene)]);
    },
  };
}
