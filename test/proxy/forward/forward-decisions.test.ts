import { PassThrough } from 'node:stream';
import { expect } from 'chai';
import { isProxied, parseRequestInfo } from '../../../src/domain/request-info.ts';
import type { FaultKind } from '../../../src/http/client/dispatch.ts';
import { type ForwardingCase, type ForwardingUnderTest, startForwarding } from '../../support/forwarding-under-test.ts';

const unknownResource = JSON.stringify({
  kind: 'Status',
  apiVersion: 'v1',
  metadata: {},
  status: 'Failure',
  message: 'the server could not find the requested resource',
  reason: 'NotFound',
  details: {},
  code: 404,
});
const missingObject = JSON.stringify({ kind: 'Status', message: 'pods "x" not found', reason: 'NotFound', code: 404 });
const shuttingDown = JSON.stringify({ kind: 'Status', message: 'apiserver is shutting down' });
const json = ['Content-Type', 'application/json'];
const retryAfter = ['Retry-After', '1'];
const listOf = (...names: readonly string[]) =>
  JSON.stringify({ kind: 'APIResourceList', resources: names.map((name) => ({ name })) });

const write = { method: 'POST', body: ['{"kind":', '"Pod"}'] } as const;
const doubt = { notFound: { kind: 'doubt', message: 'the table is incomplete' } } as const;
const proxied = '/api/v1/namespaces/d/pods/x/proxy/healthz';

/** Lets the promises of the question settle. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

/** The refusal, as a user sees it: status, seconds to wait, the metric's reason. */
const refusals = ({ outcomes }: ForwardingUnderTest) =>
  outcomes.flatMap((outcome) =>
    outcome.kind === 'answer'
      ? []
      : [[outcome.status.code, outcome.status.details?.retryAfterSeconds, outcome.why] as const],
  );
const messageOf = ({ outcomes: [outcome] }: ForwardingUnderTest) =>
  outcome?.kind === 'refuse' ? outcome.status.message : undefined;
const ids = ({ sent }: ForwardingUnderTest) => sent.map(({ id, isMarked }) => (isMarked ? `${id}, marked` : id));
const seenBy = ({ client }: ForwardingUnderTest) =>
  client.map(([what, value]) => (value === undefined ? what : `${what} ${value}`));
const inFlight = ({ peers }: ForwardingUnderTest) => peers.map(({ load }) => load.inFlight);

/** Answers 404 with kube-apiserver's text, and then the question about what the server serves. */
async function reply404(run: ForwardingUnderTest, discovery: number | string): Promise<void> {
  run.last().reply(404, unknownResource, json);
  expect(run.last().request.path).to.equal('/api/v1');
  if (typeof discovery === 'string') run.last().reply(200, discovery, json);
  else run.last().reply(discovery);
  await settle();
}

