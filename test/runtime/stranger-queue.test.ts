import { expect } from 'chai';
import { createStrangerQueue } from '../../src/runtime/stranger-queue.ts';

describe('createStrangerQueue', () => {
  function setUp(atOnce: number) {
    const queue = createStrangerQueue(atOnce);
    const begun: string[] = [];
    const finish = new Map<string, () => void>();
    const probe = (name: string, signal: AbortSignal, priority?: number) =>
      queue.probe(
        () =>
          new Promise<string>((resolve) => {
            begun.push(name);
            finish.set(name, () => resolve(name));
          }),
        { signal, ...(priority !== undefined && { priority }) },
      );
    return { begun, finish, probe };
  }

  it('probes a limited number at once, then the one with the highest priority', async () => {
    const { begun, finish, probe } = setUp(2);
    const { signal } = new AbortController();
    const probes = ['a', 'b', 'c'].map((name) => probe(name, signal));
    probes.push(probe('d', signal, 1));
    expect(begun).to.deep.equal(['a', 'b']);
    finish.get('a')?.();
    expect(await probes[0]).to.equal('a');
    expect(begun).to.deep.equal(['a', 'b', 'd']);
  });

  it('does not begin a probe that was given up before its turn, and passes its turn on', async () => {
    const { begun, finish, probe } = setUp(1);
    const [kept, ended] = [new AbortController(), new AbortController()];
    const probes = [probe('a', kept.signal), probe('b', ended.signal), probe('c', kept.signal)];
    ended.abort();
    finish.get('a')?.();
    expect(await probes[1]).to.equal(undefined);
    finish.get('c')?.();
    expect(await probes[2]).to.equal('c');
    expect(begun).to.deep.equal(['a', 'c']);
  });
});
