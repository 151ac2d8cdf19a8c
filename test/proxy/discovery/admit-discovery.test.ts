import { expect } from 'chai';
import { headerValue } from '../../../src/http/fields.ts';
import { createDiscoveryAdmission, type Homes } from '../../../src/proxy/discovery/admit-discovery.ts';
import { passThrough, type RequestIdentity } from '../../../src/proxy/identity/request-identity.ts';
import type { PeerRequest, PeerTransport } from '../../../src/proxy/ports.ts';
import type { Exchange } from '../../../src/proxy/request/exchange.ts';
import type { FleetPeer } from '../../../src/proxy/servers/fleet.ts';
import { createManualClock } from '../../support/manual-clock.ts';

type Scripted = { readonly status: number; readonly headers?: readonly string[]; readonly body?: string } | 'fault';

interface Asked extends PeerRequest {
  readonly peer: string;
}

/** Peers with the given answers. Every request is recorded. */
function scriptedPeers(answer: (request: Asked) => Scripted) {
  const asked: Asked[] = [];
  const unused = () => {
    throw new Error('not used here');
  };
  const transport: PeerTransport = {
    dispatch: (target, request, handler) => {
      const entry = { ...request, peer: target.id };
      asked.push(entry);
      const scripted = answer(entry);
      queueMicrotask(() => {
        if (scripted === 'fault') {
          handler.onFault({ kind: 'connect', sent: false, error: new Error('refused') });
          return;
        }
        handler.onHead(scripted.status, [...(scripted.headers ?? [])]);
        handler.onData(Buffer.from(scripted.body ?? ''), false);
        handler.onEnd([]);
      });
      return { pause() {}, resume() {}, abort() {} };
    },
    probe: unused,
    abandon: unused,
    connections: unused,
    close: unused,
  };
  return { asked, transport };
}

function exchangeOf(
  token: string | undefined,
  { method = 'GET', extra = [], identity = passThrough }: Partial<Answered> = {},
): Exchange & { readonly answered: { status: number; body: string } } {
  const answered = { status: 0, body: '' };
  const exchange = {
    method,
    rawHeaders: [...(token === undefined ? [] : ['Authorization', `Bearer ${token}`]), ...extra],
    connection: { remoteAddress: '192.0.2.9', home: undefined, sticky: new Map() },
    identity,
    status: () => answered.status,
    respond: (status: number) => {
      answered.status = status;
    },
    end: (chunk?: Uint8Array) => {
      answered.body += chunk === undefined ? '' : String(Buffer.from(chunk));
    },
    answered,
  };
  return exchange as unknown as Exchange & { readonly answered: { status: number; body: string } };
}

interface Answered {
  readonly method: string;
  readonly extra: readonly string[];
  readonly identity: RequestIdentity;
}

function homesOf(...ids: readonly string[]): Homes & { readonly faults: string[] } {
  const faults: string[] = [];
  const homes = ids.map(
    (id): FleetPeer => ({
      target: { id, address: `${id}:6443`, serverName: 'kubernetes.default.svc', pinned: false },
      state: 'Ready',
      load: { inFlight: 0, asked: 0 },
    }),
  );
  return { homes: () => homes, faults, onFault: ({ id }) => faults.push(id), knowsItsUsers: () => true };
}

const yes: Scripted = { status: 200, headers: ['Etag', '"h"'] };

