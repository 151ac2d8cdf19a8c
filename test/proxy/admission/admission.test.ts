import { expect } from 'chai';
import type { RawHeaders } from '../../../src/http/fields.ts';
import { type Admission, createAdmission } from '../../../src/proxy/admission/admission.ts';
import { RunningRequest } from '../../../src/proxy/admission/running-requests.ts';
import { passThrough, type RequestIdentity } from '../../../src/proxy/identity/request-identity.ts';
import type { RequestLimits } from '../../../src/proxy/limits.ts';
import type { Exchange } from '../../../src/proxy/request/exchange.ts';
import { createManualClock, type ManualClock } from '../../support/manual-clock.ts';

/** The parts of a request that admission uses. */
class FakeExchange {
  readonly method = 'GET';
  readonly rawHeaders: RawHeaders;
  readonly connection: { owner?: string } = {};
  readonly identity: RequestIdentity;
  hasBody = false;
  isComplete = true;
  code = 0;
  destroyed = false;
  ended = false;
  readonly #onClose: (() => void)[] = [];

  constructor(token?: string, identity: Partial<RequestIdentity> = {}) {
    this.identity = { ...passThrough, ...identity };
    this.rawHeaders = token === undefined ? [] : ['Authorization', `Bearer ${token}`];
  }

