import type { ChildProcess } from 'node:child_process';
import { expect } from 'chai';
import { type MixedPlane, startMixedPlane } from '../../lab/plane/mixed-plane.ts';
import { waitUntil } from '../../lab/wait-until.ts';

/**
 * How an operator confirms a table, how a proxy learns of it, and what users see when no operator confirms any more.
 */
describe('confirmations on real servers', function () {
  this.timeout(240_000);
  let mixed: MixedPlane;
  let operator: ChildProcess;
  let proxy: ChildProcess | undefined;
  const lease = ['get', 'lease', '-n', 'peerdiscovery-system', 'peerdiscovery-cluster', '-o'];

  before(async () => {
    mixed = await startMixedPlane({
      servers: [
        { name: 'old-1', version: '1.35' },
        { name: 'new-1', version: '1.36' },
      ],
      home: 'old-1',
      log: () => {},
    });
    operator = mixed.startOperator();
    await waitUntil('two ready peers', async () => (await columns()).READY === '2');
  });

  after(() => mixed?.stop());

  afterEach(function () {
    if (this.currentTest?.state === 'failed') process.stdout.write(`${mixed?.plane.logTails(25)}\n`);
  });

  /** The output of `kubectl get peerdiscovery`, by column. */
  async function columns(): Promise<Readonly<Record<string, string>>> {
    const { stdout } = await mixed.kubectl('new-1', ['get', 'peerdiscovery', 'cluster']);
    const [names = [], values = []] = stdout.split('\n').map((line) => line.split(/\s+/));
    return Object.fromEntries(names.map((name, index) => [name, values[index] ?? '']));
  }

  async function fieldOf(path: string): Promise<string> {
    return (await mixed.kubectl('new-1', ['get', 'pd', 'cluster', '-o', `jsonpath={${path}}`])).stdout;
  }

  async function end(child: ChildProcess | undefined, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await ended;
  }

  async function codeOf(path: string): Promise<string> {
    const { plane, proxyUrl } = mixed;
    const authorization = `Authorization: Bearer ${plane.tokens.admin}`;
    const limits = ['-s', '--max-time', '3', '--cacert', plane.caFile, '-o', '/dev/null', '-w', '%{http_code}'];
    return (await plane.exec('curl', [...limits, '-H', authorization, `${proxyUrl}${path}`])).stdout;
  }

  for (const turn of ['first', 'second', 'third'])
    it(`make a new proxy certain of a 404 about as soon as it has a table, not two confirmations later (${turn})`, async () => {
      proxy = mixed.startProxy();
      const unknown = '/apis/unknown.example.com/v1/things';
      await waitUntil('a table', async () => (await codeOf('/apis/apps/v1')) === '200', { everyMs: 20 });
      await waitUntil('503 or 404', async () => ['503', '404'].includes(await codeOf(unknown)), { everyMs: 20 });
      const from = performance.now();
      await waitUntil('certainty', async () => (await codeOf(unknown)) === '404', { everyMs: 20 });
      const took = performance.now() - from;
      process.stdout.write(`      … certain ${Math.round(took)} ms after the first answer\n`);
      // Without an answer, two confirmations are needed. The next regular one, five seconds later, answers nothing.
      const answers = 'jsonpath={.metadata.annotations.peerdiscovery\\.dev/answers}';
      expect((await mixed.kubectl('new-1', [...lease, answers])).stdout).to.match(/^[0-9a-f]{16}/);
      await end(proxy);
    });

  it('leave the status as it was while nothing changes', async () => {
    const before = await fieldOf('.metadata.resourceVersion');
    proxy = mixed.startProxy();
    const seen = new Set<string>();
    const renewed = async () => (await mixed.kubectl('new-1', [...lease, 'jsonpath={.spec.renewTime}'])).stdout;
    await waitUntil('four confirmations', async () => seen.add(await renewed()).size > 4);
    expect(await fieldOf('.metadata.resourceVersion')).to.equal(before);
  });

  it('show as missing in the status a minute after the last operator is gone, until there is another', async () => {
    const { READY, STALE, CONVERGED } = await columns();
    expect({ READY, STALE, CONVERGED }).to.deep.equal({ READY: '2', STALE: '0', CONVERGED: 'False' });
    await end(operator, 'SIGKILL');
    await waitUntil('the status to be taken back', async () => (await columns()).CONVERGED === 'Unknown', {
      boundMs: 100_000,
    });
    expect(await columns()).to.include({ READY: '0', STALE: '2' });
    expect(await fieldOf('.status.conditions[?(@.type=="Ready")].reason')).to.equal('OperatorSilent');
    expect(await fieldOf('.status.conditions[?(@.type=="Ready")].message')).to.match(
      /^no operator has confirmed this status since 20\d\d-/,
    );
    operator = mixed.startOperator();
    await waitUntil('the status of the new operator', async () => (await columns()).READY === '2', { boundMs: 60_000 });
    expect(await columns()).to.include({ STALE: '0', CONVERGED: 'False' });
    expect(await fieldOf('.status.conditions[?(@.type=="Ready")].status')).to.equal('True');
  });
});
