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
      ],
      home: 'new-1',
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
});
