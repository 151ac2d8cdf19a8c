import { expect } from 'chai';
import { type ApiClient, createApiClient } from '../../../src/adapters/kubernetes/api-client.ts';
import {
  type Reflector,
  type ReflectorEvent,
  type ReflectorOptions,
  startReflector,
  type Watchable,
} from '../../../src/adapters/kubernetes/reflector.ts';
import { type Log, silentLog } from '../../../src/runtime/log.ts';
import { createManualClock, eventually, type ManualClock } from '../../support/manual-clock.ts';
import {
  answerStatus,
  answerUnknownPath,
  type ScriptedApiserver,
  startScriptedApiserver,
} from '../../support/scripted-apiserver.ts';

interface Thing extends Watchable {
  readonly value?: number;
}

const collection = '/apis/example.com/v1/namespaces/ns/things';
const thing = (name: string) => `${collection}/${name}`;

describe('startReflector', () => {
  let server: ScriptedApiserver;
  let client: ApiClient;
  let clock: ManualClock;
  let stop: AbortController;
  let seen: string[];

  beforeEach(async () => {
    server = await startScriptedApiserver();
    client = createApiClient(server.kubeConfig(), { timeoutMs: 2000, log: silentLog });
    clock = createManualClock();
    stop = new AbortController();
    seen = [];
  });

  afterEach(async () => {
    stop.abort();
    await client.close();
    await server.close();
  });

  function start(options: Partial<ReflectorOptions<Thing>> = {}): Reflector<Thing> {
    return startReflector<Thing>({
      client,
      path: collection,
      onChange: (event: ReflectorEvent<Thing>) => {
        seen.push(event.type === 'Synced' ? 'Synced' : `${event.type} ${event.object.metadata?.name}`);
      },
      clock,
      log: silentLog,
      signal: stop.signal,
      random: () => 0.5,
      ...options,
    });
  }

  const lists = () => server.requests.filter(({ method, query }) => method === 'GET' && !query.has('watch'));

  it('lists in pages, then watches with bookmarks from the version of the list', async () => {
    for (const name of ['a', 'b', 'c']) server.put(thing(name), {});
    const reflector = start({ pageSize: 2, labelSelector: undefined });
    await reflector.whenSynced();
    await eventually(() => server.watches.length === 1);
    expect(seen).to.deep.equal(['Added a', 'Added b', 'Added c', 'Synced']);
    expect([...reflector.items().keys()]).to.deep.equal(['ns/a', 'ns/b', 'ns/c']);
    expect(lists().map(({ query }) => query.get('limit'))).to.deep.equal(['2', '2']);
    const query = server.watches[0]?.query;
    expect(query?.get('resourceVersion')).to.equal('103');
    expect(query?.get('allowWatchBookmarks')).to.equal('true');
    expect(Number(query?.get('timeoutSeconds'))).to.be.within(300, 600);
    server.put(thing('a'), { value: 2 });
    server.remove(thing('b'));
    await eventually(() => seen.length === 6);
    expect(seen.slice(4)).to.deep.equal(['Modified a', 'Deleted b']);
    expect(reflector.items().get('ns/a')?.value).to.equal(2);
    expect(reflector.lastContactAtMs).to.equal(clock.now());
  });

  it('resumes a watch that ended cleanly at the version of the last bookmark, without a new list', async () => {
    const reflector = start();
    await eventually(() => server.watches.length === 1);
    server.watches[0]?.send('BOOKMARK', { metadata: { resourceVersion: '500' } });
    server.watches[0]?.end();
    await eventually(() => server.watches.length === 2);
    expect(server.watches[1]?.query.get('resourceVersion')).to.equal('500');
    expect(lists()).to.have.length(1);
    expect(reflector.failing).to.equal(undefined);
  });

  it('does not spin when each watch ends at once', async () => {
    start();
    await eventually(() => server.watches.length === 1);
    server.watches[0]?.end();
    await eventually(() => clock.sleeping === 1);
    expect(server.watches).to.have.length(1);
    await clock.advance(500);
    await eventually(() => server.watches.length === 2);
  });

  for (const how of ['an HTTP status', 'an event'] as const) {
    it(`after 410 as ${how}, keeps the store until the new list is complete, and reports only differences`, async () => {
      server.put(thing('same'), {});
      server.put(thing('gone'), {});
      server.put(thing('changed'), { value: 1 });
      const reflector = start();
      await eventually(() => server.watches.length === 1);
      seen = [];
      server.objects.delete(thing('gone'));
      server.putSilently(thing('changed'), { value: 2 });
      server.putSilently(thing('new'), {});
      let holdList: (() => void) | undefined;
      server.scripts.push((request, response) => {
        if (request.query.has('watch')) {
          if (how !== 'an HTTP status' || server.requests.filter(({ query }) => query.has('watch')).length > 2) {
            return false;
          }
          return answerStatus(response, 410, 'Expired');
        }
        if (holdList) return false;
        const body = { kind: 'List', metadata: { resourceVersion: '900' }, items: [...server.objects.values()] };
        holdList = () => response.end(JSON.stringify(body));
        return true;
      });
      if (how === 'an event') server.watches[0]?.send('ERROR', { kind: 'Status', code: 410, reason: 'Expired' });
      else {
        server.watches[0]?.send('BOOKMARK', { metadata: { resourceVersion: '104' } });
        server.watches[0]?.end();
      }
      await eventually(() => holdList !== undefined);
      expect([...reflector.items().keys()]).to.deep.equal(['ns/same', 'ns/gone', 'ns/changed']);
      holdList?.();
      await eventually(() => seen.includes('Synced'));
      expect(seen).to.deep.equal(['Deleted gone', 'Modified changed', 'Added new', 'Synced']);
      await eventually(() => server.watches.length === 2);
      expect(server.watches[1]?.query.get('resourceVersion')).to.equal('900');
    });
  }

  it('reports a deletion and an addition for an object that was recreated between two lists', async () => {
    server.put(thing('a'), {});
    start();
    await eventually(() => server.watches.length === 1);
    server.objects.delete(thing('a'));
    server.putSilently(thing('a'), {});
    server.watches[0]?.send('ERROR', { kind: 'Status', code: 410, reason: 'Expired' });
    await eventually(() => seen.filter((event) => event === 'Synced').length === 2);
    expect(seen).to.deep.equal(['Added a', 'Synced', 'Deleted a', 'Added a', 'Synced']);
  });

  it('never gives up after errors, reports that it fails, and keeps its state', async () => {
    server.put(thing('a'), {});
    const reflector = start();
    await eventually(() => server.watches.length === 1);
    let refusals = 0;
    server.scripts.push((_request, response) => {
      refusals += 1;
      return answerStatus(response, 500, 'InternalError');
    });
    server.watches[0]?.break();
    for (let turn = 1; turn <= 8; turn += 1) {
      await clock.advance(30_000);
      await eventually(() => refusals >= turn);
    }
    await eventually(() => reflector.failing !== undefined);
    expect(reflector.failing?.since).to.be.below(clock.now());
    expect(reflector.items().size).to.equal(1);
    server.scripts.length = 0;
    await clock.advance(30_000);
    await eventually(() => server.watches.length === 2);
    await eventually(() => reflector.failing === undefined);
    expect(lists()).to.have.length(1);
  });

  it('does not take an opened watch for news, and stays in trouble while watches open without an event', async () => {
    server.put(thing('a'), {});
    const reflector = start();
    await eventually(() => server.watches.length === 1);
    const listedAt = reflector.lastContactAtMs;
    for (let opened = 1; opened <= 4; opened += 1) {
      server.watches.at(-1)?.break();
      await eventually(() => reflector.failing !== undefined);
      await clock.advance(11_000);
      await eventually(() => server.watches.length === opened + 1);
    }
    expect(reflector.lastContactAtMs).to.equal(listedAt);
    server.watches.at(-1)?.break();
    await eventually(() => reflector.failing !== undefined);
    expect(clock.now() - (reflector.failing?.since ?? 0)).to.be.at.least(40_000);
    await clock.advance(11_000);
    await eventually(() => server.watches.length === 6);
    server.watches.at(-1)?.send('BOOKMARK', { metadata: { resourceVersion: '500' } });
    await eventually(() => reflector.lastContactAtMs === clock.now());
    expect(reflector.failing).to.equal(undefined);
  });

  it("waits as long as the server's Retry-After says", async () => {
    let refused = false;
    server.scripts.push((_request, response) => {
      if (refused) return false;
      refused = true;
      return answerStatus(response, 429, 'TooManyRequests', {}, { 'retry-after': '7' });
    });
    const reflector = start();
    await eventually(() => reflector.failing !== undefined);
    await clock.advance(6_999);
    expect(server.requests).to.have.length(1);
    await clock.advance(1_000);
    await reflector.whenSynced();
  });

  it('expects a resource that does not exist yet, asks at least every 10 s, and says why it waits', async () => {
    server.scripts.push((_request, response) => answerUnknownPath(response));
    const reflector = start({ random: () => 0.999 });
    for (let turn = 1; turn <= 10; turn += 1) {
      await eventually(() => server.requests.length >= turn && clock.sleeping === 1);
      await clock.advance(10_000);
    }
    expect(reflector.failing?.message).to.contain('CustomResourceDefinition');
    expect(reflector.synced).to.equal(false);
    await eventually(() => clock.sleeping === 1);
    server.scripts.length = 0;
    await clock.advance(10_000);
    await reflector.whenSynced();
  });

  it('replaces a silent watch, but not one that gets bookmarks', async () => {
    start({ watchdogMs: 90_000 });
    await eventually(() => server.watches.length === 1 && clock.sleeping === 1);
    for (let minute = 1; minute <= 5; minute += 1) {
      await clock.advance(60_000);
      server.watches[0]?.send('BOOKMARK', { metadata: { resourceVersion: String(500 + minute) } });
      await eventually(() => server.watches[0]?.closed === false);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(server.watches).to.have.length(1);
    await clock.advance(150_000);
    await clock.advance(30_000);
    await eventually(() => server.watches.length === 2);
    await eventually(() => server.watches[0]?.closed === true);
  });

  it('lists again after a line that is too long or not JSON', async () => {
    start({ maxLineBytes: 1000 });
    await eventually(() => server.watches.length === 1);
    server.watches[0]?.write('x'.repeat(2000));
    await eventually(() => clock.sleeping === 1);
    await clock.advance(1000);
    await eventually(() => server.watches.length === 2);
    expect(lists()).to.have.length(2);
    server.watches[1]?.write('{"type":\n');
    await eventually(() => clock.sleeping === 1);
    await clock.advance(2000);
    await eventually(() => server.watches.length === 3);
    expect(lists()).to.have.length(3);
  });

  for (const { how, pageSize } of [
    { how: 'in one page', pageSize: 500 },
    { how: 'in several pages', pageSize: 2 },
  ])
    it(`limits the bytes of a list ${how}, says why, and lists again after a minute`, async () => {
      for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) server.put(thing(name), { filler: 'x'.repeat(1_000) });
      const reflector = start({ pageSize, maxBytes: 5_000 });
      await eventually(() => reflector.failing !== undefined);
      expect(reflector.failing?.message).to.match(/things are longer than .* together: delete those/);
      expect(reflector.synced).to.equal(false);
      for (const name of ['a', 'b', 'c']) server.remove(thing(name));
      const before = lists().length;
      await clock.advance(59_000);
      expect(lists().length).to.equal(before);
      await clock.advance(2_000);
      await reflector.whenSynced();
      expect([...reflector.items().keys()]).to.deep.equal(['ns/d', 'ns/e', 'ns/f']);
    });

  it('limits the bytes that a watch adds, and keeps what it had', async () => {
    server.put(thing('a'), { filler: 'x'.repeat(1_000) });
    const reflector = start({ maxBytes: 5_000 });
    await reflector.whenSynced();
    await eventually(() => server.watches.length === 1);
    // Changes of one object add nothing.
    for (let at = 0; at < 10; at++) server.put(thing('a'), { filler: 'y'.repeat(1_000), value: at });
    await eventually(() => reflector.items().get('ns/a')?.value === 9);
    expect(reflector.failing).to.equal(undefined);
    for (const name of ['b', 'c', 'd', 'e', 'f']) server.put(thing(name), { filler: 'x'.repeat(1_000) });
    await eventually(() => reflector.failing !== undefined);
    expect(reflector.failing?.message).to.contain('are longer than');
    expect([...reflector.items().keys()])
      .to.include('ns/a')
      .and.to.have.length.below(5);
    for (const name of ['c', 'd', 'e', 'f']) server.remove(thing(name));
    await clock.advance(61_000);
    await eventually(() => reflector.failing === undefined);
    expect([...reflector.items().keys()]).to.deep.equal(['ns/a', 'ns/b']);
  });

  it('logs an error that a change handler throws, and continues', async () => {
    const errors: string[] = [];
    const log: Log = { ...silentLog, error: (message) => errors.push(message), child: () => log };
    server.put(thing('a'), {});
    const reflector = start({
      log,
      onChange: () => {
        throw new Error('handler');
      },
    });
    await eventually(() => server.watches.length === 1);
    server.put(thing('b'), {});
    await eventually(() => reflector.items().size === 2);
    expect(errors).to.have.length(3);
  });

  it('leaves no timer and no connection behind when it is stopped', async () => {
    const reflector = start();
    await eventually(() => server.watches.length === 1 && clock.sleeping === 1);
    stop.abort();
    await reflector.stopped;
    expect(clock.sleeping).to.equal(0);
    await eventually(() => server.watches[0]?.closed === true);
    expect(server.requests).to.have.length(2);
  });

  it('does not open a watch when it is stopped while it waits', async () => {
    server.scripts.push((_request, response) => answerStatus(response, 500, 'InternalError'));
    const reflector = start();
    await eventually(() => clock.sleeping === 1);
    stop.abort();
    await reflector.stopped;
    expect(clock.sleeping).to.equal(0);
    expect(server.requests).to.have.length(1);
  });
});
