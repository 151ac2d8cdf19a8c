import { expect } from 'chai';
import { type MixedPlane, startMixedPlane } from '../../lab/mixed-plane.ts';
import { waitUntil } from '../../lab/wait-until.ts';

/** Real servers with an etcd member each, as in a stacked control plane, of which one hangs. */
describe('a control plane of which one server hangs', function () {
  this.timeout(240_000);
  let mixed: MixedPlane;

  before(async () => {
    mixed = await startMixedPlane({
      servers: [
        { name: 'old-1', version: '1.35', ownEtcd: true },
        { name: 'new-1', version: '1.36' },
        { name: 'new-2', version: '1.36' },
      ],
      home: 'old-1',
      log: () => {},
    });
  });

  after(() => mixed?.stop());

  afterEach(function () {
    if (this.currentTest?.state === 'failed') process.stdout.write(`${mixed?.plane.logTails(25)}\n`);
  });

  async function codeOf(name: string, path: string): Promise<string> {
    const { plane } = mixed;
    const { url } = plane.server(name);
    const authorization = `Authorization: Bearer ${plane.tokens.admin}`;
    const limits = ['-s', '--max-time', '3', '--cacert', plane.caFile, '-o', '/dev/null', '-w', '%{http_code}'];
    return (await plane.exec('curl', [...limits, '-H', authorization, `${url}${path}`])).stdout;
  }

  it('has a server that takes requests, answers none and is not ready while its etcd is paused', async () => {
    const old = mixed.plane.server('old-1');
    expect(await codeOf('old-1', '/api/v1/namespaces/default/configmaps')).to.equal('200');
    old.pause('etcd');
    await waitUntil('old-1 to be not ready', async () => (await codeOf('old-1', '/readyz')) !== '200', {
      boundMs: 30_000,
    });
    expect(await codeOf('old-1', '/api/v1/namespaces/default/configmaps/none')).to.equal('000');
    expect(await codeOf('new-1', '/api/v1/namespaces/default/configmaps')).to.equal('200');
    old.resume('etcd');
    await waitUntil('old-1 to be ready', async () => (await codeOf('old-1', '/readyz')) === '200', { boundMs: 60_000 });
  });

  const leases = ['get', 'lease', '-n', 'peerdiscovery-system', '-o', 'json'];

  async function leaseOf(name: string): Promise<{ renewTime?: string; leaseTransitions?: number }> {
    const { code, stdout } = await mixed.kubectl('new-1', [...leases, name]);
    return code === 0 ? (JSON.parse(stdout) as { spec: { renewTime?: string } }).spec : {};
  }

  /** The longest time between two confirmations of the table that were seen while `times` of them came, in seconds. */
  async function longestSilence(times: number): Promise<number> {
    const seen = new Set<number>();
    await waitUntil(
      `${times} confirmations`,
      async () => {
        const { renewTime } = await leaseOf('peerdiscovery-cluster');
        if (renewTime !== undefined) seen.add(Date.parse(renewTime));
        return seen.size >= times;
      },
      { boundMs: 120_000, everyMs: 500 },
    );
    const at = [...seen].sort((a, b) => a - b);
    return Math.max(...at.slice(1).map((time, index) => (time - (at[index] ?? 0)) / 1_000));
  }

  for (const what of ['etcd', 'server'] as const)
    it(`has an operator that goes on to lead and to confirm while the ${what} of its API server is paused`, async () => {
      const operator = mixed.startOperator();
      const ready = async () => {
        const { stdout } = await mixed.kubectl('new-1', [
          'get',
          'pd',
          'cluster',
          '-o',
          'jsonpath={.status.peerCounts.ready}',
        ]);
        return stdout === '3' && (await leaseOf('peerdiscovery-cluster')).renewTime !== undefined;
      };
      await waitUntil('three ready peers', ready);
      // What an earlier operator confirmed is no silence of this one.
      await longestSilence(2);
      const { leaseTransitions } = await leaseOf('peerdiscovery-operator');
      mixed.plane.server('old-1').pause(what);
      try {
        const silence = await longestSilence(5);
        process.stdout.write(`      … longest time between two confirmations: ${silence} s\n`);
        // Confirmations come each 5 s, and a change of the server takes 2 s.
        expect(silence).to.be.below(12);
        expect((await leaseOf('peerdiscovery-operator')).leaseTransitions).to.equal(leaseTransitions);
        expect(mixed.plane.readLog('operator')).not.to.contain('could not renew the lease in time');
      } finally {
        mixed.plane.server('old-1').resume(what);
        const ended = new Promise((resolve) => operator.once('exit', resolve));
        operator.kill('SIGTERM');
        await ended;
      }
    });
});