describe('createDiscoveryAdmission', () => {
  it('asks home once for ten seconds, and never across users, paths, methods or impersonation', async () => {
    const { asked, transport } = scriptedPeers(() => yes);
    const clock = createManualClock();
    const admission = createDiscoveryAdmission({ transport, clock });
    const homes = homesOf('home');
    const admit = (exchange: Exchange, path = '/apis/apps/v1') =>
      admission.admit(exchange, { path, aggregated: false }, homes);
    expect(await admit(exchangeOf('a'))).to.equal(undefined);
    expect(await admit(exchangeOf('a'))).to.equal(undefined);
    expect(asked).to.have.length(1);
    const stamped: RequestIdentity = { ...passThrough, connectAs: 'frontProxy', stamp: ['X-Remote-User', 'bob'] };
    await admit(exchangeOf('b'));
    await admit(exchangeOf(undefined));
    await admit(exchangeOf('a'), '/apis/apps');
    await admit(exchangeOf('a', { method: 'HEAD' }));
    await admit(exchangeOf('a', { extra: ['Impersonate-User', 'x'] }));
    await admit(exchangeOf('a', { identity: stamped }));
    await admit(exchangeOf('a', { identity: { ...stamped, stamp: ['X-Remote-User', 'eve'] } }));
    expect(asked).to.have.length(8);
    expect(asked.map(({ method }) => method).filter((method) => method !== 'GET')).to.deep.equal(['HEAD']);
    await clock.advance(9_999);
    await admit(exchangeOf('a'));
    expect(asked).to.have.length(8);
    await clock.advance(2);
    await admit(exchangeOf('a'));
    expect(asked).to.have.length(9);
  });

  it('sends the credentials of the request, and nothing else of it', async () => {
    const { asked, transport } = scriptedPeers(() => yes);
    const admission = createDiscoveryAdmission({ transport, clock: createManualClock() });
    const extra = ['Impersonate-Group', 'g', 'Cookie', 'c', 'X-Remote-User', 'root', 'Accept', 'text/html'];
    await admission.admit(exchangeOf('a', { extra }), { path: '/api/v1', aggregated: false }, homesOf('home'));
    const headers = asked[0]?.rawHeaders ?? [];
    expect(headerValue(headers, 'authorization')).to.equal('Bearer a');
    expect(headerValue(headers, 'impersonate-group')).to.equal('g');
    expect(headerValue(headers, 'accept')).to.equal('application/json');
    for (const name of ['cookie', 'x-remote-user']) expect(headerValue(headers, name), name).to.equal(undefined);
  });

  it('passes a refusal on and does not remember it', async () => {
    for (const status of [401, 403]) {
      const { asked, transport } = scriptedPeers(() => ({ status, body: 'no' }));
      const admission = createDiscoveryAdmission({ transport, clock: createManualClock() });
      for (const turn of [1, 2]) {
        const exchange = exchangeOf('a');
        (await admission.admit(exchange, { path: '/apis', aggregated: true }, homesOf('home', 'other')))?.(exchange);
        expect(exchange.answered).to.deep.equal({ status, body: 'no' });
        // The proxy does not ask another server for a better answer.
        expect(asked).to.have.length(turn);
      }
    }
  });

  it('does not take a 400 for permission, because a server says it before it authenticates', async () => {
    const { asked, transport } = scriptedPeers(() => ({ status: 400, body: 'invalid timeout' }));
    const admission = createDiscoveryAdmission({ transport, clock: createManualClock() });
    for (let time = 1; time <= 2; time++) {
      const exchange = exchangeOf('a');
      const refusal = await admission.admit(
        exchange,
        { path: '/apis?timeout=abc', aggregated: true },
        homesOf('home', 'other'),
      );
      refusal?.(exchange);
      expect(exchange.answered).to.deep.equal({ status: 400, body: 'invalid timeout' });
      expect(asked.map(({ path }) => path)).to.deep.equal(Array(time).fill('/apis?timeout=abc'));
    }
  });

  it('takes a 404 of an old home for permission, because it comes after authorization', async () => {
    const { transport } = scriptedPeers(() => ({ status: 404 }));
    const admission = createDiscoveryAdmission({ transport, clock: createManualClock() });
    expect(
      await admission.admit(exchangeOf('a'), { path: '/apis/new.io/v1', aggregated: false }, homesOf('home')),
    ).to.equal(undefined);
  });

  it('asks the next server if one is in trouble, and says so if none can decide', async () => {
    const troubles: readonly Scripted[] = ['fault', { status: 500 }, { status: 503 }, { status: 429 }];
    for (const trouble of troubles) {
      const { transport } = scriptedPeers(({ peer }) => (peer === 'home' ? trouble : yes));
      const admission = createDiscoveryAdmission({ transport, clock: createManualClock() });
      const homes = homesOf('home', 'other');
      expect(await admission.admit(exchangeOf('a'), { path: '/apis', aggregated: true }, homes)).to.equal(undefined);
      expect(homes.faults).to.deep.equal(trouble === 'fault' ? ['home'] : []);
    }
    for (const trouble of troubles) {
      const { transport } = scriptedPeers(() => trouble);
      const admission = createDiscoveryAdmission({ transport, clock: createManualClock() });
      const exchange = exchangeOf('a');
      (await admission.admit(exchange, { path: '/apis', aggregated: true }, homesOf('home')))?.(exchange);
      expect(exchange.answered.status).to.equal(trouble === 'fault' ? 503 : trouble.status);
    }
  });

  it('asks conditionally once it knows the ETag of that server, for any user', async () => {
    const { asked, transport } = scriptedPeers(() => yes);
    const admission = createDiscoveryAdmission({ transport, clock: createManualClock() });
    for (const token of ['a', 'b'])
      await admission.admit(exchangeOf(token), { path: '/apis', aggregated: true }, homesOf('home'));
    await admission.admit(exchangeOf('b'), { path: '/openapi/v2', aggregated: false }, homesOf('home'));
    expect(asked.map(({ rawHeaders }) => headerValue(rawHeaders, 'if-none-match'))).to.deep.equal([
      undefined,
      '"h"',
      '*',
    ]);
  });

  it('makes simultaneous requests of one client wait for one answer', async () => {
    const { asked, transport } = scriptedPeers(() => yes);
    const admission = createDiscoveryAdmission({ transport, clock: createManualClock() });
    await Promise.all(
      ['a', 'a', 'a', 'b'].map((token) =>
        admission.admit(exchangeOf(token), { path: '/apis', aggregated: true }, homesOf('home')),
      ),
    );
    expect(asked).to.have.length(2);
  });
});