describe('forwarding an answer', () => {
  it('passes the head, the body and the trailers on, without the fields of the hop, and reports it first', () => {
    const run = startForwarding();
    const { answer, request } = run.last();
    expect(request).to.include({ method: 'GET', path: '/api/v1/namespaces/d/pods', body: null, longRunning: false });
    expect(request).to.include({ connectAs: 'anonymous', upgrade: undefined, mayShare: false });
    expect(request.rawHeaders).to.deep.equal(['Host', 'h', 'X-Forwarded-For', '127.0.0.1']);
    expect(request.written).to.be.an('object');
    expect(inFlight(run)).to.deep.equal([1, 0]);
    answer.onInterim?.(103, ['Link', 'a', 'Connection', 'close']);
    answer.onHead(200, ['A', 'b', 'Connection', 'close']);
    answer.onData(Buffer.from('some'), false);
    answer.onEnd(['T', 'u']);
    expect(run.client).to.deep.equal([
      ['interim', 103, ['Link', 'a']],
      ['answer of', 'one'],
      ['respond', 200, ['A', 'b']],
      ['write', 'some'],
      ['end', undefined, ['T', 'u']],
    ]);
    expect(run.outcomes[0]).to.deep.include({ status: 200, rawHeaders: ['A', 'b'], isTableBehind: false });
    expect(run.peers[0]?.load).to.deep.equal({ inFlight: 0, asked: 1 });
    expect([run.sent.length, run.lookups(), run.last().calls]).to.deep.equal([1, 0, []]);
  });

  it('ends the answer with its last piece, ignores the end that follows, and stops nothing at the server', () => {
    for (const isClosedFirst of [true, false]) {
      const run = startForwarding();
      run.last().answer.onHead(200, []);
      run.last().answer.onData(Buffer.from('all'), true);
      if (isClosedFirst) run.close(true);
      run.last().answer.onEnd([]);
      if (!isClosedFirst) run.close(true);
      expect(run.client.slice(2)).to.deep.equal([['end', 'all']]);
      expect([inFlight(run), run.last().calls]).to.deep.equal([[0, 0], []]);
    }
  });

  it('measures the time from the request to the head', () => {
    const run = startForwarding();
    run.last().reply(200);
    const [outcome] = run.outcomes;
    expect(outcome?.kind === 'answer' ? outcome.waitedMs : -1).to.be.within(0, 10_000);
  });

  it('sends a watch as long-running, and a body as often as it comes', async () => {
    expect(startForwarding({ path: '/api/v1/pods?watch=1' }).last().request.longRunning).to.equal(true);
    const run = startForwarding(write);
    expect(await run.last().readBody()).to.equal('{"kind":"Pod"}');
    expect(run.last().request.written).to.equal(undefined);
  });

  it('pauses the server while the client reads too slowly, and waits only once', () => {
    const run = startForwarding({ writable: 2 });
    run.last().answer.onHead(200, []);
    for (const piece of ['a', 'b', 'c']) run.last().answer.onData(Buffer.from(piece), false);
    expect(run.last().calls).to.deep.equal(['pause', 'pause']);
    expect(seenBy(run).filter((what) => what === 'waits')).to.have.length(1);
    run.drain();
    expect(run.last().calls).to.deep.equal(['pause', 'pause', 'resume']);
  });

  it('stops the request at the server when the client leaves, and drops what still arrives', async () => {
    for (const [complete, why] of [
      [false, 'the client has left'],
      [true, 'the request has been answered'],
    ] as const) {
      const run = startForwarding();
      run.close(complete);
      expect(run.last().calls).to.deep.equal([`abort: ${why}`]);
      const { answer } = run.last();
      answer.onInterim?.(103, []);
      answer.onHead(200, []);
      answer.onData(Buffer.from('late'), false);
      expect(run.client).to.deep.equal([]);
      expect([ids(run), inFlight(run), run.reports]).to.deep.equal([['one'], [0, 0], []]);
    }
    const left = startForwarding();
    left.last().answer.onHead(404, json);
    left.last().answer.onData(Buffer.from(unknownResource), false);
    left.last().answer.onEnd([]);
    left.close(false);
    left.last().reply(404);
    await settle();
    expect([left.client, ids(left)]).to.deep.equal([[], ['one', 'one']]);
  });

  it('cuts the answer off if its server fails in the middle, and sends nothing again', () => {
    const run = startForwarding();
    run.last().answer.onHead(200, []);
    run.last().fail('reset', { sent: true });
    expect(seenBy(run)).to.deep.equal(['answer of one', 'respond 200', 'destroy']);
    expect([ids(run), run.failed]).to.deep.equal([['one'], ['one: reset']]);
  });

  it('warns of fields that may be lost, except in reads of an object', () => {
    const path = '/api/v1/namespaces/d/pods/x';
    const headersOf = (given: ForwardingCase) => {
      const run = startForwarding({ path, ...given });
      run.last().reply(200, '', ['A', 'b']);
      return run.client[1]?.[2];
    };
    for (const fields of ['standIn', 'lossy'] as const) {
      const [, , name, text] = [...((headersOf({ method: 'PUT', fields }) as readonly string[] | undefined) ?? [])];
      expect([name, text?.startsWith('299 - "no kube-apiserver')]).to.deep.equal(['Warning', true]);
      expect(headersOf({ fields })).to.deep.equal(['A', 'b']);
    }
    expect(headersOf({ method: 'PUT', fields: 'writer' })).to.deep.equal(['A', 'b']);
  });
});

