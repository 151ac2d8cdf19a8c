import { inlined, makeAuthority } from '../plane/certificates.ts';
import { certificateFaults } from './certificate-faults.ts';
import { dateFaults } from './date-faults.ts';
import { leaseFaults } from './lease-faults.ts';
import {
  dropPackets,
  endDrops,
  everyServer,
  type Fault,
  groupIds,
  must,
  nothingToMend,
  type Program,
  packetsTo,
  ready,
  type Scene,
  servers,
} from './scene.ts';
import { starvedFaults } from './starved-faults.ts';

function serverFaults(name: string): readonly Fault[] {
  const touches = [`server ${name}`];
  const server = (scene: Scene) => scene.mixed.plane.server(name);
  const restart = async (scene: Scene) => {
    await server(scene).start();
    scene.mark(name, true);
  };
  const away = (scene: Scene) => scene.mark(name, false);
  /** `rules` gets an expression that matches every packet of our programs to the server. */
  const dropping = (what: string, rules: (toServer: string) => readonly string[]): Fault => ({
    name: what,
    touches: [...touches, 'packets'],
    holdMs: 15_000,
    async strike(scene) {
      away(scene);
      await dropPackets(scene, rules(packetsTo(scene, name)));
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

const allServersFaults: readonly Fault[] = [
  {
    name: 'all servers are killed at once and restarted',
    touches: everyServer,
    holdMs: 3_000,
    async strike(scene) {
      for (const name of servers) scene.mark(name, false);
      await Promise.all(servers.map((name) => scene.mixed.plane.server(name).kill()));
    },
    async heal(scene) {
      await Promise.all(servers.map((name) => scene.mixed.plane.server(name).start()));
      for (const name of servers) await ready(scene, name);
    },
  },
];

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
    name: 'the operators cannot reach any server',
    touches: ['operators', 'packets'],
    holdMs: 25_000,
    strike: (scene) =>
      dropPackets(scene, [`meta skgid { ${groupIds['operator-1']}, ${groupIds['operator-2']} } tcp dport 6443 drop`]),
    heal: endDrops,
  },
];

/** One of our programs and a server cannot reach each other; all other paths work. */
function between(who: string, from: readonly Program[], name: string): Fault {
  return {
    name: `packets between ${who} and ${name} are dropped`,
    touches: ['operators', ...from, `server ${name}`, 'packets'],
    holdMs: 15_000,
    async strike(scene) {
      scene.mark(name, false);
      await dropPackets(scene, [`${packetsTo(scene, name, from)} drop`]);
    },
    async heal(scene) {
      await endDrops(scene);
      await ready(scene, name);
    },
  };
}

const halfReached: readonly Fault[] = servers.flatMap((name) => [
  between('the operators', ['operator-1', 'operator-2'], name),
  between('the proxies', ['proxy-1', 'proxy-2'], name),
]);

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

/** The label of the table's ConfigMaps. */
export const tableLabel = 'peerdiscovery.dev/routing-table=peerdiscovery-cluster';
const tableHead = 'configmap/peerdiscovery-cluster';
/** The namespace of the table's ConfigMaps. */
export const tableNamespace = 'peerdiscovery-system';
const namespaced = ['-n', tableNamespace];

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
    name: 'the table names an old revision',
    touches: ['table'],
    holdMs: 8_000,
    async strike(scene) {
      await must(scene, ['patch', tableHead, ...namespaced, '--type=merge', '-p', '{"data":{"revision":"1"}}']);
    },
    heal: nothingToMend,
  },
  {
    name: 'the table is half-written: its head exists, its shards do not',
    touches: ['table'],
    holdMs: 8_000,
    async strike(scene) {
      const { data } = JSON.parse(await must(scene, ['get', tableHead, ...namespaced, '-o', 'json']));
      const shards = (JSON.parse(data.shards) as { readonly name: string }[]).map(({ name }) => name);
      await must(scene, ['delete', 'configmap', ...namespaced, ...shards, '--wait=false', '--ignore-not-found']);
    },
    heal: nothingToMend,
  },
  {
    name: 'the table is half-written: its head names a shard that does not exist yet',
    touches: ['table'],
    holdMs: 8_000,
    async strike(scene) {
      const { data } = JSON.parse(await must(scene, ['get', tableHead, ...namespaced, '-o', 'json']));
      const shards = JSON.stringify([{ name: 'peerdiscovery-cluster-0000000000-0', sha256: '0'.repeat(64) }]);
      const next = { revision: `${Number(data.revision) + 1}`, sha256: '0'.repeat(64), shards };
      await must(scene, ['patch', tableHead, ...namespaced, '--type=merge', '-p', JSON.stringify({ data: next })]);
    },
    heal: nothingToMend,
  },
  {
    name: 'the table is restored from an old backup that lists less',
    touches: ['table'],
    holdMs: 8_000,
    async strike(scene) {
      await must(scene, ['apply', '--server-side', '--force-conflicts', '-f', '-'], scene.firstTable);
    },
    heal: nothingToMend,
  },
  {
    name: 'the table is restored from a backup while no operator runs',
    touches: ['table', 'operators'],
    holdMs: 15_000,
    async strike(scene) {
      await Promise.all([scene.signal('operator-1', 'SIGKILL'), scene.signal('operator-2', 'SIGKILL')]);
      await must(scene, ['apply', '--server-side', '--force-conflicts', '-f', '-'], scene.firstTable);
    },
    async heal(scene) {
      await Promise.all([scene.start('operator-1'), scene.start('operator-2')]);
    },
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
    name: 'the CRD is deleted and created again',
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

/** Mistakes that an administrator can make in a PeerDiscovery and that the API server accepts. */
function edited(what: string, spec: object | ((scene: Scene) => object), refusesAll: boolean): Fault {
  return {
    name: `PeerDiscovery is edited: ${what}`,
    touches: ['objects', 'table', ...(refusesAll ? everyServer : [])],
    holdMs: 15_000,
    async strike(scene) {
      // If the object trusts no server, none is fit.
      if (refusesAll) for (const name of servers) scene.mark(name, false);
      const patch = JSON.stringify({ spec: typeof spec === 'function' ? spec(scene) : spec });
      await must(scene, ['patch', 'peerdiscovery', 'cluster', '--type=merge', '-p', patch]);
    },
    async heal(scene) {
      const good = JSON.parse(peerDiscovery('cluster'));
      await must(scene, ['replace', '-f', '-'], JSON.stringify(good));
      if (refusesAll) for (const name of servers) await ready(scene, name);
    },
  };
}

const editFaults: readonly Fault[] = [
  edited('its selector matches no Lease', { leases: { labelSelector: 'chaos.example/none=true' } }, true),
  edited('its Lease namespace holds no Leases', { leases: { namespace: 'default' } }, true),
  edited(
    'its caBundle holds an authority that signed no certificate',
    ({ folder }) => ({ tls: { caBundle: inlined(makeAuthority(folder, 'nobody').cert) } }),
    true,
  ),
  edited('no certificate has its serverName', { tls: { serverName: 'nobody.example' } }, true),
  edited('its allowedCIDRs contain no address of a server', { addresses: { allowedCIDRs: ['192.0.2.0/24'] } }, true),
  edited(
    'it swaps the addresses of two servers',
    {
      addresses: {
        static: [
          { peer: 'old-1', address: '10.77.0.12:6443' },
          { peer: 'new-1', address: '10.77.0.11:6443' },
        ],
      },
    },
    false,
  ),
  edited(
    'it gives one address to two servers',
    { addresses: { static: [{ peer: 'old-1', address: '10.77.0.12:6443' }] } },
    false,
  ),
];

/** All faults. */
export const faults: readonly Fault[] = [
  ...servers.flatMap(serverFaults),
  ...allServersFaults,
  ...etcdFaults,
  ...operatorFaults,
  ...proxyFaults('proxy-1'),
  ...proxyFaults('proxy-2'),
  ...tableFaults,
  ...objectFaults,
  ...halfReached,
  ...editFaults,
  ...leaseFaults,
  ...certificateFaults,
  ...starvedFaults,
  ...dateFaults,
];

/**
 * Applies both faults at once; the one with the longer hold decides.
 *
 * A fault that stops etcd strikes last and heals first, because the other may need the API for both.
 */
export function pair(first: Fault, second: Fault): Fault {
  const [early, late] = first.touches.includes('etcd') ? [second, first] : [first, second];
  const inTurn = late.touches.includes('etcd');
  return {
    name: `${first.name}, and ${second.name}`,
    touches: [...first.touches, ...second.touches],
    holdMs: Math.max(first.holdMs, second.holdMs),
    async strike(scene) {
      const struck = early.strike(scene);
      if (inTurn) await struck;
      await Promise.all([struck, late.strike(scene)]);
    },
    async heal(scene) {
      const healed = late.heal(scene);
      if (inTurn) await healed;
      await Promise.all([healed, early.heal(scene)]);
    },
  };
}
