import fc from 'fast-check';
import type { GroupDiscovery } from '../../src/domain/discovery-document.ts';
import { createFakeControlPlane, group } from './fake-control-plane.ts';

/** One event in a control plane. Servers and definitions are named by number. */
export type HistoryStep =
  | { readonly kind: 'wait'; readonly seconds: number }
  | {
      readonly kind: 'start';
      readonly server: number;
      readonly version: number;
      /** It is in trouble from its first moment. */
      readonly trouble: Trouble | undefined;
    }
  | { readonly kind: 'crash'; readonly server: number }
  | { readonly kind: 'stop'; readonly server: number }
  | { readonly kind: 'fault'; readonly server: number; readonly fault: Trouble }
  | { readonly kind: 'heal'; readonly server: number }
  | { readonly kind: 'lie'; readonly server: number; readonly lie: Lie }
  | { readonly kind: 'define'; readonly definition: number; readonly delays: readonly number[] }
  | { readonly kind: 'undefine'; readonly definition: number }
  /** Another operator takes over. It knows only what was published. */
  | { readonly kind: 'newLeader' }
  /** From now on, the status cannot be written, or can again. */
  | { readonly kind: 'statusFails'; readonly fails: boolean };

/** How a running server fails. */
export type Trouble = 'hang' | 'garbage' | 'notReady' | 'unauthorized';

/** How the discovery of a running server differs from what it serves; `flips` tells the truth every other second. */
export type Lie = 'omits' | 'invents' | 'flips';

/** A history, and its number of servers. */
export interface History {
  readonly servers: number;
  /** The number of resources of each server besides those in the history. */
  readonly moreResources: number;
  readonly steps: readonly HistoryStep[];
}

const definitions = 3;

/** Histories of upgrades, crashes, drains, faults, and definitions that come and go, in any order. */
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
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('lie' as const),
        server,
        lie: fc.constantFrom<Lie>('omits', 'invents', 'flips'),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('define' as const),
        definition,
        delays: fc.array(fc.constantFrom(0, 0.2, 1, 5), { minLength: 5, maxLength: 5 }),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('undefine' as const), definition }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('newLeader' as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('statusFails' as const), fails: fc.boolean() }) },
  );
  /** A resource that comes and goes while the status cannot be written leaves no trace there. */
  const blip = fc
    .record({ server, fault: trouble, seconds: fc.constantFrom(0.5, 2, 7) })
    .map(({ server: at, fault, seconds }): HistoryStep[] => [
      { kind: 'statusFails', fails: true },
      { kind: 'fault', server: at, fault },
      { kind: 'wait', seconds },
      { kind: 'heal', server: at },
      { kind: 'wait', seconds },
      { kind: 'statusFails', fails: false },
    ]);
  const steps = fc.array(
    fc.oneof({ weight: 20, arbitrary: step.map((one): HistoryStep[] => [one]) }, { weight: 1, arbitrary: blip }),
    { maxLength: maxSteps },
  );
  return fc.record({
    servers: fc.integer({ min: 1, max: maxServers }),
    moreResources: fc.constant(moreResources),
    steps: steps.map((parts) => parts.flat()),
  });
}

/** The true state of a server at a moment, whatever the operator knows. */
export interface TrueServer {
  readonly name: string;
  readonly address: string;
  /** True if it has ever run. */
  started: boolean;
  /** The resources that it has listed since it last started to list them. */
  brought: Set<string>;
  running: boolean;
  version: number;
  trouble: Trouble | undefined;
  lie: Lie | undefined;
  /** The time since which it runs without any trouble, by the history's clock. */
  wellSinceMs: number;
  /** The time since which each resource is served, by key. */
  readonly serves: Map<string, number>;
  /** The time since which each resource is listed, true or not, by key. No observer can tell a lie from the truth. */
  readonly lists: Map<string, number>;
}

/** Times short enough for many histories, in the proportions of the defaults. */
export const historyBounds = { staleAfterMs: 20_000, goneAfterMs: 60_000 };
/** The interval between two confirmations in a history. */
export const historyConfirmEveryMs = 10_000;
/** The interval of the operator's polls in a history. */
const historyTiming = {
  pollIntervalMs: 5_000,
  probeIntervalMs: 1_000,
  eagerProbeIntervalMs: 500,
  maxBackoffMs: 5_000,
};

