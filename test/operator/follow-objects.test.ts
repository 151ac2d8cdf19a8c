import { expect } from 'chai';
import type { PeerDiscovery } from '../../src/api/peer-discovery.ts';
import type { Controller } from '../../src/operator/controller.ts';
import { followObjects, type ObjectFollower } from '../../src/operator/follow-objects.ts';
import { silentLog } from '../../src/runtime/log.ts';
import { eventually } from '../support/manual-clock.ts';

const objectOf = (generation: number, spec: object): PeerDiscovery => ({
  apiVersion: 'peerdiscovery.dev/v1alpha1',
  kind: 'PeerDiscovery',
  metadata: { name: 'cluster', uid: 'one', generation },
  spec,
});
const good = {};
const bad = { goneAfter: 'soon' };

describe('following the PeerDiscovery objects', () => {
  let calls: string[];
  let follower: ObjectFollower;

  beforeEach(() => {
    calls = [];
    const controller = (generation: number) =>
      ({
        statusFound: () => calls.push(`status for ${generation}`),
        specRefused: (refusal) => calls.push(`refused ${refusal.generation} ${refusal.reason} ${refusal.message}`),
        observations: () => new Map(),
      }) as Pick<Controller, 'statusFound' | 'specRefused' | 'observations'> as Controller;
    follower = followObjects({
      namespace: 'peerdiscovery-system',
      createAddressPolicy: () => ({ check: () => ({ ok: true }) }),
      start: ({ metadata: { generation = 0 } }) => {
        calls.push(`start ${generation}`);
        return { controller: controller(generation), stop: async () => void calls.push(`stop ${generation}`) };
      },
      forget: (name) => calls.push(`forget ${name}`),
      reportInvalidSpec: async ({ metadata }, { message }) =>
        void calls.push(`invalid ${metadata.generation} ${message}`),
      log: silentLog,
      signal: new AbortController().signal,
    });
  });

  /** Follows these versions of one object. Resolves to the calls that followed, in their order. */
  async function follow(...versions: readonly PeerDiscovery[]): Promise<readonly string[]> {
    for (const version of versions) follower.follow(new Map([['cluster', version]]));
    await follower.stop();
    return calls.slice(0, -1);
  }

  it('leaves the controller of the last good spec running, and tells it once of an invalid one', async () => {
    const [started, refused, ...rest] = await follow(objectOf(1, good), objectOf(2, bad), objectOf(2, bad));
    expect(started).to.equal('start 1');
    expect(refused).to.match(/^refused 2 InvalidSpec spec\.goneAfter.* The last good spec stays in use\.$/);
    expect(rest).to.deep.equal(['status for 1']);
  });

  it('tells it of each further invalid spec, and replaces it when a spec is valid again', async () => {
    const seen = await follow(objectOf(1, good), objectOf(2, bad), objectOf(3, bad), objectOf(4, good));
    expect(seen.map((call) => call.split(' ').slice(0, 2).join(' '))).to.deep.equal([
      'start 1',
      'refused 2',
      'refused 3',
      'stop 1',
      'start 4',
    ]);
  });

  it('reports an invalid spec itself if there was no good one', async () => {
    follower.follow(new Map([['cluster', objectOf(1, bad)]]));
    await eventually(() => calls.length > 0);
    expect(calls[0]).to.match(/^invalid 1 spec\.goneAfter/);
    expect(await follower.stop()).to.deep.equal([]);
  });
});
