import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import type { ControlPlane } from '../../lab/plane/control-plane.ts';
import { startFakePod } from '../../lab/plane/fake-pod.ts';
import { type MixedPlane, secondProxyAddress, startMixedPlane } from '../../lab/plane/mixed-plane.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import type { PeerDiscovery } from '../../src/api/peer-discovery.ts';
import {
  type Access,
  type Ended,
  type SteadyClient,
  type SteadyWatcher,
  startSteadyClient,
  startSteadyWatcher,
} from '../support/steady-client.ts';
import { createWireClient } from '../support/wire-client.ts';

const maps = '/api/v1/namespaces/default/configmaps';
/** APIs of 1.36 that 1.35 lacks, and one that only the 1.35 server is told to serve. */
const ofNew = '/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies';
const ofOld = '/apis/coordination.k8s.io/v1beta1/leasecandidates';
/** Five seconds, plus two for a busy machine. */
const boundMs = 7_000;
/** The additional time that a whole `kubectl exec` may take. */
const execBoundMs = 12_000;

/** The fault of one server, and its duration. */
interface Fault {
  readonly title: string;
  /** True if home hangs, false if the other server is away. */
  readonly hung: boolean;
  readonly seconds: number;
  /** A read that only this server can answer. */
  readonly lost: 'read of old' | 'read of new';
  /** True for an answer that only this fault excuses. */
  readonly excuses?: (one: Ended) => boolean;
  begin(plane: ControlPlane): unknown;
  /** Resolves when the server can be ready again. */
  end(plane: ControlPlane): unknown;
}

const faults: readonly Fault[] = [
  {
    title: 'the etcd that home alone speaks to is paused',
    hung: true,
    seconds: 9,
    lost: 'read of old',
    begin: (plane) => plane.server('old-1').pause('etcd'),
    end: (plane) => plane.server('old-1').resume('etcd'),
  },
  {
    // As kubeadm restarts the etcd of a machine. Home is ready again before it answers reads of every kind.
    title: 'the etcd that home alone speaks to is killed and started again',
    hung: true,
    seconds: 28,
    lost: 'read of old',
    // Home answers the last requests with its etcd's own error. For what it alone serves, a client has to wait.
    excuses: ({ what, status, text }) =>
      status === 500
        ? /"(etcdserver: |rpc error: code = Unavailable )/.test(text)
        : what === 'read of old' && status === 200,
    begin: (plane) => plane.server('old-1').killEtcd(),
    end: (plane) => plane.server('old-1').startEtcd(),
  },
  {
    title: 'every packet to home is dropped',
    hung: true,
    seconds: 9,
    lost: 'read of old',
    begin: (plane) => plane.server('old-1').pause('network'),
    end: (plane) => plane.server('old-1').resume('network'),
  },
  {
    title: 'the process of home is stopped, and then replaced',
    hung: true,
    seconds: 9,
    lost: 'read of old',
    begin: (plane) => plane.server('old-1').pause('server'),
    end: async (plane) => {
      await plane.server('old-1').kill();
      await plane.server('old-1').startWith(['--anonymous-auth=false']);
    },
  },
  {
    title: 'the etcd is paused of a home that refuses anonymous requests',
    hung: true,
    seconds: 9,
    lost: 'read of old',
    begin: (plane) => plane.server('old-1').pause('etcd'),
    end: (plane) => plane.server('old-1').resume('etcd'),
  },
  {
    title: 'the other server is killed and started again',
    hung: false,
    seconds: 0,
    lost: 'read of new',
    begin: (plane) => plane.server('new-1').kill(),
    end: (plane) => plane.server('new-1').start(),
  },
];

