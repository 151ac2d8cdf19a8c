import { PassThrough } from 'node:stream';
import { expect } from 'chai';
import { parseRequestInfo } from '../../../src/domain/request-info.ts';
import type { NotFoundRule } from '../../../src/domain/route-request.ts';
import type { AnswerHandler } from '../../../src/http/client/dispatch.ts';
import { forward } from '../../../src/proxy/forward/forward.ts';
import { passThrough, type RequestIdentity } from '../../../src/proxy/identity/request-identity.ts';
import { planPass } from '../../../src/proxy/plan/plan-request.ts';
import type { PeerRequest, PeerTransport } from '../../../src/proxy/ports.ts';
import type { ClientConnection, Exchange } from '../../../src/proxy/request/exchange.ts';
import { RequestRecord } from '../../../src/proxy/request/request-record.ts';
import type { FleetPeer } from '../../../src/proxy/servers/fleet.ts';
import type { ServerReports } from '../../../src/proxy/servers/server-reports.ts';
import { type LogFields, silentLog } from '../../../src/runtime/log.ts';
import { createManualClock } from '../../support/manual-clock.ts';

interface Given extends Partial<RequestIdentity> {
  readonly rawHeaders?: readonly string[];
  readonly connection?: ClientConnection;
  readonly notFound?: NotFoundRule;
}

