import { expect } from 'chai';
import PQueue from 'p-queue';
import type { PeerDocuments, PeerObservation, ProbeResult } from '../../src/domain/assess-peer.ts';
import type { ResolvedPeer, Trust } from '../../src/domain/resolve-peers.ts';
import { type MonitorContext, monitorPeer } from '../../src/operator/peer-monitor.ts';
import { silentLog } from '../../src/runtime/log.ts';
import { createStrangerQueue } from '../../src/runtime/stranger-queue.ts';
import { createManualClock } from '../support/manual-clock.ts';

describe('monitorPeer', () => {
  function setUp({ places }: { readonly places: number }) {
    const asked: string[] = [];
    const answer = new Map<string, (result: ProbeResult) => void>();
    const client = {
      probe: (address: string) =>
        new Promise<ProbeResult>((resolve) => {
          asked.push(address);
          answer.set(address, resolve);
        }),
    };
    const timing = { pollIntervalMs: 30_000, probeIntervalMs: 2_000, eagerProbeIntervalMs: 250, maxBackoffMs: 30_000 };
    const context: MonitorContext = {
      client: client as never,
      fetches: new PQueue(),
      strangers: createStrangerQueue(places),
      timing,
      clock: createManualClock(),
      random: () => 0.5,
      log: silentLog,
      onChange() {},
    };
    const watch = (address: string, trust: Trust, known?: Partial<PeerObservation>) => {
      const peer: ResolvedPeer = { id: address, address, source: 'LeaseAnnotation', trust };
      return monitorPeer(peer, context, known);
    };
    const tell = async (address: string, result: ProbeResult) => {
      answer.get(address)?.(result);
      await new Promise((resolve) => setImmediate(resolve));
    };
    return { asked, watch, tell };
  }

  it('probes a limited number of addresses at once if no server was verified there, the more trusted first', async () => {
    const { asked, watch, tell } = setUp({ places: 2 });
    const monitors = ['a', 'b', 'c'].map((address) => watch(address, 'Low'));
    monitors.push(watch('node', 'Medium'));
    expect(asked).to.deep.equal(['a', 'b']);
    await tell('a', { kind: 'unreachable', detail: 'connection refused' });
    expect(asked).to.deep.equal(['a', 'b', 'node']);
    for (const monitor of monitors) monitor.stop();
  });

  it('never delays a known server because of such an address', async () => {
    const { asked, watch } = setUp({ places: 1 });
    const documents = { hash: 'known' } as unknown as PeerDocuments;
    const monitors = [watch('a', 'High'), watch('known', 'Medium', { documents })];
    expect(asked).to.deep.equal(['a', 'known']);
    for (const monitor of monitors) monitor.stop();
  });
});
