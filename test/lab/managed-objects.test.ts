import { expect } from 'chai';
import type { Answer, Client } from '../../lab/cluster/clients.ts';
import { changeManaged, compareManaged, judgeManager } from '../../lab/cluster/managed-objects.ts';

const source = (name: string, turn: string) => ({ metadata: { name }, data: { turn } });
const secret = (name: string, turn: string) => source(name, Buffer.from(turn).toString('base64'));
const server = (send: (method: string, path: string, body?: object) => Answer): Client => ({
  way: { name: 'm1, server', host: 'none', port: 0, proxied: false },
  send: async (method, path, body) => send(method, path, body),
  watch: async () => 0,
  renew: () => {},
  close: () => {},
});

describe('The objects that a manager keeps in step', () => {
  it('are equal by name and content', () => {
    const sources = [source('a', '1'), source('b', '2')];
    expect(compareManaged(sources, [secret('b', '2'), secret('a', '1')])).to.deep.equal([]);
  });

  it('are out of step if a Secret is missing, old or left over', () => {
    const sources = [source('a', '1'), source('b', '2')];
    expect(compareManaged(sources, [secret('b', '1'), secret('c', '3')])).to.deep.equal([
      'a: no Secret',
      'b: the ConfigMap has 2, the Secret 1',
      'c: a Secret without a ConfigMap',
    ]);
  });

  it('are compared until they are in step, at the first server that lists them', async () => {
    let lists = 0;
    const list = (items: readonly object[]) => ({ status: 200, body: JSON.stringify({ items }) });
    const first = server(() => ({ status: 503, body: 'not ready' }));
    const second = server((_method, path) => {
      if (path.includes('/configmaps')) return list([source('a', '1')]);
      lists += 1;
      return list(lists === 1 ? [] : [secret('a', '1')]);
    });
    const manager = { ask: async () => ({ reconciles: 3, failures: { no: 2 }, exits: [] }), kill: () => {} };
    const pace = { boundMs: 10_000, everyMs: 1 };
    expect(await judgeManager(manager, { servers: [first, second], namespace: 'n' }, pace)).to.deep.equal({
      reconciles: 3,
      failures: { no: 2 },
      exits: [],
      objects: 1,
      outOfStep: [],
    });
    const late = await judgeManager(
      manager,
      { servers: [server((_, path) => list(path.includes('/secrets') ? [] : [source('a', '1')]))], namespace: 'n' },
      { boundMs: 0, everyMs: 1 },
    );
    expect(late.outOfStep).to.deep.equal(['a: no Secret']);
  });

  it('are created, updated and deleted by turns, at the first server that takes it', async () => {
    const stop = new AbortController();
    const sent: string[] = [];
    const down = server(() => ({ status: 0, body: '', error: 'no answer' }));
    const up = server((method, path) => {
      sent.push(`${method} ${path.split('/').at(-1)}`);
      if (sent.length === 9) stop.abort();
      return { status: method === 'PUT' ? 404 : 201, body: '' };
    });
    await changeManaged([down, up], 'n', { signal: stop.signal, everyMs: 0 });
    expect(sent).to.deep.equal([
      ...['managed-0', 'managed-1', 'managed-2', 'managed-3'].flatMap((name) => [`PUT ${name}`, 'POST configmaps']),
      'DELETE managed-4',
    ]);
  });
});
