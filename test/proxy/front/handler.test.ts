import { PassThrough } from 'node:stream';
import { expect } from 'chai';
import { routingTable } from '../../../lab/routing-table.ts';
import type { RoutingTable } from '../../../src/domain/routing-table.ts';
import { buildStatus, type StatusError } from '../../../src/domain/status-error.ts';
import { indexTable } from '../../../src/domain/table-index.ts';
import type { AnswerHandler } from '../../../src/http/client/dispatch.ts';
import { RunningRequest } from '../../../src/proxy/admission/running-requests.ts';
import type { DiscoveryContext, Passed } from '../../../src/proxy/discovery/unified-discovery.ts';
import { createHandler, type HandlerContext } from '../../../src/proxy/front/handler.ts';
import { passThrough, type RequestIdentity } from '../../../src/proxy/identity/request-identity.ts';
import type { PeerRequest, PeerTarget } from '../../../src/proxy/ports.ts';
import type { ClientConnection, Exchange } from '../../../src/proxy/request/exchange.ts';
import type { FleetPeer } from '../../../src/proxy/servers/fleet.ts';
import { type LogFields, silentLog } from '../../../src/runtime/log.ts';
import { createManualClock } from '../../support/manual-clock.ts';
import { groupVersion } from '../../support/proxy-under-test.ts';

const listed = ['a', 'b', 'c'].map((id, at) => ({ id, address: `10.0.0.${at + 1}:6443`, state: 'Ready' as const }));
const usualTable = routingTable({
  peers: listed,
  groupVersions: [groupVersion('v1', { pods: [0, 1, 2] }), groupVersion('new.io/v1', { things: [1, 2] })],
});
const pods = '/api/v1/namespaces/d/pods';
const things = '/apis/new.io/v1/namespaces/d/things';
/** A request spends this long in admission, and this long at its server; nothing else takes time. */
const admittingMs = 250;
const answeringMs = 2_000;
const settle = () => new Promise((resolve) => setImmediate(resolve));

interface Given {
  readonly table?: RoutingTable | undefined;
  readonly identity?: Partial<RequestIdentity>;
  readonly refusal?: StatusError;
  /** The refusal of admission. */
  readonly full?: StatusError;
  readonly hasHome?: boolean;
  readonly isTableTooOld?: boolean;
  /** True if its path asks about all servers. */
  readonly isUnified?: boolean;
  readonly answerDiscovery?: (exchange: Exchange, context: DiscoveryContext) => undefined | Promise<Passed>;
  readonly accessLog?: boolean;
  readonly allowsOrigin?: boolean;
  /** The wait for the fields of home. */
  readonly learning?: () => Promise<void>;
}

/** The time that `performance.now()` returns during a test. */
const time = { nowMs: 0 };

