import { spawnSync } from 'node:child_process';
import { expect } from 'chai';
import { startControlPlane } from '../../lab/plane/control-plane.ts';

const enter = (script: string) =>
  spawnSync(process.execPath, ['lab/enter-netns.ts', '--', 'sh', '-c', script], { encoding: 'utf8', timeout: 20_000 });

describe('the namespace of a suite', function () {
  this.timeout(300_000);

  it('ends all processes that the suite has left running, even if they hold its output', () => {
    const { status, error, stdout } = enter('sleep 600 & echo done; exit 3');
    expect({ status, error, stdout }).to.deep.equal({ status: 3, error: undefined, stdout: 'done\n' });
  });

  it('has no program of another suite on its addresses', () => {
    const { stdout } = enter('curl --silent --max-time 5 http://127.0.0.1:2379/health; echo $?');
    expect(stdout).to.equal('7\n');
  });

  it('can be left even if a program of the lab failed to start', async () => {
    const plane = await startControlPlane({ servers: [], log: () => {} });
    plane.spawn('no-such-program', [], { name: 'missing' });
    await new Promise((resolve) => setImmediate(resolve));
    await plane.stop();
  });
});
