import fc from 'fast-check';
import type { GroupDiscovery } from '../../src/domain/discovery-document.ts';
import { createFakeControlPlane, group } from './fake-control-plane.ts';

/** One thing that happens to a control plane; servers and definitions are named by number. */
export type HistoryStep =
  | { readonly kind: 'wait'; readonly seconds: number }
  | {
      readonly kind: 'start';
      readonly server: number;
      readonly version: number;
      /** In trouble from its first moment. */
      readonly trouble: Trouble | undefined;
    }
  | { readonly kind: 'crash'; readonly server: number }
  | { readonly kind: 'stop'; readonly server: number }
  | { readonly kind: 'fault'; readonly server: number; readonly fault: Trouble }
  | { readonly kind: 'heal'; readonly server: number }
  | { readonly kind: 'define'; readonly definition: number; readonly delays: readonly number[] }
  | { readonly kind: 'undefine'; readonly definition: number };

/** How a running server fails. */
export type Trouble = 'hang' | 'garbage' | 'notReady' | 'unauthorized';

/** A history, and how many servers it is about. */
export interface History {
  readonly servers: number;
  /** How many resources each server has besides those that the history is about. */
  readonly moreResources: number;
  readonly steps: readonly HistoryStep[];
}

const definitions = 3;

/** Histories of upgrades, crashes, drains, faults and definitions that come and go, in any order. */
export function controlPlaneHistories(
  maxSteps: number,
  { maxServers, moreResources }: { readonly maxServers: number; readonly moreResources: number },
): fc.Arbitrary<History> {
  const server = fc.nat(maxServers - 1);
  const definition = fc.nat(definitions - 1);
  const trouble = fc.constantFrom<Trouble>('hang', 'garbage', 'notReady', 'unauthorized');
  const step = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ kind: fc.constant('wait' as const), seconds: fc.constantFrom(0.5, 2, 7, 15, 40) }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('start' as const),
        server,
        version: fc.nat(3),
        trouble: fc.option(trouble, { nil: undefined, freq: 2 }),
      }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('crash' as const), server }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('stop' as const), server }) },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('fault' as const),
        server,
        fault: trouble,
      }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('heal' as const), server }) },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('define' as const),
        definition,
        delays: fc.array(fc.constantFrom(0, 0.2, 1, 5), { minLength: 5, maxLength: 5 }),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('undefine' as const), definition }) },
  );
  return fc.record({
    servers: fc.integer({ min: 1, max: maxServers }),
    moreResources: fc.constant(moreResources),
    steps: fc.array(step, { maxLength: maxSteps }),
  });
}

/** What really is at a moment, whatever the operator knows of it. */
export interface TrueServer {
  readonly name: string;
  readonly address: string;
  running: boolean;
  version: number;
  trouble: Trouble | undefined;
  /** Since when it runs without any trouble, by the history's clock. */
  wellSinceMs: number;
  /** Resource key to since when it is served. */
  readonly serves: Map<string, number>;
}

/** Bounds short enough for many histories, in the proportions of the defaults. */
export const historyBounds = { staleAfterMs: 20_000, goneAfterMs: 60_000 };