describe('forwarding past a failed server', () => {
  it('answers 503 with Retry-After if there is no server, and sends nothing', () => {
    const run = startForwarding({ servers: [] });
    expect([run.sent.length, refusals(run)]).to.deep.equal([0, [[503, 1, 'no_ready_server']]]);
  });

  const unsent: readonly FaultKind[] = ['address', 'connect', 'certificate', 'saturated', 'reset', 'timeout'];
  for (const kind of unsent)
    it(`tries each server once, even for a write, if a fault of kind ${kind} came before a byte was sent`, () => {
      for (const given of [{}, write, { method: 'DELETE' }, { upgrade: 'websocket' }]) {
        const run = startForwarding({ ...given, servers: ['one', 'two', 'three'] });
        for (let turn = 0; turn < 3; turn++) run.last().fail(kind, { sent: false });
        expect(ids(run)).to.deep.equal(['one', 'two', 'three']);
        expect(refusals(run)).to.deep.equal([[503, 1, kind === 'saturated' ? 'saturated' : 'unreachable']]);
        expect(messageOf(run)).to.equal('kube-apiserver three cannot be reached: it broke');
        expect(run.reports.filter(([name]) => name === 'failover')).to.have.length(2);
        expect(run.failed).to.deep.equal([`one: ${kind}`, `two: ${kind}`, `three: ${kind}`]);
        expect([inFlight(run), run.lookups()]).to.deep.equal([[0, 0, 0], 1]);
      }
    });

  it('takes the answer of the server that it tried next', async () => {
    const run = startForwarding(write);
    run.last().fail('connect', { sent: false });
    expect(await run.last().readBody()).to.equal('{"kind":"Pod"}');
    run.last().reply(201, 'done');
    expect(seenBy(run)).to.deep.equal(['answer of two', 'respond 201', 'write done', 'end']);
    expect(refusals(run)).to.deep.equal([]);
  });

  for (const method of ['GET', 'HEAD'])
    for (const kind of ['reset', 'timeout', 'answer'] as const)
      it(`sends a ${method} once more, to another server, after a sent one ended with ${kind}`, () => {
        const run = startForwarding({ method, servers: ['one', 'two', 'three'] });
        run.last().fail(kind, { sent: true });
        run.last().fail(kind, { sent: true });
        expect([ids(run), refusals(run)]).to.deep.equal([['one', 'two'], [[503, 1, 'unreachable']]]);
      });

  it('sends a read to the lone server again after a reset, but not after a timeout or a failure to connect', () => {
    const lone = { servers: ['one'] };
    const again = startForwarding(lone);
    again.last().fail('reset', { sent: true });
    again.last().fail('reset', { sent: true });
    expect([ids(again), refusals(again)]).to.deep.equal([['one', 'one'], [[503, 1, 'unreachable']]]);
    expect(again.reports.map(([name]) => name)).to.deep.equal(['fault', 'fault']);
    for (const [kind, sent] of [
      ['timeout', true],
      ['reset', false],
      ['connect', false],
    ] as const) {
      const run = startForwarding(lone);
      run.last().fail(kind, { sent });
      expect([ids(run), refusals(run)]).to.deep.equal([['one'], [[503, 1, 'unreachable']]]);
    }
  });

  for (const [what, given] of [
    ['a write', write],
    ['a write without a body', { method: 'DELETE' }],
    ['a GET with a body', { body: ['x'] }],
    ['an upgrade that may run a command', { upgrade: 'websocket', path: '/api/v1/namespaces/d/pods/x/exec' }],
  ] as const)
    it(`answers 504 without Retry-After to ${what}, if it was sent, and sends it once`, () => {
      for (const kind of ['reset', 'timeout', 'answer'] as const) {
        const run = startForwarding(given);
        run.last().fail(kind, { sent: true });
        expect([ids(run), refusals(run)]).to.deep.equal([['one'], [[504, undefined, undefined]]]);
        expect(messageOf(run)).to.match(
          /^the connection to kube-apiserver one was lost; .* may have been carried out$/,
        );
      }
    });

  it('repeats an upgrade that only watches', () => {
    const run = startForwarding({ upgrade: 'websocket', path: '/api/v1/pods?watch=1' });
    run.last().fail('reset', { sent: true });
    expect(ids(run)).to.deep.equal(['one', 'two']);
  });

  it('sends no body again that a server has begun to read, even if the fault says that nothing was sent', async () => {
    const run = startForwarding(write);
    await run.last().readBody();
    run.last().fail('reset', { sent: false });
    expect([ids(run), refusals(run)]).to.deep.equal([['one'], [[503, 1, 'unreachable']]]);
  });

  it('answers 400 if the request itself cannot be sent, and asks no other server', () => {
    const run = startForwarding();
    run.last().fail('request', { sent: false });
    expect([ids(run), refusals(run)]).to.deep.equal([['one'], [[400, undefined, undefined]]]);
    expect(messageOf(run)).to.equal('the request cannot be sent: it broke');
  });

  it('blames the server for a broken connection, unless a backend or the client may have caused it', () => {
    const blamed = (
      given: ForwardingCase,
      kind: FaultKind,
      { sent, begun = false }: { readonly sent: boolean; readonly begun?: boolean },
    ) => {
      const run = startForwarding(given);
      if (begun) run.last().answer.onHead(200, []);
      run.last().fail(kind, { sent });
      return run.reports[0];
    };
    const isServers = (yes: boolean, kind: string) => ['fault', 'one', kind, { isServers: yes }];
    const backend = { fromBackend: true };
    expect(blamed({}, 'reset', { sent: true })).to.deep.equal(isServers(true, 'reset'));
    expect(blamed({}, 'reset', { sent: true, begun: true })).to.deep.equal(isServers(false, 'reset'));
    expect(blamed({}, 'timeout', { sent: true, begun: true })).to.deep.equal(isServers(true, 'timeout'));
    expect(blamed({}, 'answer', { sent: true, begun: true })).to.deep.equal(isServers(true, 'answer'));
    expect(blamed(backend, 'reset', { sent: false })).to.deep.equal(isServers(true, 'reset'));
    expect(blamed(backend, 'reset', { sent: true })).to.deep.equal(isServers(false, 'reset'));
    expect(blamed(backend, 'timeout', { sent: true })).to.deep.equal(isServers(false, 'timeout'));
    expect(blamed(backend, 'connect', { sent: true })).to.deep.equal(isServers(true, 'connect'));
    expect(blamed({ ...write, isBodyComplete: false }, 'reset', { sent: true })).to.deep.equal(
      isServers(false, 'reset'),
    );
    expect(blamed(write, 'reset', { sent: true })).to.deep.equal(isServers(true, 'reset'));
    expect(blamed({ isBodyComplete: false }, 'reset', { sent: true })).to.deep.equal(isServers(true, 'reset'));
  });
});