/** Operator and proxies start with `old-1` as their API server. It is also the home of the pinned proxy. */
describe('requests through proxies with one hung server', function () {
  this.timeout(240_000);
  let mixed: MixedPlane;
  let accesses: readonly (Access & { readonly name: string })[];
  /** The reader's kubeconfigs for the pinned proxy and for the roaming one. */
  let kubeconfigs: readonly string[];

  before(async () => {
    mixed = await startMixedPlane({
      servers: [
        { name: 'old-1', version: '1.35', ownEtcd: true, runtimeConfig: 'coordination.k8s.io/v1beta1=true' },
        { name: 'new-1', version: '1.36' },
      ],
      home: 'old-1',
      log: () => {},
    });
    await startFakePod(mixed);
    await prepareObjects();
    mixed.startOperator();
    mixed.startProxy();
    const elsewhere = ['--bind-address', secondProxyAddress, '--health-bind-address', '0'];
    mixed.startProxy(elsewhere, { name: 'roaming-proxy', pinned: false });
    const ca = readFileSync(mixed.plane.caFile, 'utf8');
    const { reader: token } = mixed.plane.tokens;
    const proxies = { pinned: mixed.proxyUrl, roaming: `https://${secondProxyAddress}:6443` };
    kubeconfigs = Object.entries(proxies).map(([name, server]) => mixed.plane.kubeconfig({ server, token, name }));
    accesses = Object.entries(proxies).flatMap(([name, url]) =>
      (['http1', 'http2'] as const).map((protocol) => ({ name: `${name}-${protocol}`, url, ca, token, protocol })),
    );
    await allReady();
  });

  after(() => mixed?.stop());

  afterEach(function () {
    if (this.currentTest?.state === 'failed') process.stdout.write(`${mixed?.plane.logTails(25)}\n`);
  });

  /** The reader's rights come from RBAC, which a server that has just started has not read yet. */
  async function prepareObjects(): Promise<void> {
    const apiVersion = 'rbac.authorization.k8s.io/v1';
    const subject = { kind: 'User', name: 'reader', apiGroup: 'rbac.authorization.k8s.io' };
    const roleRef = { kind: 'ClusterRole', name: 'cluster-admin', apiGroup: 'rbac.authorization.k8s.io' };
    const metadata = { name: 'reader' };
    const binding = { apiVersion, kind: 'ClusterRoleBinding', metadata, subjects: [subject], roleRef };
    const { code, stderr } = await mixed.kubectl('old-1', ['create', '-f', '-'], JSON.stringify(binding));
    expect(code, stderr).to.equal(0);
    const known = await mixed.kubectl('old-1', ['create', 'configmap', 'known']);
    expect(known.code, known.stderr).to.equal(0);
  }

  /**
   * Checks both servers at the operator, and resources of only one server at each proxy. Even a server that is out of
   * use at a proxy is asked for what it alone serves, so the home of the pinned proxy is checked by its version, too.
   */
  async function allReady(): Promise<void> {
    await waitUntil('two ready peers', async () => {
      const states = await statesAt('old-1');
      return states['old-1'] === 'Ready' && states['new-1'] === 'Ready';
    });
    const asked = accesses.flatMap((access) => [ofNew, ofOld].map((path) => ({ access, path })));
    await Promise.all(
      asked.map(({ access, path }) =>
        waitUntil(`${path} by ${access.name}`, async () => (await answerOf(access, path))?.status === 200),
      ),
    );
    const [pinned] = accesses;
    if (pinned !== undefined)
      await waitUntil('home to be in use at the pinned proxy', async () => {
        const answer = await answerOf(pinned, '/version');
        const { minor = '' } = JSON.parse(answer?.body.toString() || '{}') as { minor?: string };
        return minor === '35';
      });
  }

  /** The state of each server in the status, read from one of them. */
  async function statesAt(server: string): Promise<Readonly<Record<string, string>>> {
    const { stdout } = await mixed.kubectl(server, ['get', 'peerdiscovery', 'cluster', '-o', 'json']);
    const peers = stdout === '' ? [] : ((JSON.parse(stdout) as PeerDiscovery).status?.peers ?? []);
    return Object.fromEntries(peers.map(({ hostname = '', state }) => [hostname, state]));
  }

  /** The answer to a GET; undefined if there was none. */
  async function answerOf(access: Access, path: string) {
    const client = createWireClient(access);
    const answer = await client[access.protocol]({ path }).catch(() => undefined);
    client.close();
    return answer;
  }

  function startClients(turn: string): SteadyClient[] {
    const headers = ['Content-Type', 'application/json'];
    const body = (name: string) => JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name } });
    return accesses.map((access) =>
      startSteadyClient(
        { ...access, name: `${turn}-${access.name}` },
        {
          read: () => ({ path: `${maps}/known` }),
          'read of new': () => ({ path: ofNew }),
          'read of old': () => ({ path: ofOld }),
          write: (name) => ({ method: 'POST', path: maps, headers, body: body(name) }),
        },
      ),
    );
  }

  async function startWatchers(): Promise<SteadyWatcher[]> {
    const { stdout } = await mixed.kubectl('old-1', ['get', '--raw', `${maps}?limit=1`]);
    const { resourceVersion } = JSON.parse(stdout).metadata as { resourceVersion: string };
    return accesses.map((access) => startSteadyWatcher(access, maps, resourceVersion));
  }

  /** Runs short commands one after another while the fault lasts. Resolves to the errors. */
  async function execOften(kubeconfig: string, until: number): Promise<string[]> {
    const wrong: string[] = [];
    while (Date.now() < until) {
      const startedAt = Date.now();
      const args = ['--kubeconfig', kubeconfig, 'exec', 'web', '--', 'echo', 'here'];
      const { stdout, stderr } = await mixed.plane.exec('kubectl', args);
      const tookMs = Date.now() - startedAt;
      if (stdout !== 'here\n' || tookMs > execBoundMs) wrong.push(`after ${tookMs} ms: ${stdout}${stderr}`);
    }
    return wrong;
  }

  /** Starts an endless `kubectl exec`. Resolves when it has begun. */
  async function startStream(kubeconfig: string, name: string): Promise<ChildProcess> {
    const args = ['--kubeconfig', kubeconfig, 'exec', 'web', '--', 'sh', '-c', 'while sleep 0.2; do echo; done'];
    const stream = mixed.plane.spawn('kubectl', args, { name });
    await waitUntil(`a line of ${name}`, async () => mixed.plane.readLog(name).length > 0);
    return stream;
  }

  /** True if the `exec` continues, because another server serves it, or if it has ended. */
  async function goesOnOrHasEnded(stream: ChildProcess, name: string): Promise<boolean> {
    if (stream.exitCode !== null) return true;
    const before = mixed.plane.readLog(name).length;
    await sleep(1_000);
    return mixed.plane.readLog(name).length > before;
  }

  for (const [at, { title, hung, seconds, lost, excuses, begin, end }] of faults.entries())
    it(`get answers, events and streams within seconds, and nothing wrong, when ${title}`, async () => {
      const { plane } = mixed;
      const turn = `turn${at}`;
      const watchers = await startWatchers();
      const clients = startClients(turn);
      const streams = await Promise.all(
        kubeconfigs.map(async (kubeconfig, which) => {
          const name = `stream-${turn}-${which}`;
          return { name, stream: await startStream(kubeconfig, name) };
        }),
      );
      await begin(plane);
      const begun = Date.now();
      const commands = kubeconfigs.map((kubeconfig) => execOften(kubeconfig, begun + seconds * 1_000));
      if (hung) {
        await sleep(boundMs);
        expect(streams[0]?.stream.exitCode, 'a stream through a hung home ends').to.be.a('number');
        const untilMs = begun + seconds * 1_000 - Date.now();
        await waitUntil('the operator to see it', async () => (await statesAt('new-1'))['old-1'] !== 'Ready', {
          boundMs: untilMs,
        });
      }
      for (const { stream, name } of streams) expect(await goesOnOrHasEnded(stream, name), name).to.equal(true);
      for (const { stream } of streams) stream.kill('SIGKILL');
      await sleep(Math.max(0, begun + seconds * 1_000 - Date.now()));
      await end(plane);
      await allReady();
      const afterAll = Date.now();
      await waitUntil('an answer of all to each client', async () =>
        clients.every(({ ended }) =>
          ended.some(({ what, status, at: asked }) => what === lost && status === 200 && asked > afterAll),
        ),
      );
      await Promise.all(clients.map((client) => client.stop()));
      const ended = clients.flatMap((client) => client.ended);
      const written = ended.filter(({ what, status }) => what === 'write' && status === 201);
      await waitUntil(
        'all events',
        async () => watchers.every(({ added }) => written.every(({ name }) => added.has(name))),
        {
          boundMs,
        },
      );
      await Promise.all(watchers.map((watcher) => watcher.stop()));
      for (const wrong of await Promise.all(commands)) expect(wrong).to.deep.equal([]);
      expectAnswers(
        ended.filter((one) => excuses?.(one) !== true),
        lost,
      );
      expectEvents(watchers, written);
      await expectWrites(ended);
    });

  function expectAnswers(ended: readonly Ended[], lost: string): void {
    const allowed: Readonly<Record<string, readonly number[]>> = {
      read: [200],
      'read of new': [200],
      'read of old': [200],
      write: [201, 504],
      [lost]: [200, 503],
    };
    const wrong = ended.filter(
      (one) => !isOfEtcd(one) && (!allowed[one.what]?.includes(one.status) || one.tookMs > boundMs),
    );
    expect(wrong.map(sayHow)).to.deep.equal([]);
  }

  /** The watch reports every created object once, and soon. */
  function expectEvents(watchers: readonly SteadyWatcher[], written: readonly Ended[]): void {
    for (const { added, repeated, opened } of watchers) {
      expect(repeated).to.deep.equal([]);
      expect(new Set(opened)).to.deep.equal(new Set([200]));
      const late = written.filter(({ name, at, tookMs }) => (added.get(name) ?? 0) - at - tookMs > boundMs);
      expect(late.map(sayHow)).to.deep.equal([]);
    }
  }

  async function expectWrites(ended: readonly Ended[]): Promise<void> {
    const { stdout } = await mixed.kubectl('new-1', ['get', 'configmaps', '-o', 'name']);
    const there = new Set(stdout.split('\n'));
    const lost = ended.filter(
      ({ what, status, name }) => what === 'write' && status === 201 && !there.has(`configmap/${name}`),
    );
    expect(lost.map(sayHow)).to.deep.equal([]);
  }
});

/** The member that is away may have been the leader. The others then answer waiting requests after seven seconds. */
function isOfEtcd({ what, status, text }: Ended): boolean {
  return what === 'write' && status === 500 && text.includes('"etcdserver: request timed out');
}

function sayHow({ what, name, status, at, tookMs, text }: Ended): string {
  return `${what} by ${name}: ${status} ${text} ${tookMs} ms after ${new Date(at).toISOString()}`;
}
