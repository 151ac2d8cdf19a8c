import { expect } from 'chai';
import {
  type Attempt,
  type ClientFigures,
  clientShortcomings,
  endingOf,
  tally,
  unevenness,
} from '../../lab/cluster/client-figures.ts';

const attempt = (ending: Attempt['ending'], message?: string): Attempt => ({
  workload: 'exec',
  startedAt: 12_000,
  ending,
  message,
});
const figures: ClientFigures = {
  tallies: tally(['exec'], [attempt('ok'), attempt('cut')], 0),
  informerDifferences: [],
  informerObjects: 10,
  leadersLost: 0,
  manager: { reconciles: 9, failures: { no: 3 }, exits: [], objects: 5, outOfStep: [] },
  namespacesLeft: [],
  orphans: [],
  held: {
    watches: 6,
    requests: 12,
    failed: 0,
    failures: [],
    relisted: 1,
    missed: 0,
    perServer: [2, 2, 2],
    perEndpoint: [2, 2, 2],
  },
  proxyConnections: [3, 3, 3],
};

describe('The figures of clients in an upgrade', () => {
  it('count failed starts, cut streams and absent kubelets apart, and what could not succeed yet not at all', () => {
    const attempts = (['ok', 'failed', 'cut', 'kubeletAway', 'early'] as const).map((ending) => attempt(ending, 'no'));
    expect(tally(['exec'], attempts, 2_000)).to.deep.equal([
      { workload: 'exec', attempts: 4, failed: 1, cut: 1, kubeletAway: 1, failures: ['10 s: no'] },
    ]);
  });

  it('name a workload that was never tried', () => {
    expect(tally(['helm'], [attempt('ok')], 0)).to.deep.include({
      workload: 'helm',
      attempts: 0,
      failed: 0,
      cut: 0,
      kubeletAway: 0,
      failures: [],
    });
  });

  it('take a refused connection to a kubelet for the kubelet’s, and one to a server for a failure', () => {
    const dial = (port: number) => `error dialing backend: dial tcp 10.10.0.12:${port}: connect: connection refused`;
    expect([endingOf(dial(10_250)), endingOf(dial(6_443))]).to.deep.equal(['kubeletAway', 'failed']);
  });

  it('take a kubelet that cannot ask about rights for the kubelet’s, and a user without rights for a failure', () => {
    const asked = (words: string, user: string) =>
      `${words} (user=${user}, verb=get, resource=nodes, subresource=proxy)`;
    expect(
      [
        asked('Internal error occurred: Authorization error', 'kube-apiserver-kubelet-client'),
        asked('unable to upgrade connection: Forbidden', 'kube-apiserver-kubelet-client'),
        asked('unable to upgrade connection: Forbidden', 'somebody'),
        'Error from server (Forbidden): pods "a" is forbidden',
      ].map(endingOf),
    ).to.deep.equal(['kubeletAway', 'kubeletAway', 'failed', 'failed']);
  });

  it('take a kubelet that does not know its Pods yet for the kubelet’s, and any other 404 for a failure', () => {
    expect(
      [
        'Error from server (NotFound): the server could not find the requested resource ( pods/log tool-nwdxm)',
        'error: unable to upgrade connection: pod does not exist',
        'Error from server (NotFound): the server could not find the requested resource',
        'Error from server (NotFound): pods "tool-nwdxm" not found',
      ].map(endingOf),
    ).to.deep.equal(['kubeletAway', 'kubeletAway', 'failed', 'failed']);
  });

  it('compare the busiest server with the mean', () => {
    expect([unevenness([50, 50, 50]), unevenness([75, 75, 0]), unevenness([0, 0, 0])]).to.deep.equal([1, 1.5, 1]);
  });

  it('meet all requirements if streams were cut, watches had to list again and reconciles were repeated', () => {
    expect(clientShortcomings(figures)).to.deep.equal([]);
  });

  it('name each requirement that was not met', () => {
    const short = clientShortcomings({
      ...figures,
      tallies: tally(['exec'], [attempt('failed')], 0),
      informerDifferences: ['pods default/a: missing'],
      leadersLost: 1,
      manager: { reconciles: 9, failures: {}, exits: ['leader election lost'], objects: 5, outOfStep: ['a', 'b'] },
      namespacesLeft: ['doomed-1'],
      orphans: ['doomed-2/a'],
      held: { ...figures.held, failed: 2, missed: 3, perServer: [3, 3, 0], perEndpoint: [4, 1, 1] },
      proxyConnections: [5, 4, 0],
    });
    expect(short).to.deep.equal([
      '1 failed attempts of: exec',
      '1 objects that informers have wrong',
      '1 lost leader elections',
      '2 objects that the manager has out of step',
      '1 exits of the manager',
      '1 deleted namespaces that are still there',
      '1 objects left in namespaces that are gone',
      '2 failed requests of long-lived watches',
      '3 events that long-lived watches missed',
      'a server had 1.50 times the mean of watches (3, 3, 0)',
      'a server had 2.00 times the mean of connections (4, 1, 1)',
    ]);
  });
});
