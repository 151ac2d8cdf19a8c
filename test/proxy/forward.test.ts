import { expect } from 'chai';
import type { Exchange } from '../../src/proxy/exchange.ts';
import type { FleetPeer } from '../../src/proxy/fleet.ts';
import { type ForwardEvents, type ForwardTarget, forward } from '../../src/proxy/forward.ts';
import type { PeerHandler, PeerTransport } from '../../src/proxy/ports.ts';
import { passThrough } from '../../src/proxy/request-identity.ts';

describe('forwarding one request', () => {
  const peer: FleetPeer = {
    target: { id: 'one', address: '127.0.0.1:1', serverName: 'one', pinned: false },
    state: 'Ready',
    load: { inFlight: 0 },
  };
  const target: ForwardTarget = { peer, notFound: { kind: 'trust' }, peerProxied: false };

  /** A request whose `broken` part throws, be it of the exchange or of what is told. */
  const start = (broken: string) => {
    const seen: { destroyed: number; defects: unknown[]; aborted: number } = { destroyed: 0, defects: [], aborted: 0 };
    const brokenOr = (name: string, value: boolean | undefined = undefined) => {
      if (name === broken) throw new Error(`${name} is broken`);
      return value;
    };
    let onClose: (complete: boolean) => void = () => {};
    const exchange = {
      method: 'GET',
      target: '/api/v1/nodes',
      rawHeaders: ['Host', 'h'],
      protocol: 'HTTP/2',
      connection: { remoteAddress: '::1', certificate: undefined, home: undefined, sticky: new Map() },
      identity: passThrough,
      hasBody: false,
      respond: () => brokenOr('respond'),
      write: () => brokenOr('write', true),
      end: () => brokenOr('end'),
      destroy: () => {
        seen.destroyed++;
        onClose(false);
      },
    } as unknown as Exchange;
    let handler: PeerHandler | undefined;
    const transport = {
      dispatch: (_target: unknown, _request: unknown, given: PeerHandler) => {
        handler = given;
        return {
          pause: () => {},
          resume: () => {},
          abort: (error: Error) => {
            seen.aborted++;
            given.onFault({ kind: 'aborted', sent: true, error });
          },
        };
      },
    } as unknown as PeerTransport;
    const events = {
      onFault: () => brokenOr('onFault'),
      onHead: () => brokenOr('onHead'),
      onDefect: (error: unknown) => seen.defects.push(error),
    } as unknown as ForwardEvents;
    const plan = { longRunning: false, repeatable: false, opaqueNotFound: false, upgrade: undefined };
    const forwarded = forward(exchange, { ...plan, first: target, others: () => [] }, transport, events);
    onClose = (complete) => forwarded.onClose(complete);
    if (handler === undefined) throw new Error('nothing was dispatched');
    return { handler, seen };
  };

  for (const broken of ['respond', 'onHead', 'write', 'end', 'onFault'])
    it(`cuts off its answer, and tells, where ${broken} throws; the transport goes on`, () => {
      const { handler, seen } = start(broken);
      if (broken === 'onFault') handler.onFault({ kind: 'reset', sent: true, error: new Error('gone') });
      else {
        handler.onHead(200, ['X', 'y']);
        handler.onData(Buffer.from('some'), false);
        // Only what still runs is ended by whoever runs it.
        if (seen.aborted === 0) handler.onEnd([]);
      }
      expect(seen.destroyed).to.equal(1);
      expect(String(seen.defects)).to.equal(`Error: ${broken} is broken`);
      expect(peer.load.inFlight).to.equal(0);
      expect(seen.aborted).to.equal(broken === 'end' || broken === 'onFault' ? 0 : 1);
    });
});