/** A handler whose surroundings are fakes that note what they are told, in order. */
function setUp(given: Given = {}) {
  const { table = usualTable, accessLog = false } = given;
  const peers = listed.map(
    ({ id, address, state }): FleetPeer => ({
      target: { id, address, serverName: 'kubernetes.default.svc', pinned: false },
      state,
      load: { inFlight: 0, asked: 0 },
    }),
  );
  const notes: unknown[][] = [];
  const note =
    (...head: unknown[]) =>
    (...rest: unknown[]) =>
      void notes.push([...head, ...rest]);
  const sent: { readonly id: string; readonly request: PeerRequest; readonly answer: AnswerHandler }[] = [];
  const lines: LogFields[] = [];
  const hasTable = !('table' in given) || given.table !== undefined;
  const snapshot = hasTable
    ? { bundle: { table } as never, index: indexTable(table), peers }
    : { bundle: undefined, index: undefined, peers };
  const usable = (peer: FleetPeer | undefined): peer is FleetPeer => peer !== undefined;
  const context = {
    fleet: {
      current: () => snapshot,
      homeOf: (_snapshot: unknown, _connection: unknown, use: unknown) => {
        notes.push(['homeOf', use]);
        return given.hasHome === false ? undefined : peers[0];
      },
      usable,
      lastResort: () => false,
      tableTooOld: () => given.isTableTooOld === true,
      adoptHome: (_connection: unknown, { target }: FleetPeer) => notes.push(['adoptHome', target.id]),
    },
    servers: {
      knowsItsUsers: ({ id }: PeerTarget) => id !== 'c',
      noteFault: ({ id }: PeerTarget, _fault: unknown, cause: unknown) => notes.push(['fault', id, cause]),
      noteTableBehind: note('behind'),
      noteFailover: note('failover'),
      noteShutdown: note('shutdown'),
    },
    transport: {
      dispatch: ({ id }: PeerTarget, request: PeerRequest, answer: AnswerHandler) => {
        sent.push({ id, request, answer });
        return { pause: () => {}, resume: () => {}, abort: () => {} };
      },
    },
    clock: createManualClock(),
    discovery: {
      isUnified: () => given.isUnified === true,
      read: () => (given.isUnified === true ? { kind: 'openApiIndex' } : undefined),
      answer: (exchange: Exchange, question: { readonly kind: string }, about: DiscoveryContext) => {
        notes.push(['discovery', question.kind, about.doubt]);
        return given.answerDiscovery?.(exchange, about);
      },
    },
    homeFields: {
      known: () => ['Vary', 'Origin'],
      learn: () => {
        notes.push(['learn']);
        return given.learning?.();
      },
      allowsOrigin: () => given.allowsOrigin === true,
      note: () => {},
    },
    metrics: {
      rerouted: { inc: note('rerouted') },
      fieldWrites: { inc: note('fieldWrites') },
      unavailable: { inc: note('unavailable') },
      overhead: { observe: note('overhead') },
      duration: { observe: note('duration') },
    },
    log: { ...silentLog, info: (_message: string, fields: LogFields = {}) => void lines.push(fields) },
    accessLog,
    authenticate: () =>
      given.refusal === undefined
        ? { kind: 'identity', identity: { ...passThrough, ...given.identity } }
        : { kind: 'refused', status: given.refusal },
    admission: {
      enter: (exchange: Exchange, sort: { readonly longRunning: boolean }) => {
        notes.push(['enter', sort.longRunning]);
        time.nowMs += admittingMs;
        return given.full ?? new RunningRequest(exchange, 0, { user: '', short: 0, long: 0 }, sort.longRunning, true);
      },
      refuse: () => notes.push(['refuse']),
      noteRefusal: () => notes.push(['noteRefusal']),
      noteAnswer: (_running: unknown, answer: unknown) => notes.push(['noteAnswer', answer]),
      leave: () => notes.push(['leave']),
      endLongRunning: async (graceMs: number) => void notes.push(['endLongRunning', graceMs]),
    },
    leveller: {
      begin: (_exchange: unknown, address: string) => notes.push(['begin', address]),
      end: () => notes.push(['end']),
    },
  };
  const handler = createHandler(context as unknown as HandlerContext);
  const connection: ClientConnection = {
    remoteAddress: '::1',
    certificate: undefined,
    home: undefined,
    sticky: new Map(),
  };
  /** Hands a request in, and returns what its client gets. */
  const exchangeOf = (target: string, method: string) => {
    const client: { status: number; fields: readonly string[]; body: string; ends: number } = {
      status: 0,
      fields: [],
      body: '',
      ends: 0,
    };
    const listeners: ((complete: boolean) => void)[] = [];
    const close = (complete: boolean) => {
      for (const listener of listeners.splice(0)) listener(complete);
    };
    const exchange = {
      method,
      target,
      rawHeaders: ['Host', 'h'],
      protocol: 'HTTP/2',
      connection,
      identity: passThrough,
      hasBody: false,
      bodyComplete: () => true,
      body: () => null,
      heldElsewhere: 0,
      status: () => client.status,
      interim: () => {},
      respond: (status: number, fields: readonly string[]) => Object.assign(client, { status, fields }),
      write: (chunk: Buffer) => {
        client.body += chunk.toString();
        return true;
      },
      end: (chunk?: Buffer) => {
        client.body += chunk?.toString() ?? '';
        client.ends++;
        close(true);
      },
      destroy: () => close(false),
      onDrain: () => {},
      onClose: (listener: (complete: boolean) => void) => void listeners.push(listener),
    } as unknown as Exchange;
    return { client, exchange, close };
  };
  const ask = (
    target = pods,
    { method = 'GET', upgrade }: { readonly method?: string; readonly upgrade?: string } = {},
  ) => {
    const { client, exchange, close } = exchangeOf(target, method);
    const switching = upgrade === undefined ? undefined : { protocol: upgrade, accept: () => {} };
    handler.handle(exchange, switching);
    return { client, close };
  };
  const last = () => {
    const found = sent.at(-1);
    if (found === undefined) throw new Error('nothing was sent');
    return found;
  };
  const reply = (status = 200, rawHeaders: readonly string[] = []) => {
    time.nowMs += answeringMs;
    last().answer.onHead(status, [...rawHeaders]);
    last().answer.onEnd([]);
  };
  const named = (name: string) => notes.filter(([what]) => what === name);
  return { handler, ask, exchangeOf, last, reply, sent, notes, named, lines, connection, context, peers };
}

