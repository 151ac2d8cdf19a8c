import type { PeerDiscovery } from '../api/peer-discovery.ts';
import type { TableLocation } from '../domain/routing-table.ts';
import type { Log } from '../runtime/log.ts';
import type { Controller } from './controller.ts';
import type { SpecRefusal, Standstill } from './ports.ts';
import { readSettings, type SettingsContext, type SettingsResult } from './read-settings.ts';

/** Settings from a valid spec. */
export type GoodSettings = Extract<SettingsResult, { ok: true }>;

/** One object's controller, and everything that was started with it. */
export interface RunningController {
  readonly controller: Controller;
  readonly stop: () => Promise<void>;
}

/** The dependencies of following the objects. */
export interface FollowerContext extends Pick<SettingsContext, 'namespace' | 'createAddressPolicy'> {
  readonly start: (
    object: PeerDiscovery,
    settings: GoodSettings,
    known: ReturnType<Controller['observations']> | undefined,
  ) => RunningController;
  /** Called for a deleted object after its controller has stopped. */
  readonly forget: (name: string) => void;
  /** Called for an invalid spec while no earlier one is in use. A controller reports the others itself. */
  readonly reportInvalidSpec: (object: PeerDiscovery, invalid: Standstill) => Promise<void>;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** Runs one controller for each PeerDiscovery. */
export interface ObjectFollower {
  /** Starts, stops and restarts controllers to fit these objects. Calls run one after another. */
  follow(objects: ReadonlyMap<string, PeerDiscovery>): void;
  controllers(): Iterable<Controller>;
  controllerOf(name: string): Controller | undefined;
  /** Stops every controller. Resolves to the names of their objects. */
  stop(): Promise<readonly string[]>;
}

interface Running extends RunningController {
  readonly uid: string;
  readonly generation: number;
  readonly table: TableLocation;
  /** The newest spec, if it is invalid. */
  readonly refused?: SpecRefusal;
}

/** Runs one controller per object. A new spec restarts it. An invalid spec leaves the last valid one in use. */
export function followObjects(context: FollowerContext): ObjectFollower {
  const { log, signal } = context;
  const running = new Map<string, Running>();
  let changing = Promise.resolve();

  async function followAll(objects: ReadonlyMap<string, PeerDiscovery>): Promise<void> {
    if (signal.aborted) return;
    for (const [name, entry] of running) {
      if (objects.get(name)?.metadata?.uid === entry.uid) continue;
      running.delete(name);
      await entry.stop();
      context.forget(name);
    }
    // If two objects' tables would collide, the older object keeps its own.
    const byAge = [...objects].sort(([, a], [, b]) =>
      (a.metadata?.creationTimestamp ?? '') < (b.metadata?.creationTimestamp ?? '') ? -1 : 1,
    );
    for (const [name, object] of byAge) await followOne(name, object);
  }

  async function followOne(name: string, object: PeerDiscovery): Promise<void> {
    const before = running.get(name);
    const generation = object.metadata?.generation ?? 0;
    if (before?.generation === generation) {
      before.controller.statusFound(object.status);
      return;
    }
    const tablesOfOthers = [...running].flatMap(([owner, { table }]) => (owner === name ? [] : [{ owner, table }]));
    const { namespace, createAddressPolicy } = context;
    const read = readSettings(object, { namespace, tablesOfOthers, createAddressPolicy });
    if (!read.ok) {
      const problems = read.problems.join('; ');
      if (before === undefined)
        await context.reportInvalidSpec(object, { reason: 'InvalidSpec', message: `${problems}.` });
      else keepGoing(before, object, `${problems}. The last good spec stays in use.`);
      return;
    }
    const known = before?.controller.observations();
    await before?.stop();
    const { settings } = read;
    const uid = object.metadata?.uid ?? '';
    running.set(name, { ...context.start(object, read, known), uid, generation, table: settings.routingTable });
    log.info('following a PeerDiscovery', { name, generation, mode: settings.mode });
  }

  /** The controller of the last good spec continues, and its status says so. */
  function keepGoing(
    before: Running,
    { metadata: { name, generation = 0 }, status }: PeerDiscovery,
    message: string,
  ): void {
    if (before.refused?.generation === generation && before.refused.message === message) {
      before.controller.statusFound(status);
      return;
    }
    log.warn('the spec of a PeerDiscovery is invalid', { name, message });
    const refused = { generation, reason: 'InvalidSpec', message };
    running.set(name, { ...before, refused });
    before.controller.specRefused(refused);
  }

  return {
    follow(objects) {
      changing = changing
        .then(() => followAll(objects))
        .catch((error: unknown) => log.error('cannot follow a PeerDiscovery', { error }));
    },
    controllers: () => [...running.values()].map(({ controller }) => controller),
    controllerOf: (name) => running.get(name)?.controller,
    async stop() {
      await changing;
      await Promise.all([...running.values()].map(({ stop }) => stop()));
      return [...running.keys()];
    },
  };
}