describe('forwarding a 404', () => {
  it('is final at once if the rule trusts it, or if its text is about something else', () => {
    for (const [given, body, headers] of [
      [{ notFound: { kind: 'trust' } }, unknownResource, json],
      [{}, missingObject, json],
      [doubt, missingObject, json],
      [{ path: proxied }, unknownResource, json],
      [{}, unknownResource, ['Content-Type', 'text/plain']],
    ] as const) {
      const run = startForwarding(given);
      run.last().reply(404, body, headers);
      expect(seenBy(run)).to.deep.equal(['answer of one', 'respond 404', `write ${body}`, 'end']);
      expect([ids(run), refusals(run)]).to.deep.equal([['one'], []]);
    }
    expect(isProxiedPath(proxied)).to.equal(true);
  });

  it('is final if its server serves the resource, for reads and writes, with its trailers', async () => {
    for (const given of [{}, write, { method: 'DELETE' }]) {
      const run = startForwarding(given);
      const { answer } = run.last();
      answer.onHead(404, [...json, 'Connection', 'close']);
      for (const half of [unknownResource.slice(0, 9), unknownResource.slice(9)])
        answer.onData(Buffer.from(half), false);
      expect(run.client).to.deep.equal([]);
      answer.onEnd(['T', 'u']);
      run.last().reply(200, listOf('nodes', 'pods'), json);
      await settle();
      expect(run.client).to.deep.equal([
        ['answer of', 'one'],
        ['respond', 404, json],
        ['write', unknownResource.slice(0, 9)],
        ['write', unknownResource.slice(9)],
        ['end', undefined, ['T', 'u']],
      ]);
      expect([run.sent.length, run.reports]).to.deep.equal([2, []]);
    }
  });

  it('sends a read and a write to another server, marked, if the server does not serve the resource', async () => {
    for (const given of [{}, write, { method: 'DELETE' }]) {
      const run = startForwarding(given);
      await run.last().readBody();
      await reply404(run, listOf('nodes'));
      expect(ids(run)).to.deep.equal(['one', 'one', 'two, marked']);
      expect(run.reports).to.deep.equal([['behind', 'one', '/api/v1/namespaces/d/pods'], ['failover']]);
      expect(await run.last().readBody()).to.equal('body' in given ? '{"kind":"Pod"}' : '');
      run.last().reply(200, 'found');
      expect(seenBy(run)).to.deep.equal(['answer of two', 'respond 200', 'write found', 'end']);
      expect(run.outcomes[0]).to.include({ isTableBehind: true });
      expect(inFlight(run)).to.deep.equal([0, 0]);
    }
  });

  it('becomes a 503 with Retry-After if no server serves the resource that the table lists', async () => {
    const run = startForwarding({ servers: ['one', 'two', 'three'] });
    for (let turn = 0; turn < 3; turn++) {
      expect(refusals(run)).to.deep.equal([]);
      await reply404(run, 404);
    }
    expect(ids(run)).to.deep.equal(['one', 'one', 'two, marked', 'two', 'three, marked', 'three']);
    expect(refusals(run)).to.deep.equal([[503, 1, 'doubt']]);
    expect(messageOf(run)).to.match(/^it is unknown whether any kube-apiserver serves this: .*table is behind$/);
    expect(run.reports.filter(([name]) => name === 'behind')).to.have.length(3);
  });

  it('becomes a 503 with Retry-After if the body that another server needs is too long to keep', async () => {
    const run = startForwarding({ method: 'POST', body: ['x'.repeat(256 * 1024), 'y'] });
    await run.last().readBody();
    await reply404(run, 404);
    expect([ids(run), refusals(run)]).to.deep.equal([['one', 'one'], [[503, 1, 'doubt']]]);
  });

  it('becomes a 503 with the reason of the doubt if the server does not serve the resource', async () => {
    const run = startForwarding(doubt);
    await reply404(run, 404);
    expect([ids(run), refusals(run)]).to.deep.equal([['one', 'one'], [[503, 1, 'doubt']]]);
    expect(messageOf(run)).to.equal('it is unknown whether any kube-apiserver serves this: the table is incomplete');
    expect(run.reports).to.deep.equal([]);
  });

  it('makes the proxy repeat a read once if the server has just got the resource, and then is final', async () => {
    const run = startForwarding(doubt);
    await reply404(run, listOf('pods'));
    expect(ids(run)).to.deep.equal(['one', 'one', 'one']);
    await reply404(run, listOf('pods'));
    expect([seenBy(run), ids(run).length]).to.deep.equal([
      ['answer of one', 'respond 404', `write ${unknownResource}`, 'end'],
      4,
    ]);
    const found = startForwarding(doubt);
    await reply404(found, listOf('pods'));
    found.last().reply(200, 'now');
    expect(seenBy(found)).to.deep.equal(['answer of one', 'respond 200', 'write now', 'end']);
  });

  it('becomes a 504 without Retry-After for a write if the server has just got the resource', async () => {
    const run = startForwarding({ ...doubt, ...write });
    await reply404(run, listOf('pods'));
    expect([ids(run), refusals(run)]).to.deep.equal([['one', 'one'], [[504, undefined, undefined]]]);
    expect(messageOf(run)).to.match(/^kube-apiserver one answered 404, .* may have been carried out$/);
  });

  it('sends a read to another server if the server does not say what it serves, and ends a write with 504', async () => {
    const read = startForwarding();
    await reply404(read, 500);
    expect([ids(read), read.reports, refusals(read)]).to.deep.equal([
      ['one', 'one', 'two, marked'],
      [['failover']],
      [],
    ]);
    await reply404(read, 500);
    expect(refusals(read)).to.deep.equal([[503, 1, 'doubt']]);
    const doubtful = startForwarding(doubt);
    await reply404(doubtful, 403);
    expect([ids(doubtful), refusals(doubtful)]).to.deep.equal([['one', 'one'], [[503, 1, 'doubt']]]);
    const written = startForwarding(write);
    await reply404(written, 500);
    expect([ids(written), refusals(written)]).to.deep.equal([['one', 'one'], [[504, undefined, undefined]]]);
  });

  it('of a backend proves nothing if the server may not know the resource', async () => {
    const run = startForwarding({ ...doubt, path: proxied });
    run.last().reply(404, 'no such page');
    expect(seenBy(run)).to.deep.equal(['answer of one', 'respond 404', 'write no such page', 'end']);
    const unknown = startForwarding({ ...doubt, path: proxied });
    await reply404(unknown, 404);
    expect(refusals(unknown)).to.deep.equal([[503, 1, 'doubt']]);
  });

  it('of a HEAD has no text, so the discovery of the server decides', async () => {
    const run = startForwarding({ method: 'HEAD' });
    run.last().reply(404, '', json);
    run.last().reply(200, listOf('pods'), json);
    await settle();
    expect(seenBy(run)).to.deep.equal(['answer of one', 'respond 404', 'end']);
    const lacking = startForwarding({ method: 'HEAD' });
    lacking.last().reply(404, '', json);
    lacking.last().reply(404);
    await settle();
    expect(ids(lacking)).to.deep.equal(['one', 'one', 'two, marked']);
  });

  it('that is compressed may be about the resource', async () => {
    const run = startForwarding();
    run.last().reply(404, 'not JSON', [...json, 'Content-Encoding', 'gzip']);
    run.last().reply(404);
    await settle();
    expect(ids(run)).to.deep.equal(['one', 'one', 'two, marked']);
  });

  it('that is longer than any of kube-apiserver is passed on as it arrives', () => {
    const run = startForwarding();
    run.last().answer.onHead(404, json);
    run.last().answer.onData(Buffer.from('x'.repeat(8 * 1024)), false);
    expect(run.client).to.deep.equal([]);
    run.last().answer.onData(Buffer.from('y'), false);
    expect(run.client.map(([what]) => what)).to.deep.equal(['answer of', 'respond', 'write', 'write']);
    run.last().answer.onData(Buffer.from('z'), true);
    expect(run.client.at(-1)).to.deep.equal(['end', 'z']);
  });
});