const homeIsAway = () => Promise.reject(new Error('home is away'));
const statusOf = ({ body }: { readonly body: string }): StatusError => JSON.parse(body);

describe('the handler of requests', () => {
  const { now } = performance;
  beforeEach(() => {
    time.nowMs = 5_000;
    performance.now = () => time.nowMs;
  });
  afterEach(() => {
    performance.now = now;
  });

  it('sends an admitted request on, and tells everybody of its answer and its end', () => {
    const { handler, ask, reply, last, notes, connection, context } = setUp();
    const { client } = ask();
    expect([handler.inFlight(), last().id, connection.homeFields === (context.homeFields as unknown)]).to.deep.equal([
      1,
      'a',
      true,
    ]);
    reply(201, ['A', 'b']);
    expect([client.status, client.fields, client.ends, handler.inFlight()]).to.deep.equal([201, ['A', 'b'], 1, 0]);
    expect(notes).to.deep.equal([
      ['enter', false],
      ['homeOf', { forWatch: false }],
      ['noteAnswer', { status: 201, rawHeaders: ['A', 'b'], fromBackend: false }],
      ['overhead', 0.25],
      ['leave'],
      ['end'],
      ['duration', 2.25, 'home'],
    ]);
  });

  it('refuses an identity, and sends nothing', () => {
    const { ask, sent, notes } = setUp({ refusal: buildStatus(401, 'who is this?') });
    const { client } = ask();
    expect([client.status, statusOf(client).message, sent.length]).to.deep.equal([401, 'who is this?', 0]);
    expect(notes.map(([what]) => what)).to.deep.equal(['refuse', 'learn', 'end', 'duration']);
  });

  it('refuses a request that no server could read alike', () => {
    const { ask, sent, named } = setUp();
    const { client } = ask('/api/v1/%zz');
    expect([client.status, statusOf(client).reason, sent.length]).to.deep.equal([400, 'BadRequest', 0]);
    expect(named('refuse')).to.have.length(1);
  });

  it('refuses what admission refuses, and gives no place back', () => {
    const { ask, sent, named } = setUp({ full: buildStatus(429, 'too many', 1) });
    const { client } = ask();
    expect([client.status, sent.length]).to.deep.equal([429, 0]);
    expect(client.fields).to.include.members(['Retry-After', 'Vary']);
    expect([named('refuse'), named('leave'), named('noteRefusal'), named('unavailable')]).to.deep.equal([
      [['refuse']],
      [],
      [],
      [],
    ]);
  });

  it('counts a refusal after admission, with its reason, and gives the place back', () => {
    const { ask, named } = setUp({ table: undefined, isUnified: true });
    const { client } = ask('/apis');
    expect([client.status, client.fields.includes('Retry-After')]).to.deep.equal([503, true]);
    expect(named('unavailable')).to.deep.equal([['unavailable', { reason: 'no_table' }]]);
    expect([named('noteRefusal').length, named('refuse').length, named('leave').length]).to.deep.equal([1, 0, 1]);
    expect(named('duration')).to.deep.equal([['duration', 0.25, 'rejected']]);
    expect(named('discovery')).to.deep.equal([]);
  });

  it('counts a refusal of the forwarding as rejected', () => {
    const { ask, last, named } = setUp();
    const { client } = ask();
    for (let turn = 0; turn < 3; turn++) last().answer.onFault({ kind: 'connect', sent: false, error: new Error('x') });
    expect(client.status).to.equal(503);
    expect(named('unavailable')).to.deep.equal([['unavailable', { reason: 'unreachable' }]]);
    expect(named('duration')).to.deep.equal([['duration', 0.25, 'rejected']]);
    expect(named('fault').map(([, id]) => id)).to.deep.equal(['a', 'b', 'c']);
  });

  it('counts a 503 without a special reason as other', () => {
    const { ask, named } = setUp({ refusal: buildStatus(503, 'no CA yet', 1) });
    ask();
    expect(named('unavailable')).to.deep.equal([['unavailable', { reason: 'other' }]]);
  });

  it('answers a request that the front refuses with a Status, after it has learned the fields of home', async () => {
    for (const learning of [undefined, async () => {}, homeIsAway]) {
      const { handler, exchangeOf, notes, connection, context } = setUp({ ...(learning && { learning }) });
      const { client, exchange } = exchangeOf(pods, 'GET');
      handler.refuse(exchange, buildStatus(413, 'too long'));
      expect(client.status).to.equal(learning === undefined ? 413 : 0);
      await settle();
      expect([client.status, client.ends]).to.deep.equal([413, 1]);
      expect(notes).to.deep.equal([['refuse'], ['learn']]);
      expect(connection.homeFields === (context.homeFields as unknown)).to.equal(true);
    }
  });

  it('ends long-running requests through admission', async () => {
    const { handler, notes } = setUp();
    await handler.endLongRunning(5_000, new AbortController().signal);
    expect(notes).to.deep.equal([['endLongRunning', 5_000]]);
  });

  describe('for a CORS preflight', () => {
    it('answers 204 with the fields of home if home allows the origin, and sends nothing', async () => {
      for (const learning of [undefined, async () => {}]) {
        const { ask, sent, named, lines } = setUp({
          allowsOrigin: true,
          accessLog: true,
          ...(learning && { learning }),
        });
        const { client } = ask(pods, { method: 'OPTIONS' });
        await settle();
        expect([client.status, client.body, client.ends, sent.length]).to.deep.equal([204, '', 1, 0]);
        expect(client.fields.slice(0, 3)).to.deep.equal(['Cache-Control', 'no-cache, private', 'Audit-Id']);
        expect(client.fields.slice(4)).to.deep.equal(['Vary', 'Origin']);
        expect([named('refuse').length, named('enter').length]).to.deep.equal([1, 0]);
        expect(lines[0]).to.include({ code: 204, reason: 'home allows the origin', route: 'rejected' });
      }
    });

    it('handles the request like any other if home does not allow the origin, or cannot be asked', async () => {
      for (const given of [{}, { allowsOrigin: true, learning: homeIsAway }]) {
        const { ask, sent } = setUp(given);
        ask(pods, { method: 'OPTIONS' });
        await settle();
        expect(sent).to.have.length(1);
      }
    });

    it('asks home about the origin only for OPTIONS', () => {
      const { ask, sent, named } = setUp({ allowsOrigin: true });
      ask();
      expect([named('learn'), sent.length]).to.deep.equal([[], 1]);
    });
  });

  describe('for discovery', () => {
    it('lets the unified document answer, and counts its 503', () => {
      const { ask, sent, named, lines } = setUp({
        isUnified: true,
        accessLog: true,
        answerDiscovery: (exchange) => {
          exchange.respond(503, []);
          exchange.end();
          return undefined;
        },
      });
      expect(ask('/apis').client.status).to.equal(503);
      expect([sent.length, named('discovery')]).to.deep.equal([0, [['discovery', 'openApiIndex', undefined]]]);
      expect(named('unavailable')).to.deep.equal([['unavailable', { reason: 'discovery' }]]);
      expect(named('duration')).to.deep.equal([['duration', 0.25, 'discovery']]);
      expect(lines[0]).to.include({ code: 503, route: 'discovery' });
    });

    it('counts no other answer of it as unavailable', () => {
      const { ask, named } = setUp({
        isUnified: true,
        answerDiscovery: (exchange) => {
          exchange.respond(200, []);
          exchange.end();
          return undefined;
        },
      });
      ask('/apis');
      expect(named('unavailable')).to.deep.equal([]);
    });

    it('says what an absence from the table proves', () => {
      const doubtIn = (given: Given) => {
        const { ask, named } = setUp({ ...given, isUnified: true });
        ask('/apis');
        return named('discovery')[0]?.[2];
      };
      expect(doubtIn({})).to.equal(undefined);
      expect(doubtIn({ isTableTooOld: true })).to.equal('the routing table has not been confirmed for too long');
      const incomplete = routingTable({ ...usualTable, complete: false });
      expect(doubtIn({ table: incomplete })).to.equal('not every kube-apiserver is known well enough');
    });

    it('offers home first, then the others, and passes the reports about them on', () => {
      let about: DiscoveryContext | undefined;
      const { ask, named, peers } = setUp({
        isUnified: true,
        answerDiscovery: (_exchange, context) => {
          about = context;
          return undefined;
        },
      });
      ask('/apis');
      const [a, , c] = peers;
      if (about === undefined || a === undefined || c === undefined) throw new Error('discovery was not asked');
      expect(about.homes().map(({ target }) => target.id)).to.deep.equal(['a', 'b', 'c']);
      expect([about.usable(a), about.usable(undefined)]).to.deep.equal([true, false]);
      expect([about.knowsItsUsers(a.target), about.knowsItsUsers(c.target)]).to.deep.equal([true, false]);
      about.onFault(a.target, { kind: 'reset', sent: true, error: new Error('x') });
      expect(named('fault')).to.deep.equal([['fault', 'a', { isServers: true }]]);
    });

    it('does not blame a server for a broken answer of an aggregated one, if it was sent', () => {
      const aggregated = routingTable({
        ...usualTable,
        groupVersions: [{ ...groupVersion('metrics.io/v1', { nodes: [0, 1, 2] }), origin: 'Aggregated' }],
      });
      const { ask, named, peers } = setUp({
        table: aggregated,
        isUnified: true,
        answerDiscovery: (_exchange, { onFault }) => {
          for (const sent of [true, false])
            if (peers[0] !== undefined) onFault(peers[0].target, { kind: 'reset', sent, error: new Error('x') });
          return undefined;
        },
      });
      ask('/apis/metrics.io/v1');
      expect(named('fault').map(([, , cause]) => cause)).to.deep.equal([{ isServers: false }, { isServers: true }]);
    });

    it('forwards to the servers that discovery names, and keeps the client to none of them', async () => {
      const { ask, reply, last, named, peers, connection } = setUp({
        isUnified: true,
        answerDiscovery: async () => peers.slice(1),
      });
      const { client } = ask('/apis');
      await settle();
      expect(last().id).to.equal('b');
      reply();
      expect([client.status, [...connection.sticky], named('adoptHome')]).to.deep.equal([200, [], []]);
      expect(named('rerouted')).to.deep.equal([['rerouted', { code: '200', group: '', version: '', resource: '' }]]);
    });

    it('forwards nothing if discovery has answered later', async () => {
      const { ask, sent } = setUp({ isUnified: true, answerDiscovery: async () => undefined });
      const { client } = ask('/apis');
      await settle();
      expect([sent.length, client.status]).to.deep.equal([0, 0]);
    });

    it('answers 500 if discovery fails', async () => {
      const { ask } = setUp({ isUnified: true, answerDiscovery: async () => Promise.reject(new Error('a bug')) });
      const { client } = ask('/apis');
      await settle();
      expect([client.status, statusOf(client).message]).to.deep.equal([500, 'discovery failed: Error: a bug']);
    });

    it('is a request like any other if another proxy has routed it here, or if it switches protocols', () => {
      for (const [given, upgrade] of [
        [{ identity: { alreadyRouted: true } }, undefined],
        [{ identity: { alreadyRouted: true }, table: undefined }, undefined],
        [{}, 'websocket'],
        [{ table: undefined }, 'websocket'],
      ] as const) {
        const { ask, sent, named } = setUp({ ...given, isUnified: true });
        ask('/apis', { ...(upgrade !== undefined && { upgrade }) });
        expect([sent.map(({ id }) => id), named('discovery')]).to.deep.equal([['a'], []]);
      }
    });
  });

  describe('for a request that home does not serve', () => {
    it('keeps the connection to the server of the resource, even before it answers', () => {
      const { ask, reply, last, sent, connection, named } = setUp();
      ask(things);
      expect([...connection.sticky]).to.deep.equal([['new.io/v1/things', '10.0.0.2:6443']]);
      last().answer.onFault({ kind: 'connect', sent: false, error: new Error('x') });
      reply(404);
      expect([...connection.sticky]).to.deep.equal([['new.io/v1/things', '10.0.0.3:6443']]);
      ask(things);
      expect(sent.map(({ id }) => id)).to.deep.equal(['b', 'c', 'c']);
      expect(named('rerouted')).to.deep.equal([
        ['rerouted', { code: '404', group: 'new.io', version: 'v1', resource: 'things' }],
      ]);
      expect([named('fieldWrites'), named('adoptHome')]).to.deep.equal([[], []]);
      expect(named('duration')).to.deep.equal([['duration', 2.25, 'peer']]);
    });

    it('takes the servers in turn', () => {
      const { ask, reply, sent, connection } = setUp();
      for (let turn = 0; turn < 3; turn++) {
        connection.sticky.clear();
        ask(things);
        reply();
      }
      expect(sent.map(({ id }) => id)).to.deep.equal(['b', 'c', 'b']);
    });

    it('remembers a thousand resources of a connection, and then begins anew', () => {
      const { ask, connection } = setUp();
      for (let at = 0; at < 999; at++) connection.sticky.set(`x/v1/r${at}`, 'y');
      ask(things);
      expect(connection.sticky.size).to.equal(1_000);
      ask(things);
      expect(connection.sticky.size).to.equal(1_000);
      connection.sticky.delete('new.io/v1/things');
      connection.sticky.set('x/v1/more', 'y');
      ask(things);
      expect([...connection.sticky.keys()]).to.deep.equal(['new.io/v1/things']);
    });

    it('counts a write that goes to a server with all fields, but no read', () => {
      const fields = routingTable({
        ...usualTable,
        groupVersions: [
          {
            ...groupVersion('v1', {}),
            resources: [{ resource: 'pods', peers: [0, 1, 2], subresources: {}, writers: [1, 2] }],
          },
        ],
      });
      const { ask, reply, named, sent } = setUp({ table: fields });
      ask(`${pods}/x`);
      reply();
      expect(named('fieldWrites')).to.deep.equal([]);
      ask(`${pods}/x`, { method: 'PUT' });
      reply();
      expect(sent[0]?.id).not.to.equal('a');
      expect(named('fieldWrites')).to.deep.equal([['fieldWrites', { group: '', version: 'v1', resource: 'pods' }]]);
    });
  });

  it('makes the server that stood in for home the new home, and only that', () => {
    const { ask, reply, last, named, connection } = setUp();
    ask();
    reply();
    expect(named('adoptHome')).to.deep.equal([]);
    ask();
    last().answer.onFault({ kind: 'connect', sent: false, error: new Error('x') });
    const { id } = last();
    reply();
    expect([named('adoptHome'), [...connection.sticky]]).to.deep.equal([[['adoptHome', id]], []]);
  });

  it('keeps the resource at the server that has it, if home turned out not to know it', async () => {
    const { ask, last, reply, connection, named } = setUp();
    ask();
    const missing = { kind: 'Status', message: 'the server could not find the requested resource', reason: 'NotFound' };
    last().answer.onHead(404, ['Content-Type', 'application/json']);
    last().answer.onData(Buffer.from(JSON.stringify(missing)), false);
    last().answer.onEnd([]);
    reply(404);
    await settle();
    const { id } = last();
    reply();
    expect([id === 'a', [...connection.sticky.keys()], named('adoptHome')]).to.deep.equal([false, ['/v1/pods'], []]);
    expect(named('behind')).to.have.length(1);
  });

  it('counts a watch for the levelling of watches, if home has begun to answer it', () => {
    const watch = `${pods}?watch=1`;
    const beginsOf = (target: string, status: number, upgrade?: string) => {
      const { ask, reply, last, named } = setUp();
      ask(target, { ...(upgrade !== undefined && { upgrade }) });
      if (upgrade !== undefined && status === 101) last().answer.onUpgrade([], new PassThrough());
      else reply(status);
      return named('begin');
    };
    expect(beginsOf(watch, 200)).to.deep.equal([['begin', '10.0.0.1:6443']]);
    expect(beginsOf(watch, 410)).to.deep.equal([]);
    expect(beginsOf(pods, 200)).to.deep.equal([]);
    expect(beginsOf(`${things}?watch=1`, 200)).to.deep.equal([]);
    expect(beginsOf(watch, 200, 'websocket')).to.deep.equal([]);
    expect(beginsOf(watch, 101, 'websocket')).to.deep.equal([]);
  });

  it('measures no time of watches and upgrades', () => {
    for (const [target, upgrade] of [
      [`${pods}?watch=1`, undefined],
      [pods, 'websocket'],
    ] as const) {
      const { ask, reply, notes, named } = setUp();
      ask(target, { ...(upgrade !== undefined && { upgrade }) });
      reply();
      expect([named('overhead'), named('duration'), named('leave').length]).to.deep.equal([[], [], 1]);
      expect(notes.slice(0, 2)).to.deep.equal([
        ['enter', true],
        ['homeOf', { forWatch: upgrade === undefined }],
      ]);
    }
  });

  it('gives the place back if the client leaves before the answer', () => {
    const { handler, ask, named } = setUp();
    ask().close(false);
    expect([handler.inFlight(), named('leave').length, named('end').length]).to.deep.equal([0, 1, 1]);
    expect(named('unavailable')).to.deep.equal([]);
  });

  it('writes the access log only if it is on', () => {
    const off = setUp();
    off.ask();
    off.reply();
    expect(off.lines).to.deep.equal([]);
    const on = setUp({ accessLog: true });
    on.ask();
    on.last().answer.onFault({ kind: 'connect', sent: false, error: new Error('x') });
    const { id } = on.last();
    on.reply(200, ['audit-id', 'abc']);
    expect(on.lines).to.have.length(1);
    expect(on.lines[0]).to.include({ method: 'GET', path: pods, peer: id, code: 200, auditId: 'abc', route: 'peer' });
    expect(on.lines[0]).to.include({ reason: 'home serves it', failed: 'a: connect' });
    const refused = setUp({ accessLog: true, refusal: buildStatus(401, 'who is this?') });
    refused.ask();
    expect(refused.lines[0]).to.include({ code: 401, reason: 'who is this?', route: 'rejected', peer: '' });
  });
});
