import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { type MixedPlane, startMixedPlane } from '../../lab/plane/mixed-plane.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import { type SteadyWatcher, startSteadyWatcher } from '../support/steady-client.ts';

const servers = ['a', 'b', 'c'] as const;
const maps = '/api/v1/namespaces/default/configmaps';
/** Over either protocol. */
const watchers = 30;
const most = 1.3;

/** Long-lived requests do not stay with the servers that were restarted first. */
describe('watches after a restart of all servers in turn', function () {
  this.timeout(300_000);
  let mixed: MixedPlane;
  const clients: SteadyWatcher[] = [];

  before(async () => {
    mixed = await startMixedPlane({
      servers: [
        { name: 'a', version: '1.35' },
        { name: 'b', version: '1.35' },
        { name: 'c', version: '1.36' },
      ],
      home: 'a',
      log: (message) => void process.stdout.write(`      … ${message}\n`),
    });
    mixed.startOperator();
    mixed.startProxy([], { pinned: false });
    await waitUntil('three ready peers', async () => (await readyPeers()) === 3);
  });

  after(async () => {
    await Promise.all(clients.map((client) => client.stop()));
    await mixed?.stop();
  });

  afterEach(function () {
    if (this.currentTest?.state === 'failed') process.stdout.write(`${mixed?.plane.logTails(25)}\n`);
  });

  async function readyPeers(): Promise<number> {
    const { stdout } = await mixed.kubectl('a', ['get', 'pd', 'cluster', '-o', 'jsonpath={.status.peers[*].state}']);
    return stdout.split(' ').filter((state) => state === 'Ready').length;
  }

  /** The number of our clients' watches at each server, by the server's own metrics. */
  async function watchesAt(name: string): Promise<number> {
    const { stdout } = await mixed.kubectl(name, ['get', '--raw', '/metrics']);
    const lines = stdout.split('\n').filter((line) => /^apiserver_longrunning_requests\{.*verb="WATCH"/.test(line));
    return lines
      .filter((line) => line.includes('resource="configmaps"') && line.includes('scope="namespace"'))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  }

  async function add(name: string): Promise<void> {
    const { code, stderr } = await mixed.kubectl('proxy', ['create', 'configmap', name, '-n', 'default']);
    expect(code, stderr).to.equal(0);
  }

  it('are spread over all servers again within a while, without a lost or repeated event, or a refused watch', async () => {
    await add('first');
    const { stdout } = await mixed.kubectl('a', ['get', '--raw', maps]);
    const { resourceVersion } = (JSON.parse(stdout) as { metadata: { resourceVersion: string } }).metadata;
    const ca = readFileSync(mixed.plane.caFile, 'utf8');
    for (const protocol of ['http1', 'http2'] as const)
      for (let at = 0; at < watchers; at++) {
        const access = { url: mixed.proxyUrl, ca, token: mixed.plane.tokens.admin, protocol };
        clients.push(startSteadyWatcher(access, maps, resourceVersion));
      }
    await waitUntil('all watches', async () => clients.every(({ opened }) => opened.length > 0));
    for (const name of servers) {
      const server = mixed.plane.server(name);
      await server.stop();
      await add(`while-${name}-is-away`);
      await server.start();
      await waitUntil('three ready peers', async () => (await readyPeers()) === 3);
      // A server knows no event from before its start, so a client without events since then would have to list again.
      await add(`after-${name}`);
      await waitUntil('all events', async () => clients.every(({ added }) => added.has(`after-${name}`)));
    }
    const allRun = (counts: readonly number[]) => counts.reduce((sum, count) => sum + count) >= 2 * watchers;
    let before: number[] = [];
    await waitUntil(
      'watches that are taken up again',
      async () => {
        before = await Promise.all(servers.map(watchesAt));
        return allRun(before);
      },
      { seen: () => `${before}` },
    );
    const mean = (2 * watchers) / servers.length;
    expect(Math.max(...before), `${before}`).to.be.greaterThan(mean * most);
    let seen: number[] = [];
    await waitUntil('watches that are spread over the servers', async () => {
      seen = await Promise.all(servers.map(watchesAt));
      return allRun(seen) && Math.max(...seen) <= mean * most;
    });
    process.stdout.write(`      watches at each server: ${before} before, ${seen} after\n`);
    await add('last');
    const expected = [...servers.flatMap((name) => [`while-${name}-is-away`, `after-${name}`]), 'last'];
    await waitUntil('all events', async () => clients.every(({ added }) => added.has('last')));
    for (const { added, repeated } of clients) {
      expect([...added.keys()]).to.include.members(expected);
      expect(repeated).to.deep.equal([]);
    }
    const statuses = new Set(clients.flatMap(({ opened }) => opened));
    expect([...statuses]).to.deep.equal([200]);
  });
});
