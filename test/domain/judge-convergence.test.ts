import { expect } from 'chai';
import { assessPeer, type PeerObservation } from '../../src/domain/assess-peer.ts';
import { deriveUnifiedView, type PeerView } from '../../src/domain/derive-bundle.ts';
import { type Convergence, judgeConvergence } from '../../src/domain/judge-convergence.ts';
import { buildGroup, buildVersion } from '../support/discovery-builders.ts';

const bounds = { staleAfterMs: 60_000, goneAfterMs: 300_000 };
const defined = { custom: new Set<string>(), aggregated: new Set<string>(), deletedAt: new Map<string, number>() };
const old = [buildGroup('apps', buildVersion('v1', 'deployments'))];
const young = [buildGroup('apps', buildVersion('v1', 'deployments', 'widgets'))];

/** A server that was healthy until `wellUntil`. `more` overrides its other fields. */
function server(
  hostname: string,
  wellUntil: number,
  more: Partial<PeerObservation> = {},
  apis = young,
): PeerObservation {
  const lease = { name: hostname, holderIdentity: `${hostname}_1` };
  return {
    peer: { id: `apiserver-${hostname}`, hostname, address: '10.0.0.1:6443', source: 'LeaseAnnotation', lease },
    probe: { kind: 'ready' },
    documents: { form: 'v2', api: [], apis, etags: {}, hash: 'a' },
    documentsAt: wellUntil,
    leaseChangedAt: wellUntil,
    ...more,
  } as PeerObservation;
}

const away = (since: number): Partial<PeerObservation> => ({
  probe: { kind: 'unreachable', detail: 'connect ECONNREFUSED' },
  unreachableSince: since,
});

function judge(observations: readonly PeerObservation[], now: number): Convergence {
  const views: PeerView[] = observations.map((seen) => ({ seen, assessment: assessPeer(seen, bounds, now) }));
  return judgeConvergence(
    views,
    deriveUnifiedView(views, defined, { mode: 'Route', fieldSkew: 'Preserve', serverName: 'kubernetes' }),
  );
}

/** Every distinct outcome in order of time. Repeated outcomes count once. */
function story(at: (now: number) => readonly PeerObservation[], fromMs: number, toMs: number): string[] {
  const told: string[] = [];
  for (let now = fromMs; now < toMs; now += 500) {
    const { status, message } = judge(at(now), now);
    if (told.at(-1) !== `${status}: ${message}`) told.push(`${status}: ${message}`);
  }
  return told;
}

const unknown = (why: string) => `Unknown: the operator does not know what every kube-apiserver serves: ${why}`;
const alike = 'True: all kube-apiservers are ready and serve the same APIs';

describe('judgeConvergence', () => {
  it('names a server that is away until it is forgotten, and keeps its message meanwhile', () => {
    const left = 1_000;
    const fleet = (now: number) => [server('new-1', now), server('new-2', now), server('old-1', left, away(left))];
    expect(story(fleet, left, left + 400_000)).to.deep.equal([unknown('old-1 is Unreachable'), alike]);
    expect(judge(fleet(left + 299_000), left + 299_000).status).to.equal('Unknown');
    expect(judge(fleet(left + 300_000), left + 300_000).status).to.equal('True');
  });

  it('does so for a server of another version, whose return would make a difference', () => {
    const fleet = (now: number) => [server('new-1', now), server('new-2', now), server('old-1', 0, away(0), old)];
    expect(story(fleet, 0, 299_000)).to.deep.equal([unknown('old-1 is Unreachable')]);
  });

  it('does so for a server without a Lease, and for one whose address another one has', () => {
    const listed = server('static', 0, away(0));
    const { lease: _, ...peer } = listed.peer;
    const taken = server('taken', 0, {
      probe: { kind: 'refused', detail: 'another certificate' },
      unreachableSince: 0,
    });
    const fleet = (now: number) => [server('new-1', now), { ...listed, peer } as PeerObservation, taken];
    expect(story(fleet, 0, 299_000)).to.deep.equal([unknown('static is Unreachable, taken is Refused')]);
  });

  it('knows what a server serves that answers but is not ready, but not whether it will serve the same', () => {
    const hung = (apis = young) => server('old-1', 0, { probe: { kind: 'notReady', detail: 'etcd failed' } }, apis);
    expect(judge([server('new-1', 0), hung()], 0)).to.deep.equal({
      status: 'Unknown',
      reason: 'PeerAway',
      message: 'the operator does not know what every kube-apiserver serves: old-1 is NotReady',
    });
    expect(judge([server('new-1', 0), hung(old)], 0)).to.include({ status: 'False', reason: 'Divergent' });
  });

  it('is not True while a server has only just come back, so that a flapping one makes no flicker', () => {
    const cycleMs = 10_000;
    const flickering = (now: number) => {
      const begun = now - (now % cycleMs);
      return now % cycleMs < 6_000
        ? server('old-1', begun, away(begun))
        : server('old-1', now, { returnedAt: begun + 6_000 });
    };
    const told = story((now) => [server('new-1', now), flickering(now)], 0, 120_000);
    expect(told.filter((line) => !line.startsWith('Unknown'))).to.deep.equal([]);
    const back = (now: number) => [server('new-1', now), server('old-1', now, { returnedAt: 0 })];
    expect(story(back, 0, 60_000)).to.deep.equal([
      'Unknown: a kube-apiserver has just come back: old-1 is Ready',
      alike,
    ]);
  });

  it('gives a reason with each verdict', () => {
    const returned = server('old-1', 0, { returnedAt: 0 });
    expect(judge([server('a', 0), server('b', 0, away(0))], 0).reason).to.equal('PeerAway');
    expect(judge([server('a', 0), returned], 0).reason).to.equal('PeerReturned');
    expect(judge([server('a', 0)], 0).reason).to.equal('SameAPIs');
  });

  it('is Unknown while the table is in doubt, and names the peer in doubt, or else the doubt', () => {
    const views = [server('a', 0)].map((seen) => ({ seen, assessment: assessPeer(seen, bounds, 0) }));
    const doubt = (peer: string) => [{ peer, reason: 'Deleted', message: 'it is being asked again' }];
    expect(judgeConvergence(views, { doubts: doubt('apiserver-a'), divergent: [] })).to.deep.equal({
      status: 'Unknown',
      reason: 'Incomplete',
      message: 'the operator does not know what every kube-apiserver serves: a is Ready',
    });
    expect(judgeConvergence(views, { doubts: doubt('other'), divergent: [] }).message).to.equal(
      'the operator does not know what every kube-apiserver serves: it is being asked again',
    );
  });

  it('names exactly ten of ten servers, in the order of their ids', () => {
    const many = Array.from({ length: 10 }, (_, index) => server(`s-${index}`, 0, away(0)));
    const names = many.map(({ peer }) => `${peer.hostname} is Unreachable`).join(', ');
    expect(judge([...many.reverse(), server('z', 0)], 0).message).to.equal(unknown(names).slice('Unknown: '.length));
  });

  it('names at most ten servers', () => {
    const many = Array.from({ length: 12 }, (_, index) => server(`s-${String(index).padStart(2, '0')}`, 0, away(0)));
    expect(judge([...many, server('z', 0)], 0).message).to.match(/s-00 is Unreachable, .*s-09 is Unreachable, 2 more$/);
  });
});