/** A controller over a fake control plane to which a history happens; `atEveryMoment` is called after each second and step. */
export async function runHistory(
  { servers: count, moreResources, steps }: History,
  atEveryMoment: (moment: Moment) => void,
): Promise<Moment> {
  const plane = createFakeControlPlane({
    ...historyBounds,
    timing: {
      pollIntervalMs: 5_000,
      probeIntervalMs: 1_000,
      eagerProbeIntervalMs: 500,
      maxBackoffMs: 5_000,
      confirmEveryMs: 10_000,
    },
  });
  let nowMs = 0;
  let starts = 0;
  const truth: TrueServer[] = Array.from({ length: count }, (_, index) => ({
    name: `server-${index}`,
    address: `10.0.${index >> 8}.${index & 255}:6443`,
    running: false,
    version: 0,
    trouble: undefined,
    wellSinceMs: 0,
    serves: new Map(),
  }));
  const defined = new Map<number, { readonly sinceMs: number; readonly delays: readonly number[] }>();
  const holders = new Map<string, string>();

  /** Documents by what makes them, so that servers that serve the same have the same one. */
  const documents = new Map<string, GroupDiscovery[]>();
  function documentOf(version: number, visible: readonly number[]): GroupDiscovery[] {
    const key = `${version}:${visible.join()}`;
    const known = documents.get(key);
    if (known !== undefined) return known;
    const custom = visible.map((definition) => group(`d${definition}.example`, 'v1', 'things'));
    const made = [...builtIn(version, moreResources), ...custom];
    documents.set(key, made);
    return made;
  }

  /** Brings what each server serves, and what a client of it would see, up to the present. */
  function update(): void {
    truth.forEach((server, index) => {
      if (!server.running) {
        server.serves.clear();
        plane.servers.delete(server.address);
        return;
      }
      const visible = [...defined].flatMap(([definition, { sinceMs, delays }]) =>
        nowMs >= sinceMs + (delays[index % delays.length] ?? 0) * 1_000 ? [definition] : [],
      );
      const groups = documentOf(server.version, visible.sort());
      if (server.serves.size === 0 || plane.servers.get(server.address)?.groups !== groups) {
        const keys = new Set(keysOf(groups));
        for (const key of server.serves.keys()) if (!keys.has(key)) server.serves.delete(key);
        for (const key of keys) if (!server.serves.has(key)) server.serves.set(key, nowMs);
      }
      plane.servers.set(server.address, {
        groups,
        hash: `${server.version}:${visible.join()}`,
        probe: probeOf(server.trouble),
        ...(server.trouble !== undefined &&
          server.trouble !== 'notReady' && {
            failure: { kind: 'failed' as const, reason: 'Malformed', message: 'not what it should be' },
          }),
      });
    });
  }

  function apply(step: HistoryStep): void {
    const server = 'server' in step ? truth[step.server % count] : undefined;
    switch (step.kind) {
      case 'start':
        if (server === undefined) return;
        starts += 1;
        server.running = true;
        server.version = step.version;
        server.trouble = step.trouble;
        server.wellSinceMs = nowMs;
        server.serves.clear();
        holders.set(server.name, `start-${starts}`);
        update();
        plane.renew(server.name, server.address, holders.get(server.name));
        return;
      case 'crash':
      case 'stop':
        if (server === undefined || !server.running) return;
        server.running = false;
        update();
        if (step.kind === 'stop') plane.dropLease(server.name);
        return;
      case 'fault':
        if (server !== undefined) server.trouble = step.fault;
        return;
      case 'heal':
        if (server === undefined || server.trouble === undefined) return;
        server.trouble = undefined;
        server.wellSinceMs = nowMs;
        return;
      case 'define':
        if (defined.has(step.definition)) return;
        defined.set(step.definition, { sinceMs: nowMs, delays: step.delays });
        plane.crds.set(`d${step.definition}`, {
          spec: {
            group: `d${step.definition}.example`,
            names: { plural: 'things' },
            versions: [{ name: 'v1', served: true }],
          },
        });
        update();
        plane.controller.definitionsChanged();
        return;
      case 'undefine':
        if (!defined.delete(step.definition)) return;
        plane.crds.delete(`d${step.definition}`);
        update();
        plane.controller.definitionsChanged();
        return;
      default:
        return;
    }
  }

  const moment = (): Moment => ({ nowMs, truth, plane });
  async function pass(seconds: number): Promise<void> {
    for (let left = seconds; left > 0; left -= 0.5) {
      nowMs += 500;
      update();
      if (nowMs % 10_000 === 0)
        for (const { name, address, running } of truth) if (running) plane.renew(name, address, holders.get(name));
      await plane.advance(500, 500);
      atEveryMoment(moment());
    }
  }

  apply({ kind: 'start', server: 0, version: 0, trouble: undefined });
  plane.start();
  try {
    await pass(6);
    for (const step of steps) {
      if (step.kind === 'wait') await pass(step.seconds);
      else {
        apply(step);
        update();
        await plane.advance(0);
        atEveryMoment(moment());
      }
    }
    // Peace at last: whoever is left is well, and the departed are forgotten.
    for (const server of truth) apply({ kind: 'heal', server: truth.indexOf(server) });
    await pass((historyBounds.goneAfterMs + 40_000) / 1_000);
    return moment();
  } finally {
    await plane.controller.stop();
  }
}

/** The truth and the operator at one moment. */
export interface Moment {
  readonly nowMs: number;
  readonly truth: readonly TrueServer[];
  readonly plane: ReturnType<typeof createFakeControlPlane>;
}

/** Each version has something of its own, something new that stays, and something old that goes. */
function builtIn(version: number, more: number): GroupDiscovery[] {
  const groups = Array.from({ length: Math.ceil(more / 100) }, (_, at) =>
    group(
      `g${at}.example`,
      'v1',
      ...Array.from({ length: Math.min(100, more - at * 100) }, (__, row) => `r${at}x${row}`),
    ),
  );
  return [
    group('apps', 'v1', 'deployments', ...(version >= 1 ? ['widgets'] : []), ...(version < 2 ? ['relics'] : [])),
    ...(version >= 2 ? [group('resource.k8s.io', 'v1', 'claims')] : []),
    ...(version === 3 ? [group('resource.k8s.io', 'v2', 'claims', 'slices')] : []),
    ...groups,
  ];
}

/** `group/version/resource` of everything that is listed. */
export function keysOf(groups: readonly GroupDiscovery[]): string[] {
  return groups.flatMap(({ name, versions = [] }) =>
    versions.flatMap(({ version, resources = [] }) =>
      resources.map(({ resource }) => `${name}/${version}/${resource}`),
    ),
  );
}

function probeOf(trouble: Trouble | undefined) {
  switch (trouble) {
    case 'hang':
      return { kind: 'unreachable' as const, detail: 'no answer' };
    case 'notReady':
      return { kind: 'notReady' as const, detail: 'shutdown failed' };
    case 'unauthorized':
      return { kind: 'unauthorized' as const, detail: 'HTTP 401' };
    default:
      return { kind: 'ready' as const };
  }
}