describe('forwarding past a server that refuses everything', () => {
  for (const status of [503, 429])
    it(`sends reads and writes to another server after a ${status} of a shutdown, as it was`, async () => {
      for (const given of [{}, write]) {
        const run = startForwarding(given);
        await run.last().readBody();
        run.last().reply(status, shuttingDown, retryAfter);
        expect(ids(run)).to.deep.equal(['one', 'two']);
        expect(run.reports).to.deep.equal([['shutdown', 'one', { fromBackend: false }], ['failover']]);
        expect(run.failed).to.deep.equal(['one: shutting down']);
        expect(await run.last().readBody()).to.equal('body' in given ? '{"kind":"Pod"}' : '');
        run.last().reply(200);
        expect(seenBy(run)).to.deep.equal(['answer of two', 'respond 200', 'end']);
      }
    });

  it('passes the refusal on if it has no Retry-After, another text or status, or if there is no other server', () => {
    for (const [given, status, body, headers] of [
      [{}, 503, shuttingDown, []],
      [{}, 500, shuttingDown, retryAfter],
      [{}, 503, missingObject, retryAfter],
      [{ servers: ['one'] }, 503, shuttingDown, retryAfter],
      [{ path: proxied }, 503, shuttingDown, retryAfter],
    ] as const) {
      const run = startForwarding(given);
      run.last().reply(status, body, headers);
      expect(seenBy(run)).to.deep.equal(['answer of one', `respond ${status}`, `write ${body}`, 'end']);
      expect([ids(run), run.reports]).to.deep.equal([['one'], []]);
    }
  });

  it('passes the refusal on if the body is too long to keep, and reports the shutdown', async () => {
    const run = startForwarding({ method: 'POST', body: ['x'.repeat(256 * 1024), 'y'] });
    await run.last().readBody();
    run.last().reply(503, shuttingDown, retryAfter);
    expect(seenBy(run)).to.deep.equal(['answer of one', 'respond 503', `write ${shuttingDown}`, 'end']);
    expect([ids(run), run.reports]).to.deep.equal([['one'], [['shutdown', 'one', { fromBackend: false }]]]);
  });

  it('repeats a read of an aggregated server that shuts down, and no write', async () => {
    const read = startForwarding({ fromBackend: true });
    read.last().reply(503, shuttingDown, retryAfter);
    expect(ids(read)).to.deep.equal(['one', 'two']);
    const written = startForwarding({ fromBackend: true, ...write });
    await written.last().readBody();
    written.last().reply(503, shuttingDown, retryAfter);
    expect([ids(written), written.client.at(-1)]).to.deep.equal([['one'], ['end', undefined]]);
    for (const { reports } of [read, written])
      expect(reports[0]).to.deep.equal(['shutdown', 'one', { fromBackend: true }]);
  });

  for (const status of [401, 403])
    it(`takes no ${status} from a server that has not been ready since it failed`, async () => {
      for (const given of [{}, write, { path: proxied }]) {
        const run = startForwarding({ ...given, newcomers: ['one'] });
        await run.last().readBody();
        run.last().answer.onHead(status, []);
        expect(run.sent[0]?.calls).to.deep.equal([
          'abort: refused by a server that has not been ready since it failed',
        ]);
        expect([ids(run), inFlight(run)]).to.deep.equal([
          ['one', 'two'],
          [0, 1],
        ]);
        run.last().reply(status, 'no');
        expect(seenBy(run)).to.deep.equal(['answer of two', `respond ${status}`, 'write no', 'end']);
      }
    });

  it('answers 503 with Retry-After if there is no other server than a newcomer', () => {
    const run = startForwarding({ servers: ['one'], newcomers: ['one'] });
    run.last().answer.onHead(403, []);
    expect(refusals(run)).to.deep.equal([[503, 1, 'unreachable']]);
    expect(messageOf(run)).to.match(/^kube-apiserver one has not been ready since it failed/);
  });

  it('answers 504 without Retry-After if the refusal of a newcomer may be that of a backend, for a write', () => {
    const run = startForwarding({ path: proxied, method: 'POST', body: ['x'], newcomers: ['one'] });
    run.last().answer.onHead(403, []);
    expect([ids(run), refusals(run)]).to.deep.equal([['one'], [[504, undefined, undefined]]]);
    expect(messageOf(run)).to.match(/^kube-apiserver one is not ready and refused .* may have been carried out$/);
  });

  it('takes every other status from a newcomer, and a refusal from any other server', () => {
    for (const [newcomers, status] of [
      [['one'], 200],
      [['one'], 409],
      [['two'], 403],
    ] as const) {
      const run = startForwarding({ newcomers });
      run.last().reply(status);
      expect(seenBy(run)).to.deep.equal(['answer of one', `respond ${status}`, 'end']);
    }
  });
});

