import { expect } from 'chai';
import { type ApiWay, createApiWays, type WayState } from '../../../src/adapters/kubernetes/api-ways.ts';
import { silentLog } from '../../../src/runtime/log.ts';
import { createManualClock } from '../../support/manual-clock.ts';

const way = (address: string): ApiWay => ({ address, serverName: 'kubernetes.default.svc' });

describe('createApiWays', () => {
  /** The answer of each server to a probe, by address; the kubeconfig's server is ''. A silent server never answers. */
  function start(states: Record<string, WayState | 'Silent'>) {
    const clock = createManualClock();
    const changes: string[] = [];
    const looks: string[] = [];
    let owes = true;
    const ways = createApiWays({
      probe: ({ address = '' }, signal) => {
        looks.push(address);
        const state = states[address] ?? 'Silent';
        if (state !== 'Silent') return Promise.resolve(state);
        return new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('late'))));
      },
      owed: () => owes,
      onChange: (from, to, silent) => changes.push(`${from.address ?? ''} > ${to.address ?? ''} ${silent}`),
      clock,
      random: () => 0.999,
      log: silentLog,
    });
    return { ways, clock, changes, looks, states, owe: (value: boolean) => (owes = value) };
  }

  it('leaves a server that is silent for 2 s, for one that is ready', async () => {
    const { ways, clock, changes } = start({ a: 'Failing', b: 'Ready' });
    ways.learn([way('a'), way('b')], { shared: false });
    ways.watch();
    await clock.advance(2_000);
    expect(changes).to.deep.equal([' > b true']);
    expect(ways.current.address).to.equal('b');
  });

  it('leaves a server that says that it is not ready, and stays with one that refuses this client', async () => {
    const { ways, clock, changes, states } = start({ '': 'Refusing', b: 'Ready' });
    ways.learn([way('b')], { shared: false });
    ways.watch();
    await clock.advance(5_000);
    expect(changes).to.deep.equal([]);
    states[''] = 'Failing';
    await clock.advance(1_000);
    expect(ways.current.address).to.equal('b');
  });

  it('stays if no other server is ready, and never changes to a server that refuses this client', async () => {
    const { ways, clock, changes } = start({ a: 'Refusing', b: 'Failing' });
    ways.learn([way('a'), way('b')], { shared: false });
    ways.watch();
    await clock.advance(10_000);
    expect(changes).to.deep.equal([]);
  });

  it('goes back to the server of the kubeconfig when the one in use fails', async () => {
    const { ways, clock, states } = start({ '': 'Failing', b: 'Ready' });
    ways.learn([way('b')], { shared: false });
    ways.watch();
    await clock.advance(1_000);
    states[''] = 'Ready';
    states.b = 'Silent';
    await clock.advance(3_000);
    expect(ways.current.address).to.equal(undefined);
  });

  it('probes nothing while no request is open or no other server is known', async () => {
    const { ways, clock, looks, owe } = start({ '': 'Ready', b: 'Ready' });
    ways.watch();
    await clock.advance(5_000);
    expect(looks).to.deep.equal([]);
    ways.learn([way('b')], { shared: false });
    owe(false);
    await clock.advance(5_000);
    expect(looks).to.deep.equal([]);
  });

  it('leaves an address that stands for several servers as soon as one server is ready, and keeps its open requests', async () => {
    const { ways, clock, changes } = start({ '': 'Ready', b: 'Ready' });
    ways.learn([way('b')], { shared: true });
    await clock.advance(0);
    expect(changes).to.deep.equal([' > b false']);
  });

  it('returns to such an address only if no server is ready at its own address', async () => {
    const { ways, clock, changes, states } = start({ '': 'Ready', b: 'Ready', c: 'Ready' });
    ways.learn([way('b'), way('c')], { shared: true });
    await clock.advance(0);
    const used = ways.current.address ?? '';
    const other = used === 'b' ? 'c' : 'b';
    states[used] = 'Silent';
    ways.watch();
    await clock.advance(2_000);
    expect(ways.current.address).to.equal(other);
    states[other] = 'Silent';
    await clock.advance(4_000);
    expect(ways.current.address).to.equal(undefined);
    expect(changes).to.have.length(3);
  });
});