  status = () => this.code;
  bodyComplete = () => this.isComplete;
  keptBytes = () => 7;
  respond = (code: number) => {
    this.code = code;
  };
  end = () => {
    this.ended = true;
  };
  destroy = () => {
    this.destroyed = true;
  };
  onClose = (listener: () => void) => {
    this.#onClose.push(listener);
  };
  close() {
    for (const listener of this.#onClose) listener();
  }
}

const limits: RequestLimits = { maxRequests: 4, maxLongRunning: 4, maxUnauthenticated: 2, requestTimeoutMs: 60_000 };
/** The time that a client without a known credential has to read its answer. */
const readMs = 10_000;

describe('createAdmission', () => {
  let clock: ManualClock;
  let stop: AbortController;
  let counts: Map<string, number>;
  let admission: Admission;

  const begin = (changes: Partial<RequestLimits> = {}) => {
    clock = createManualClock();
    stop = new AbortController();
    counts = new Map();
    const inc = ({ limit }: { readonly limit: string }) => void counts.set(limit, (counts.get(limit) ?? 0) + 1);
    admission = createAdmission({
      limits: { ...limits, ...changes },
      clock,
      metrics: { limited: { inc } } as unknown as Parameters<typeof createAdmission>[0]['metrics'],
      signal: stop.signal,
    });
  };
  beforeEach(() => begin());
  afterEach(() => stop.abort());

  const tryEnter = (exchange: FakeExchange, longRunning = false) =>
    admission.enter(exchange as unknown as Exchange, { longRunning });
  const enter = (exchange: FakeExchange, longRunning = false): RunningRequest => {
    const entered = tryEnter(exchange, longRunning);
    if (!(entered instanceof RunningRequest)) throw new Error(entered.message);
    return entered;
  };
  /** The answer of a server, begun and passed on. */
  const answer = (exchange: FakeExchange, request: RunningRequest, status: number, fromBackend = false) => {
    exchange.code = status;
    admission.noteAnswer(request, { status, rawHeaders: [], fromBackend });
  };
  /** Lets a server accept these tokens. */
  const know = (...tokens: string[]) => {
    for (const token of tokens) {
      const exchange = new FakeExchange(token);
      const request = enter(exchange);
      answer(exchange, request, 200);
      admission.leave(request);
    }
  };
  const isKnownNow = (token: string) => {
    const request = enter(new FakeExchange(token));
    admission.leave(request);
    return request.isKnown;
  };
  const isRefused = (exchange: FakeExchange, longRunning = false) => {
    const entered = tryEnter(exchange, longRunning);
    if (entered instanceof RunningRequest) admission.leave(entered);
    else expect(entered).to.deep.include({ code: 429, details: { retryAfterSeconds: 1 } });
    return !(entered instanceof RunningRequest);
  };

  for (const longRunning of [false, true]) {
    const sort = longRunning ? 'long-running' : 'short';
    const limit = longRunning ? 'long_running_requests' : 'requests';

    it(`returns the place of a ${sort} request when it leaves, once, to its user and to all`, () => {
      know('a', 'b', 'c');
      const held = ['a', 'a', 'b', 'b'].map((token) => enter(new FakeExchange(token), longRunning));
      expect(isRefused(new FakeExchange('c'), longRunning)).to.equal(true);
      expect(counts.get(limit)).to.equal(1);
      const [first, , third] = held;
      if (first === undefined || third === undefined) throw new Error('too few requests');
      admission.leave(first);
      admission.leave(first);
      enter(new FakeExchange('c'), longRunning);
      expect(isRefused(new FakeExchange('c'), longRunning)).to.equal(true);
      admission.leave(third);
      expect(isRefused(new FakeExchange('b'), longRunning)).to.equal(false);
    });

    it(`keeps half of the ${sort} places for other users`, () => {
      know('a', 'b');
      for (let at = 0; at < 2; at++) enter(new FakeExchange('a'), longRunning);
      expect(isRefused(new FakeExchange('a'), longRunning)).to.equal(true);
      expect(counts.get(`user_${limit}`)).to.equal(1);
      expect(isRefused(new FakeExchange('b'), longRunning)).to.equal(false);
    });

    it(`keeps the few ${sort} places of unknown users apart from those of known ones`, () => {
      know('a');
      enter(new FakeExchange('x'), longRunning);
      enter(new FakeExchange('y'), longRunning);
      expect(isRefused(new FakeExchange('z'), longRunning)).to.equal(true);
      expect(counts.get('unauthenticated_requests')).to.equal(1);
      expect(isRefused(new FakeExchange('a'), longRunning)).to.equal(false);
    });

    it(`moves a ${sort} request to the places of known users once a server accepts its token`, () => {
      const exchanges = ['x', 'y'].map((token) => new FakeExchange(token));
      const held = exchanges.map((exchange) => enter(exchange, longRunning));
      const [exchange, request] = [exchanges[0], held[0]];
      if (exchange === undefined || request === undefined) throw new Error('too few requests');
      answer(exchange, request, 200);
      expect(request.isKnown).to.equal(true);
      expect(exchange.connection.owner).to.be.a('string').that.equals(request.owner);
      expect(isRefused(new FakeExchange('z'), longRunning)).to.equal(false);
      const again = enter(new FakeExchange('x'), longRunning);
      expect(again.isKnown).to.equal(true);
      admission.leave(request);
      admission.leave(again);
      for (const token of ['x', 'x']) enter(new FakeExchange(token), longRunning);
      expect(isRefused(new FakeExchange('x'), longRunning)).to.equal(true);
    });
  }

  it('names the general limit if unknown users may use it whole', () => {
    begin({ maxRequests: 1, maxUnauthenticated: 5 });
    enter(new FakeExchange('x'));
    expect(isRefused(new FakeExchange('y'))).to.equal(true);
    expect([...counts.keys()]).to.deep.equal(['requests']);
  });

  it('counts a request of an unknown user against the places that known users occupy', () => {
    begin({ maxRequests: 2 });
    know('a', 'b');
    for (const token of ['a', 'b']) enter(new FakeExchange(token));
    expect(isRefused(new FakeExchange('x'))).to.equal(true);
    expect([...counts.keys()]).to.deep.equal(['requests']);
  });

  it('forgets a token that a server refuses, unless a backend of the server does', () => {
    know('a');
    const exchange = new FakeExchange('a');
    const request = enter(exchange);
    answer(exchange, request, 401, true);
    expect(isKnownNow('a')).to.equal(true);
    admission.noteAnswer(request, {
      status: 401,
      rawHeaders: ['X-Kubernetes-PF-FlowSchema-UID', 'u'],
      fromBackend: false,
    });
    expect(isKnownNow('a')).to.equal(true);
    admission.noteAnswer(request, { status: 401, rawHeaders: [], fromBackend: false });
    admission.leave(request);
    expect(isKnownNow('a')).to.equal(false);
  });

  it('learns nothing about a token from an answer that a server may give before it authenticates', () => {
    const [first, second] = [new FakeExchange('x'), new FakeExchange('x')];
    const watch = enter(first, true);
    answer(first, watch, 500);
    expect(isKnownNow('x')).to.equal(false);
    answer(second, enter(second), 200);
    admission.noteAnswer(watch, { status: 500, rawHeaders: [], fromBackend: false });
    expect(isKnownNow('x')).to.equal(true);
  });

  it('knows whom the proxy itself has verified, and counts each of these users apart from their tokens', () => {
    const verified: Partial<RequestIdentity>[] = [{ replacesToken: true, who: 'jane' }, { connectAs: 'frontProxy' }];
    for (const identity of verified) {
      const exchange = new FakeExchange('t', identity);
      const request = enter(exchange);
      expect(request.isKnown).to.equal(true);
      expect(exchange.connection.owner).to.equal(request.user.user);
    }
    expect(enter(new FakeExchange('t', { replacesToken: true, who: 'joe' })).user.user).to.equal('joe');
    const unknown = new FakeExchange('x');
    enter(unknown);
    expect(unknown.connection.owner).to.equal(undefined);
  });

  it('refuses a watch if a cut answer of a short request gives it no place', () => {
    const read = new FakeExchange('z');
    answer(read, enter(read), 401);
    for (const token of ['x', 'y']) enter(new FakeExchange(token), true);
    expect(isRefused(new FakeExchange('w'), true)).to.equal(true);
    expect(read.destroyed).to.equal(true);
  });

  it('takes a watch without a token for accepted if it succeeds, and nothing else without a token', () => {
    for (const [longRunning, status, isKnown] of [
      [true, 200, true],
      [true, 403, false],
      [false, 200, false],
    ] as const) {
      const exchange = new FakeExchange();
      const request = enter(exchange, longRunning);
      answer(exchange, request, status);
      expect(request.isKnown, `${longRunning} ${status}`).to.equal(isKnown);
      admission.leave(request);
    }
  });

  it('accepts no request that has left', () => {
    const exchange = new FakeExchange('x');
    const request = enter(exchange);
    admission.leave(request);
    answer(exchange, request, 200);
    expect(request.isKnown).to.equal(false);
  });

  it('cuts the oldest unread answer to an unknown user to make room for a new one', () => {
    const [first, second] = [new FakeExchange('x'), new FakeExchange('y')];
    const requests = [enter(first), enter(second)];
    for (const [at, exchange] of [first, second].entries()) answer(exchange, requests[at] as RunningRequest, 401);
    expect(isRefused(new FakeExchange('z'))).to.equal(false);
    expect([first.destroyed, second.destroyed]).to.deep.equal([true, false]);
    expect(counts.get('unread_answers')).to.equal(1);
  });

  it('answers 504 to a request that takes too long, 408 if its body is late, and ends it if that is not read', async () => {
    know('a');
    const slow = new FakeExchange('a');
    const late = Object.assign(new FakeExchange('a'), { hasBody: true, isComplete: false });
    const unknown = Object.assign(new FakeExchange('x'), { hasBody: true });
    for (const exchange of [slow, late, unknown]) enter(exchange);
    await clock.advance(limits.requestTimeoutMs - 1);
    expect([slow, late, unknown].map(({ code }) => code)).to.deep.equal([0, 0, 0]);
    await clock.advance(1);
    expect([slow, late, unknown].map(({ code }) => code)).to.deep.equal([504, 408, 504]);
    expect([slow, late, unknown].map(({ destroyed }) => destroyed)).to.deep.equal([false, false, false]);
    expect(counts.get('request_timeout')).to.equal(3);
    await clock.advance(readMs);
    expect([slow, late, unknown].map(({ destroyed }) => destroyed)).to.deep.equal([true, true, true]);
    expect(Object.fromEntries(counts)).to.deep.equal({ request_timeout: 4, unread_answers: 2 });
  });

  it('cuts off an answer that takes too long, once', async () => {
    know('a');
    const [known, accepted] = [new FakeExchange('a'), new FakeExchange('x')];
    for (const exchange of [known, accepted]) answer(exchange, enter(exchange), 200);
    await clock.advance(limits.requestTimeoutMs);
    expect([known.code, known.destroyed, accepted.destroyed]).to.deep.equal([200, true, true]);
    await clock.advance(2 * readMs);
    expect(Object.fromEntries(counts)).to.deep.equal({ request_timeout: 2 });
  });

  it('gives an unknown user a short time to read an answer, and a known one whose token is refused the usual', async () => {
    know('a');
    const [known, unknown] = [new FakeExchange('a'), new FakeExchange('x')];
    for (const exchange of [known, unknown]) answer(exchange, enter(exchange), 401);
    await clock.advance(readMs - 1);
    expect([known.destroyed, unknown.destroyed]).to.deep.equal([false, false]);
    await clock.advance(1);
    expect([known.destroyed, unknown.destroyed]).to.deep.equal([false, true]);
  });

  it('lets watches of known users run, but none that no server answers', async () => {
    know('a');
    const [known, accepted, unanswered] = [new FakeExchange('a'), new FakeExchange('x'), new FakeExchange('y')];
    enter(known, true);
    const request = enter(accepted, true);
    enter(unanswered, true);
    answer(accepted, request, 200);
    await clock.advance(10 * limits.requestTimeoutMs);
    expect([known, accepted, unanswered].map(({ code }) => code)).to.deep.equal([0, 200, 504]);
    expect([known.destroyed, accepted.destroyed]).to.deep.equal([false, false]);
  });

  it('gives a client less time to read an answer that refuses it', async () => {
    know('a');
    const [own, other] = [new FakeExchange('a'), new FakeExchange('x')];
    for (const exchange of [own, other]) {
      const request = enter(exchange);
      exchange.code = 503;
      admission.noteRefusal(request);
    }
    await clock.advance(readMs - 1_000);
    expect([own.destroyed, other.destroyed]).to.deep.equal([false, false]);
    await clock.advance(2_000);
    expect([own.destroyed, other.destroyed]).to.deep.equal([true, true]);
    expect(Object.fromEntries(counts)).to.deep.equal({ unread_answers: 1, request_timeout: 1 });
  });

  it('ignores the deadline of a request that has left', async () => {
    const exchange = new FakeExchange('x');
    const request = enter(exchange);
    admission.leave(request);
    admission.noteRefusal(request);
    await clock.advance(2 * limits.requestTimeoutMs);
    expect([exchange.code, exchange.destroyed]).to.deep.equal([0, false]);
  });

  it('keeps few refusals of requests that it did not admit, and none for long', async () => {
    const refused = ['x', 'y', 'z', 'w'].map((token) => new FakeExchange(token));
    for (const exchange of refused.slice(0, 2)) admission.refuse(exchange as unknown as Exchange);
    refused[1]?.close();
    for (const exchange of refused.slice(2)) admission.refuse(exchange as unknown as Exchange);
    expect(refused.map(({ destroyed }) => destroyed)).to.deep.equal([true, false, false, false]);
    for (const token of ['p', 'q']) enter(new FakeExchange(token));
    expect(isRefused(new FakeExchange('r'))).to.equal(true);
    await clock.advance(readMs - 1);
    expect(refused.map(({ destroyed }) => destroyed)).to.deep.equal([true, false, false, false]);
    await clock.advance(1);
    expect(refused.map(({ destroyed }) => destroyed)).to.deep.equal([true, false, true, true]);
    expect(counts.get('unread_answers')).to.equal(3);
  });

  it('shows every request that holds memory', () => {
    know('a');
    const exchanges = ['a', 'a', 'x', 'y', 'x'].map((token) => new FakeExchange(token));
    const [short, declined, unread, , long] = exchanges.map((exchange, at) => enter(exchange, at === 3 || at === 4));
    if (declined === undefined || unread === undefined || short === undefined || long === undefined) throw new Error();
    admission.noteRefusal(declined);
    admission.noteRefusal(unread);
    admission.noteAnswer(long, { status: 200, rawHeaders: [], fromBackend: false });
    admission.refuse(new FakeExchange('z') as unknown as Exchange);
    expect([...admission.keepers()].at(-1)?.owner).to.equal(undefined);
    expect([...admission.keepers()].map((keeper) => keeper.keptBytes(new Set() as never))).to.deep.equal(
      Array<number>(6).fill(7),
    );
    short.cut();
    expect(exchanges[0]?.destroyed).to.equal(true);
  });

  it('ends answered watches whole, and cuts those without an answer', async () => {
    know('a');
    const [answered, waiting, unknown] = [new FakeExchange('a'), new FakeExchange('a'), new FakeExchange('x')];
    answered.code = 200;
    for (const exchange of [answered, waiting, unknown]) enter(exchange, true);
    const done = admission.endLongRunning(1_000, new AbortController().signal);
    await clock.advance(999);
    expect(unknown.destroyed).to.equal(false);
    await clock.advance(1);
    await done;
    expect([answered.ended, answered.destroyed]).to.deep.equal([true, false]);
    expect([waiting.destroyed, unknown.destroyed]).to.deep.equal([true, true]);
  });

  it('stops to end watches when it is told to', async () => {
    know('a');
    const exchange = new FakeExchange('a');
    enter(exchange, true);
    const ended = new AbortController();
    const done = admission.endLongRunning(10_000, ended.signal);
    ended.abort();
    await done;
    expect(exchange.destroyed).to.equal(false);
  });

  it('ends watches evenly over their time, and a single one at its end', async () => {
    const endedBy = async (count: number, graceMs: number, stepsMs: readonly number[]) => {
      begin({ maxLongRunning: 100 });
      const watches = Array.from(
        { length: count },
        (_, at) => new FakeExchange('', { replacesToken: true, who: `${at}` }),
      );
      for (const watch of watches) {
        watch.code = 200;
        enter(watch, true);
      }
      const done = admission.endLongRunning(graceMs, new AbortController().signal);
      const ended: number[] = [];
      for (const stepMs of stepsMs) {
        await clock.advance(stepMs);
        ended.push(watches.filter((watch) => watch.ended).length);
      }
      await done;
      return ended;
    };
    expect(await endedBy(1, 10_000, [0, 5_000, 4_900, 100])).to.deep.equal([0, 0, 0, 1]);
    expect(await endedBy(10, 10_000, [0, 1_000, 1_000, 3_000, 4_900, 100])).to.deep.equal([0, 1, 2, 5, 9, 10]);
    expect(await endedBy(3, 0, [0])).to.deep.equal([3]);
    expect(await endedBy(1, 150, [0, 100, 49, 1])).to.deep.equal([0, 0, 0, 1]);
  });

  it('forgets a user within a second of the last request, or at once if there are many', async () => {
    const userOf = (token: string, longRunning = false) => {
      const request = enter(new FakeExchange(token), longRunning);
      if (!longRunning) admission.leave(request);
      return request.user;
    };
    const [idle, watching, reading] = [userOf('idle'), userOf('watching', true), enter(new FakeExchange('reading'))];
    expect(userOf('idle')).to.equal(idle);
    await clock.advance(1_000);
    expect(userOf('idle')).not.to.equal(idle);
    expect(userOf('watching')).to.equal(watching);
    expect(enter(new FakeExchange('reading'), true).user).to.equal(reading.user);
    begin({ maxLongRunning: 1_000, maxUnauthenticated: 500 });
    for (let at = 0; at < 100; at++) userOf(`u${at}`, true);
    expect(userOf('idle')).not.to.equal(userOf('idle'));
  });
});