describe('keeping a body for another server', () => {
  it('holds the bytes that were read while another server may need them, and none otherwise', async () => {
    const kept = startForwarding(write);
    await kept.last().readBody();
    expect([kept.heldBytes(), kept.lookups()]).to.deep.equal([14, 1]);
    const lone = startForwarding({ ...write, servers: ['one'] });
    expect(await lone.last().readBody()).to.equal('{"kind":"Pod"}');
    expect(lone.heldBytes()).to.equal(0);
    const full = startForwarding({ method: 'POST', body: ['x'.repeat(256 * 1024)] });
    await full.last().readBody();
    expect(full.heldBytes()).to.equal(256 * 1024);
  });
});

describe('forwarding an upgrade', () => {
  const exec = { upgrade: 'websocket', path: '/api/v1/namespaces/d/pods/x/exec' } as const;

  it('joins both sides, and counts as in flight until the socket closes', async () => {
    const run = startForwarding(exec);
    expect(run.last().request).to.include({ upgrade: 'websocket', longRunning: true });
    const socket = new PassThrough();
    run.last().answer.onUpgrade(['A', 'b'], socket);
    expect(run.outcomes[0]).to.include({ kind: 'answer', status: 101 });
    expect(run.accepted).to.deep.equal([[['A', 'b'], socket]]);
    expect(inFlight(run)).to.deep.equal([1, 0]);
    run.close(true);
    expect(run.last().calls).to.deep.equal([]);
    socket.destroy();
    await settle();
    expect(inFlight(run)).to.deep.equal([0, 0]);
  });

  it('closes a socket that nobody waits for', () => {
    const unasked = startForwarding();
    const left = startForwarding(exec);
    left.close(false);
    for (const run of [unasked, left]) {
      const socket = new PassThrough();
      run.last().answer.onUpgrade([], socket);
      expect([socket.destroyed, run.accepted, run.outcomes]).to.deep.equal([true, [], []]);
    }
    expect(inFlight(unasked)).to.deep.equal([0, 0]);
  });
});

function isProxiedPath(path: string): boolean {
  const parsed = parseRequestInfo('GET', path);
  return parsed.kind === 'ok' && isProxied(parsed.info);
}