/** A controller that runs a history over a fake control plane. `atEveryMoment` is called after each second and step. */
export async function runHistory(
  { servers: count, moreResources, steps }: History,
  atEveryMoment: (moment: Moment) => void,
): Promise<Moment> {
  const plane = createFakeControlPlane({
    ...historyBounds,
    timing: historyTiming,
    confirmEveryMs: historyConfirmEveryMs,
  });
  let nowMs = 0;
  let quietSinceMs = 0;
  let ledSinceMs = 0;
  let statusFailedMs = 0;
  let starts = 0;
  const truth: TrueServer[] = Array.from({ length: count }, (_, index) => ({
    name: `server-${index}`,
    address: `10.0.${index >> 8}.${index & 255}:6443`,
    started: false,
    brought: new Set<string>(),
    running: false,
    version: 0,
    trouble: undefined,
    lie: undefined,
    wellSinceMs: 0,
    serves: new Map(),
    lists: new Map(),
  }));
  const defined = new Map<number, { readonly sinceMs: number; readonly delays: readonly number[] }>();
  const holders = new Map<string, string>();

  /** Documents by their content, so that servers that serve the same share one. */
  const documents = new Map<string, GroupDiscovery[]>();
  function documentOf(version: number, visible: readonly number[], lie: Lie | undefined): GroupDiscovery[] {
    const key = `${version}:${visible.join()}:${lie}`;
    const known = documents.get(key);
    if (known !== undefined) return known;
    const custom = visible.map((definition) => group(`d${definition}.example`, 'v1', 'things'));
    const truth = [...builtIn(version, moreResources), ...custom];
    const made = lie === undefined ? truth : lieAbout(truth, lie);
    documents.set(key, made);
    return made;
  }

  const noted = new Map<Map<string, number>, readonly GroupDiscovery[]>();
  /** Tracks since when each resource has been among these without a break. */
  function note(since: Map<string, number>, groups: readonly GroupDiscovery[]): void {
    if (since.size > 0 && noted.get(since) === groups) return;
    noted.set(since, groups);
    quietSinceMs = nowMs;
    const keys = new Set(keysOf(groups));
    for (const key of since.keys()) if (!keys.has(key)) since.delete(key);
    for (const key of keys) if (!since.has(key)) since.set(key, nowMs);
  }

  /** Updates what each server serves, and what its clients would see, to the present. */
  function update(): void {
    if (plane.failing.status) statusFailedMs = nowMs;
    truth.forEach((server, index) => {
      if (!server.running) {
        server.serves.clear();
        server.lists.clear();
        plane.servers.delete(server.address);
        return;
      }
      const visible = [...defined]
        .flatMap(([definition, { sinceMs, delays }]) =>
          nowMs >= sinceMs + (delays[index % delays.length] ?? 0) * 1_000 ? [definition] : [],
        )
        .sort();
      const lie = server.lie === 'flips' && nowMs % 2_000 < 1_000 ? undefined : server.lie;
      const groups = documentOf(server.version, visible, lie);
      note(server.serves, documentOf(server.version, visible, undefined));
      note(server.lists, groups);
      for (const key of server.brought) if (!server.lists.has(key)) server.brought.delete(key);
      plane.servers.set(server.address, {
        groups,
        hash: `${server.version}:${visible.join()}:${lie}`,
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
        server.started = true;
        server.running = true;
        server.version = step.version;
        server.trouble = step.trouble;
        server.lie = undefined;
        server.wellSinceMs = nowMs;
        server.serves.clear();
        server.lists.clear();
        holders.set(server.name, `start-${starts}`);
        update();
        server.brought = new Set(server.lists.keys());
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
      case 'lie':
        if (server !== undefined) server.lie = step.lie;
        return;
      case 'heal':
        if (server === undefined || (server.trouble === undefined && server.lie === undefined)) return;
        server.trouble = undefined;
        server.lie = undefined;
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
      case 'statusFails':
        plane.failing.status = step.fails;
        return;
      default:
        return;
    }
  }

  const moment = (): Moment => ({
    nowMs,
    quietForMs: nowMs - quietSinceMs,
    ledForMs: nowMs - ledSinceMs,
    statusWorksForMs: nowMs - statusFailedMs,
    truth,
    plane,
  });
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
        quietSinceMs = nowMs;
        if (step.kind === 'newLeader') {
          await plane.controller.stop();
          plane.start();
          ledSinceMs = nowMs;
        } else apply(step);
        update();
        await plane.advance(0);
        atEveryMoment(moment());
      }
    }
    // The final calm: every remaining server is healthy and honest, and the departed ones are forgotten.
    quietSinceMs = nowMs;
    plane.failing.status = false;
    for (const server of truth) apply({ kind: 'heal', server: truth.indexOf(server) });
    await pass((historyBounds.goneAfterMs + 40_000) / 1_000);
    return moment();
  } finally {
    await plane.controller.stop();
  }
}

/** The truth and the operator's view at one moment. */
export interface Moment {
  readonly nowMs: number;
  /** How long nothing has happened, and no server has changed what it serves or lists. */
  readonly quietForMs: number;
  /** How long the operator has been the leader. */
  readonly ledForMs: number;
  /** How long the status could be written. */
  readonly statusWorksForMs: number;
  readonly truth: readonly TrueServer[];
  readonly plane: ReturnType<typeof createFakeControlPlane>;
}

/** Each version has a resource of its own, a new one that stays, and an old one that goes. */
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

/** Omits the first resource of every group-version, or adds a group that no server serves and takes over a name. */
function lieAbout(truth: readonly GroupDiscovery[], lie: Lie): GroupDiscovery[] {
  if (lie === 'invents')
    return [...truth, group('lies.example', 'v1', 'nothings'), group('d0.example', 'v2', 'things')];
  return truth.flatMap(({ name, versions = [] }) => {
    const kept = versions.flatMap(({ version, resources = [] }) =>
      resources.length > 1 ? [group(name, version, ...resources.slice(1).map(({ resource }) => resource))] : [],
    );
    return kept.length > 0 ? [{ name, versions: kept.flatMap(({ versions: own = [] }) => own) }] : [];
  });
}

/** `group/version/resource` of every listed resource. */
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
