import { expect } from 'chai';
import {
  assessPeer,
  leaseAbandonedAfterMs,
  type PeerDocuments,
  type PeerObservation,
} from '../../src/domain/assess-peer.ts';

const bounds = { staleAfterMs: 60_000, goneAfterMs: 300_000 };
const documents: PeerDocuments = { form: 'v2', api: [], apis: [], etags: {}, hash: 'h' };
const now = 10_000_000;
const well: PeerObservation = {
  peer: { id: 'a', address: '10.0.0.1:6443' },
  leaseChangedAt: now - 1_000,
  probe: { kind: 'ready' },
  documents,
  documentsAt: now - 1_000,
};
const down = { kind: 'unreachable', detail: 'refused' } as const;
const assess = (seen: Partial<PeerObservation>) => assessPeer({ ...well, ...seen }, bounds, now);

describe('assessPeer', () => {
  it('calls a server ready if it answers and its discovery is fresh', () => {
    expect(assess({})).to.include({ state: 'Ready', live: true, fresh: true, retained: true });
  });

  it('gives no new work to a draining server, but keeps its resources', () => {
    const verdict = assess({ probe: { kind: 'notReady', detail: 'shutdown' } });
    expect(verdict).to.include({ state: 'NotReady', live: true, fresh: true, retained: true });
  });

  it('gives no work to a server that refuses all users because it has just started', () => {
    const probe = { kind: 'unauthorized', detail: 'HTTP 403 from /readyz' } as const;
    const { documentsAt: _, ...unread } = well;
    for (const seen of [well, unread]) {
      const starting = assessPeer({ ...seen, probe, mayBeStarting: true }, bounds, now);
      expect(starting).to.include({ state: 'NotReady', reason: 'Unauthorized', live: true });
      expect(assessPeer({ ...seen, probe }, bounds, now)).to.include({ state: 'Stale', live: true });
    }
    expect(assess({ mayBeStarting: true })).to.include({ state: 'Ready' });
  });

  it('calls a server stale if its document is older than the limit', () => {
    const fetchFailure = { reason: 'Malformed', message: 'not JSON' };
    const verdict = assess({ documentsAt: now - 60_000, fetchFailure });
    expect(verdict).to.include({ state: 'Stale', reason: 'Malformed', live: true, fresh: false, retained: true });
  });

  it('keeps a crashed server until it counts as gone', () => {
    const leaseChangedAt = now - leaseAbandonedAfterMs;
    const crashed = { probe: down, leaseChangedAt, unreachableSince: now - 299_999 };
    expect(assess(crashed)).to.include({ state: 'Unreachable', live: false, retained: true });
    expect(assess({ ...crashed, unreachableSince: now - 300_000 })).to.include({ state: 'Gone', retained: false });
  });

  it('calls no server fresh that is not live, however recently it was read', () => {
    const departed = { probe: down, leaseChangedAt: now - leaseAbandonedAfterMs, documentsAt: now - 1 };
    expect(assess({ ...departed, unreachableSince: now - 1 })).to.include({
      live: false,
      fresh: false,
      retained: true,
    });
    expect(assess({ ...departed, leaseChangedAt: now })).to.include({ live: true, fresh: true });
  });

  it('takes a server for live if it does not answer but renews its Lease', () => {
    expect(assess({ probe: down, unreachableSince: now - 900_000 })).to.include({
      state: 'Unreachable',
      live: true,
      retained: true,
    });
  });

  it('does not take a silent Lease watch for a silent server', () => {
    const silent = { ...well, probe: down, unreachableSince: now - 900_000, leaseChangedAt: now - 900_000 };
    expect(assessPeer(silent, bounds, now, now - 890_000)).to.include({ live: true });
    expect(assessPeer(silent, bounds, now)).to.include({ live: false });
  });

  it('is in doubt about a Lease whose address another one has, while it is renewed', () => {
    const peer = { id: 'b', displacedBy: 'a', lease: { name: 'b', holderIdentity: 'x', renewTime: '1' } };
    const displaced = { peer, leaseChangedAt: now - 1_000 };
    const verdict = assessPeer(displaced, bounds, now);
    expect(verdict).to.include({ state: 'Unresolved', reason: 'DuplicateAddress', live: true });
    expect(assessPeer({ peer, leaseChangedAt: now - leaseAbandonedAfterMs }, bounds, now).state).to.equal('Gone');
  });

  it('drops a server that has left and whose address another host has, or is now refused', () => {
    const { leaseChangedAt: _at, documents: _documents, ...left } = well;
    const refused = { kind: 'refused', detail: 'another name' } as const;
    expect(assessPeer({ ...left, probe: refused, unreachableSince: now - 1_000 }, bounds, now).state).to.equal('Gone');
    const away = { ...left, documents, probe: refused };
    expect(assessPeer({ ...away, unreachableSince: now - 299_999 }, bounds, now)).to.include({
      state: 'Refused',
      live: false,
      retained: true,
    });
    expect(assessPeer({ ...away, unreachableSince: now - 300_000 }, bounds, now).state).to.equal('Gone');
    const forbidden = { ...left, peer: { ...left.peer, refused: 'not in allowedCIDRs' } };
    expect(assessPeer(forbidden, bounds, now).state).to.equal('Gone');
  });

  it('takes a listed server at a refused address for live, however long it was away before', () => {
    const peer = { id: 's', address: '10.0.0.9:6443', source: 'Static', trust: 'High', refused: 'no' } as const;
    const verdict = assessPeer({ peer, unreachableSince: now - 900_000 }, bounds, now);
    expect(verdict).to.include({ state: 'Refused', reason: 'AddressRefused', live: true });
  });

  it('gives no work to a restarted server that has not been probed yet', () => {
    const { documentsAt: _at, probe: _probe, ...restarted } = well;
    expect(assessPeer(restarted, bounds, now)).to.include({ state: 'NotReady', live: true, fresh: false });
  });

  it('doubts documents from before a restart', () => {
    const { documentsAt: _, ...restarted } = well;
    expect(assessPeer(restarted, bounds, now)).to.include({
      state: 'Stale',
      reason: 'NotYetFetched',
      live: true,
      fresh: false,
      retained: true,
    });
  });

  it('is in doubt about a listed server without a Lease or an answer, until it counts as gone', () => {
    for (const source of ['Static', 'EndpointSlice'] as const) {
      const peer = { id: 'x', address: '10.0.0.9:6443', source };
      const silent = { peer, probe: down, unreachableSince: now - 299_999 };
      expect(assessPeer(silent, bounds, now)).to.include({ state: 'Unreachable', live: true, fresh: false });
      expect(assessPeer({ ...silent, unreachableSince: now - 300_000 }, bounds, now)).to.include({ state: 'Gone' });
      const forged = { peer, probe: { kind: 'refused', detail: 'self-signed' } as const };
      expect(assessPeer(forged, bounds, now)).to.include({ state: 'Refused', live: true });
    }
  });

  it('shows a renewed Lease without an address as unresolved, and live', () => {
    const verdict = assessPeer({ peer: { id: 'a' }, leaseChangedAt: now }, bounds, now);
    expect(verdict).to.include({ state: 'Unresolved', live: true, fresh: false });
  });

  it('never trusts a server with a refused address or certificate', () => {
    expect(assess({ peer: { id: 'a', address: '127.0.0.1:1', refused: 'loopback' } })).to.include({ state: 'Refused' });
    expect(assess({ probe: { kind: 'refused', detail: 'self-signed' } })).to.include({
      state: 'Refused',
      reason: 'CertificateRefused',
    });
  });

  it('retains only documents that exist, and only until the server counts as gone', () => {
    const silent = { probe: down, leaseChangedAt: now - leaseAbandonedAfterMs };
    const { documents: _, ...unread } = well;
    expect(assessPeer(unread, bounds, now).retained).to.equal(false);
    expect(assess({ ...silent, unreachableSince: now - 299_999 })).to.include({ state: 'Unreachable', retained: true });
    expect(assess({ ...silent, unreachableSince: now - 300_000 })).to.include({ state: 'Gone', retained: false });
  });

  it('calls a ready server returning for five seconds after it came back', () => {
    expect(assess({ returnedAt: now - 4_999 }).returning).to.equal(true);
    expect(assess({ returnedAt: now - 5_000 })).not.to.have.property('returning');
    const draining = { probe: { kind: 'notReady', detail: 'shutdown' } as const, returnedAt: now };
    expect(assess(draining)).not.to.have.property('returning');
  });

  it('leaves requests with a server that an earlier leader found ready', () => {
    const { probe: _, ...unasked } = well;
    expect(assessPeer({ ...unasked, wasReady: true }, bounds, now)).to.include({
      state: 'Stale',
      reason: 'NotYetProbed',
    });
    expect(assessPeer(unasked, bounds, now)).to.include({ state: 'NotReady', reason: 'NotYetProbed' });
  });

  it('takes a server for running by its source only without a Lease, or if the EndpointSlice lists it too', () => {
    const lease = { name: 'a', holderIdentity: 'a_1', renewTime: 'x' };
    const silent = { probe: down, leaseChangedAt: now - leaseAbandonedAfterMs, unreachableSince: now - 1_000 };
    const peer = { id: 'a', address: '10.0.0.1:6443', source: 'Node' as const };
    expect(assess({ ...silent, peer })).to.include({ reason: 'ConnectionFailed', live: true });
    expect(assess({ ...silent, peer: { ...peer, lease } })).to.include({ reason: 'LeaseAbandoned', live: false });
    expect(assess({ ...silent, peer: { ...peer, lease, endpoint: true } })).to.include({ live: true });
  });

  it('says whether a departed server without an address is forgotten', () => {
    const leaseChangedAt = now - leaseAbandonedAfterMs;
    const { address: _, ...peer } = well.peer;
    const departed = assess({ peer, leaseChangedAt, unreachableSince: now - 1_000 });
    expect(departed).to.include({ state: 'Unreachable', reason: 'LeaseAbandoned', live: false, retained: true });
    expect(assess({ peer, leaseChangedAt, unreachableSince: now - 300_000 })).to.include({ state: 'Gone' });
    expect(assess({ peer }).reason).to.equal('NoAddress');
    expect(assess({ peer: { ...peer, displacedBy: 'b' } }).reason).to.equal('DuplicateAddress');
  });

  it('calls no server fresh without documents, or before they were read', () => {
    const { documents: _, ...without } = well;
    expect(assessPeer(without, bounds, now)).to.include({ state: 'Stale', reason: 'NotYetFetched', fresh: false });
    const { documentsAt: __, ...unread } = well;
    expect(assessPeer(unread, bounds, now)).to.include({ state: 'Stale', reason: 'NotYetFetched', fresh: false });
  });

  describe('gives the reason that scripts and alerts read, and what the server said', () => {
    const said = 'what it said';
    const abandoned = { leaseChangedAt: now - leaseAbandonedAfterMs };
    const lost = { ...abandoned, probe: { kind: 'unreachable', detail: said }, unreachableSince: now - 1 } as const;
    const unread = { ...well, documents: undefined };
    for (const [reason, seen, state, message, live] of [
      ['Ready', well, 'Ready', /^serves/, true],
      ['ReadyzFailed', { ...well, probe: { kind: 'notReady', detail: said } }, 'NotReady', said, true],
      ['Unauthorized', { ...well, probe: { kind: 'unauthorized', detail: said } }, 'Stale', said, true],
      ['NotYetFetched', unread, 'Stale', /has not read its discovery/, true],
      ['NotJson', { ...unread, fetchFailure: { reason: 'NotJson', message: said } }, 'Stale', said, true],
      ['ConnectionFailed', { ...well, probe: { kind: 'unreachable', detail: said } }, 'Unreachable', said, true],
      ['LeaseAbandoned', lost, 'Unreachable', /^no answer and no Lease renewal: what it said$/, false],
      ['LeaseAbandoned', { ...lost, documents: undefined }, 'Gone', /^no Lease renewal, and no answer: what/, false],
      ['CertificateRefused', { ...well, probe: { kind: 'refused', detail: said } }, 'Refused', said, true],
      ['AddressRefused', { ...well, peer: { ...well.peer, refused: said } }, 'Refused', said, true],
      ['NoAddress', { ...well, peer: { id: 'a' } }, 'Unresolved', /no source gives its address/, true],
      ['DuplicateAddress', { ...well, peer: { id: 'a', displacedBy: 'the other' } }, 'Unresolved', /the other/, true],
      ['LeaseAbandoned', { ...well, ...abandoned, peer: { id: 'a' } }, 'Unreachable', /no address is known/, false],
      ['NotYetProbed', { ...well, probe: undefined }, 'NotReady', /has not asked it yet/, true],
      ['NotYetProbed', { ...well, probe: undefined, wasReady: true }, 'Stale', /previous leader/, true],
    ] as const)
      it(`${state} with ${reason}: ${message}`, () => {
        const verdict = assess(seen as Partial<PeerObservation>);
        expect(verdict).to.include({ state, reason, live });
        if (typeof message === 'string') expect(verdict.message).to.equal(message);
        else expect(verdict.message).to.match(message);
      });
  });
});