describe('forwarding one request', () => {
  const clientConnection = (): ClientConnection => ({
    remoteAddress: '::1',
    certificate: undefined,
    home: undefined,
    sticky: new Map(),
  });
  const peer: FleetPeer = {
    target: { id: 'one', address: '127.0.0.1:1', serverName: 'one', pinned: false },
    state: 'Ready',
    load: { inFlight: 0, asked: 0 },
  };

  const parsed = parseRequestInfo('GET', '/api/v1/nodes');
  if (parsed.kind === 'bad') throw new Error(parsed.message);
  const nodes = parsed.info;

  /** A request whose `broken` part throws: a part of the exchange, or an event handler. */
  const start = (
    broken: string,
    { rawHeaders = ['Host', 'h'], connection = clientConnection(), notFound, ...more }: Given = {},
  ) => {
    const seen = { destroyed: 0, defects: [] as unknown[], aborted: 0, accepted: [] as (boolean | undefined)[] };
    const brokenOr = (name: string, value: boolean | undefined = undefined) => {
      if (name === broken) throw new Error(`${name} is broken`);
      return value;
    };
    let onClose: (complete: boolean) => void = () => {};
    let onDrain = () => {};
    const exchange = {
      method: 'GET',
      target: '/api/v1/nodes',
      rawHeaders,
      protocol: 'HTTP/2',
      connection,
      identity: { ...passThrough, ...more },
      hasBody: false,
      interim: () => brokenOr('interim'),
      respond: () => brokenOr('respond'),
      write: () => brokenOr('write', broken !== 'resume'),
      onDrain: (listener: () => void) => {
        onDrain = listener;
      },
      end: () => brokenOr('end'),
      onClose: (listener: (complete: boolean) => void) => {
        onClose = listener;
      },
      destroy: () => {
        seen.destroyed++;
        onClose(false);
      },
    } as unknown as Exchange;
    let handler: AnswerHandler | undefined;
    const transport = {
      dispatch: (_target: unknown, { mayShare }: PeerRequest, given: AnswerHandler) => {
        seen.accepted.push(mayShare);
        if (seen.accepted.length > 1) brokenOr('dispatch');
        handler = given;
        return {
          pause: () => {},
          resume: () => brokenOr('resume'),
          abort: (error: Error) => {
            seen.aborted++;
            given.onFault({ kind: 'aborted', sent: true, error });
          },
        };
      },
    } as unknown as PeerTransport;
    const log = {
      ...silentLog,
      error: (_message: string, fields?: LogFields) => seen.defects.push(String(fields?.error).split('\n', 1)[0]),
    };
    const servers = {
      noteFault: () => brokenOr('onFault'),
      knowsItsUsers: () => true,
    } as unknown as ServerReports;
    const upgrade = { protocol: 'websocket', accept: () => brokenOr('accept') };
    const passed = planPass([peer], peer);
    const plan = notFound === undefined ? passed : { ...passed, first: { peer, notFound, peerProxied: false } };
    const info = { ...nodes, ...(broken === 'dispatch' && { verb: 'watch' }) };
    const context = { transport, clock: createManualClock(), log, servers, record: new RequestRecord() };
    forward(exchange, { plan, info, longRunning: false, fromBackend: false, upgrade }, context, () =>
      brokenOr('onHead'),
    );
    if (handler === undefined) throw new Error('nothing was dispatched');
    return { handler, seen, drain: () => onDrain() };
  };

  for (const broken of ['interim', 'respond', 'onHead', 'write', 'resume', 'end', 'onFault', 'dispatch'])
    it(`cuts off its answer and reports it if ${broken} throws; the transport goes on`, () => {
      const { handler, seen, drain } = start(broken);
      if (broken === 'onFault' || broken === 'dispatch')
        handler.onFault({ kind: 'reset', sent: true, error: new Error('gone') });
      else {
        handler.onInterim?.(103, []);
        handler.onHead(200, ['X', 'y']);
        handler.onData(Buffer.from('some'), false);
        drain();
        // The caller ends only requests that still run.
        if (seen.aborted === 0) handler.onEnd([]);
      }
      expect(seen.destroyed).to.equal(1);
      expect(String(seen.defects)).to.equal(`Error: ${broken} is broken`);
      expect(peer.load.inFlight).to.equal(0);
      expect(seen.aborted).to.equal(['end', 'onFault', 'dispatch'].includes(broken) ? 0 : 1);
    });

  it('cuts off its answer and reports it if the question about a 404 throws', async () => {
    const { handler, seen } = start('dispatch', { notFound: { kind: 'doubt', message: 'x' } });
    handler.onHead(404, []);
    handler.onData(Buffer.from('404 page not found'), false);
    handler.onEnd([]);
    await new Promise((resolve) => setImmediate(resolve));
    expect([seen.destroyed, String(seen.defects)]).to.deep.equal([1, 'Error: dispatch is broken']);
    expect(peer.load.inFlight).to.equal(0);
  });

  for (const broken of ['onHead', 'accept'])
    it(`ends both sides of an upgrade and reports it if ${broken} throws`, () => {
      const { handler, seen } = start(broken);
      const socket = new PassThrough();
      handler.onUpgrade([], socket);
      expect([seen.destroyed, socket.destroyed]).to.deep.equal([1, true]);
      expect(String(seen.defects)).to.equal(`Error: ${broken} is broken`);
    });

  describe('tells the transport whether a server has accepted the credential before', () => {
    const bearer = (token: string) => ['Host', 'h', 'authorization', `Bearer ${token}`];
    const askAs = (given: Given, status: number, answered: string[] = []) => {
      const { handler, seen } = start('nothing', given);
      handler.onHead(status, answered);
      handler.onEnd([]);
      return seen.accepted;
    };

    it('for each token of a client connection, until one is refused', () => {
      const connection = clientConnection();
      const [good, other] = [
        { rawHeaders: bearer('good'), connection },
        { rawHeaders: bearer('other'), connection },
      ];
      expect(askAs(good, 503)).to.deep.equal([false]);
      expect(askAs(good, 429)).to.deep.equal([false]);
      expect(askAs(good, 401)).to.deep.equal([false]);
      expect(askAs(good, 403)).to.deep.equal([false]);
      expect(askAs(good, 200)).to.deep.equal([true]);
      expect(askAs(other, 404)).to.deep.equal([false]);
      expect(askAs(good, 500)).to.deep.equal([true]);
      expect(askAs(other, 401)).to.deep.equal([true]);
      expect(askAs(other, 200)).to.deep.equal([false]);
      expect(askAs({ rawHeaders: bearer('good') }, 200)).to.deep.equal([false]);
    });

    for (const status of [400, 408, 413, 429, 431, 500, 501, 503, 504])
      it(`not by ${status} without the flow-control header, as servers send it before they check the token`, () => {
        const connection = clientConnection();
        const given = { rawHeaders: bearer('made-up'), connection };
        expect(askAs(given, status)).to.deep.equal([false]);
        expect(askAs(given, status, ['X-Kubernetes-Pf-Flowschema-Uid', 'u'])).to.deep.equal([false]);
        expect(askAs(given, status)).to.deep.equal([true]);
      });

    it('for any spelling of the token, but for no other credential', () => {
      const connection = clientConnection();
      const spelled = (value: string) => ({ rawHeaders: ['Authorization', value], connection });
      expect(askAs(spelled('Bearer good'), 200)).to.deep.equal([false]);
      for (const value of ['bearer good', 'BEARER good', ' bEaReR good ', 'Bearer good and more'])
        expect(askAs(spelled(value), 200)).to.deep.equal([true]);
      for (const value of ['Basic good', 'Bearer  good', 'Bearer', 'good'])
        for (let turn = 0; turn < 2; turn++) expect(askAs(spelled(value), 200)).to.deep.equal([false]);
    });

    it('never without a credential, and always for the credential of this proxy', () => {
      const connection = clientConnection();
      expect(askAs({ connection }, 200)).to.deep.equal([false]);
      expect(askAs({ connection }, 200)).to.deep.equal([false]);
      expect(askAs({ connectAs: 'frontProxy' }, 200)).to.deep.equal([true]);
      expect(askAs({ replacesToken: true }, 200)).to.deep.equal([true]);
    });

    it('and bounds how many it remembers', () => {
      const connection = clientConnection();
      for (let at = 0; at < 64; at++) askAs({ rawHeaders: bearer(String(at)), connection }, 200);
      expect(askAs({ rawHeaders: bearer('0'), connection }, 200)).to.deep.equal([true]);
      askAs({ rawHeaders: bearer('64'), connection }, 200);
      expect(askAs({ rawHeaders: bearer('0'), connection }, 200)).to.deep.equal([false]);
      expect(askAs({ rawHeaders: bearer('64'), connection }, 200)).to.deep.equal([true]);
    });
  });
});
