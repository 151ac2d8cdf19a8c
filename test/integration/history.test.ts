import { expect } from 'chai';
import fc from 'fast-check';
import { applyLie, type Fault } from '../../lab/simulated/faults.ts';
import type { SimulatedServer } from '../../lab/simulated/simulated-apiserver.ts';
import type { SimulatedVersion } from '../../lab/simulated/version-profile.ts';
import type { GroupDiscovery } from '../../src/domain/discovery-document.ts';
import { encodeDiscoveryList } from '../../src/domain/encode-discovery.ts';
import { mergeDiscovery } from '../../src/domain/merge-discovery.ts';
import { identityLeaseName } from '../../src/runtime/identity-lease-name.ts';
import { type FleetUnderTest, startFleetUnderTest } from '../support/fleet-under-test.ts';

const definition = {
  metadata: { name: 'things.example.com' },
  spec: {
    group: 'example.com',
    scope: 'Cluster',
    names: { plural: 'things', singular: 'thing', kind: 'Thing' },
    versions: [{ name: 'v1', served: true, storage: true }],
  },
};
const definitionKey = {
  resource: 'apiextensions.k8s.io/customresourcedefinitions',
  namespace: '',
  name: definition.metadata.name,
};
const aggregated = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';
/** Group, version and resource of all requests. */
const asked: readonly (readonly [group: string, version: string, resource: string])[] = [
  ['resource.k8s.io', 'v1', 'resourceclaims'],
  ['admissionregistration.k8s.io', 'v1', 'mutatingadmissionpolicies'],
  ['flowcontrol.apiserver.k8s.io', 'v1beta2', 'flowschemas'],
  ['example.com', 'v1', 'things'],
  ['lies.example.com', 'v1', 'nothings'],
];
const invented: GroupDiscovery = {
  name: 'lies.example.com',
  versions: [
    {
      version: 'v1',
      freshness: 'Current',
      resources: [{ resource: 'nothings', scope: 'Cluster', singularResource: 'nothing', verbs: ['get', 'list'] }],
    },
  ],
};
/** On a busy machine, news may take this long from a server through operator and table to the proxy. */
const newsAfterMs = 8_000;

type Act = { readonly server: number; readonly waitMs: number } & (
  | { readonly kind: 'kill' | 'stop' | 'heal' | 'define' | 'undefine' }
  | { readonly kind: 'start'; readonly version: SimulatedVersion }
  | { readonly kind: 'fault'; readonly fault: Fault }
);

function acts(): fc.Arbitrary<Act> {
  const common = { server: fc.nat(3), waitMs: fc.constantFrom(0, 100, 400, 1_200, 2_500) };
  const version = fc.constantFrom<SimulatedVersion>('1.27', '1.30', '1.34', '1.36');
  const fault = fc.constantFrom<Fault>(
    { kind: 'hang' },
    { kind: 'notReady' },
    { kind: 'slow', delayMs: 300 },
    { kind: 'garbage', body: 'wrongTypes' },
    { kind: 'garbage', body: 'halfBody' },
    { kind: 'lie', hidden: ['resource.k8s.io/v1/resourceclaims', 'example.com/v1/things'], invented: [] },
    { kind: 'lie', hidden: [], invented: [invented] },
  );
  const plain = fc.constantFrom(
    'kill' as const,
    'stop' as const,
    'heal' as const,
    'define' as const,
    'undefine' as const,
  );
  return fc.oneof(
    { weight: 3, arbitrary: fc.record({ kind: plain, ...common }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('start' as const), version, ...common }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('fault' as const), fault, ...common }) },
  );
}

describe('operator and proxy over any history of a simulated fleet', function () {
  this.timeout(600_000);
  let fleet: FleetUnderTest;
  /** The time since when a path is listed at a server, by `server path`. */
  const listedSince = new Map<string, number>();
  /** Such keys for which the server has said nothing true since it lied. */
  const unheard = new Set<string>();

  before(async () => {
    fleet = await startFleetUnderTest({
      servers: [
        { name: 'a', version: '1.30' },
        { name: 'b', version: '1.27' },
        { name: 'c', version: '1.36', definitionDelayMs: 150 },
        { name: 'd', version: '1.36' },
      ],
      home: 'a',
      spec: { goneAfter: '3s' },
    });
  });
  after(() => fleet?.stop());

  /** The list that a server claims. No observer can tell whether it is true. */
  function lists(server: SimulatedServer, [group, version, resource]: (typeof asked)[number]): boolean {
    const groups = server.fault?.kind === 'lie' ? applyLie(server.serves(), server.fault) : server.serves();
    const versions = groups.find(({ name }) => name === group)?.versions;
    const found = versions?.find((entry) => entry.version === version)?.resources;
    return server.running && found?.some((entry) => entry.resource === resource) === true;
  }

  /** The servers that have listed it long enough without a break, so that every program must know it. */
  function note(): void {
    for (const server of fleet.plane.servers)
      for (const what of asked) {
        const key = `${server.name} ${what.join('/')}`;
        const isListed = lists(server, what);
        // A resource that a lie omitted counts from the time when the server can be heard again.
        if (server.fault?.kind === 'lie' && !isListed) unheard.add(key);
        else if (server.fault === undefined || server.fault.kind === 'lie') unheard.delete(key);
        if (!isListed || unheard.has(key)) listedSince.delete(key);
        else if (!listedSince.has(key)) listedSince.set(key, Date.now());
      }
  }

  function known(what: (typeof asked)[number], before: number): readonly string[] {
    return fleet.plane.servers
      .filter(({ name }) => before - (listedSince.get(`${name} ${what.join('/')}`) ?? before) >= newsAfterMs)
      .map(({ name }) => name);
  }

  async function act(step: Act): Promise<void> {
    const server = fleet.plane.servers[step.server];
    const { store } = fleet.plane;
    switch (step.kind) {
      case 'kill':
        return server?.kill();
      case 'stop':
        return server?.stop();
      case 'start':
        return server?.start(step.version);
      case 'fault':
        if (server !== undefined) server.fault = step.fault;
        return;
      case 'heal':
        if (server !== undefined) server.fault = undefined;
        return;
      case 'define':
        if (store.get(definitionKey) === undefined) store.put(definitionKey, definition);
        return;
      case 'undefine':
        store.delete(definitionKey);
        return;
    }
  }

  /** Sends requests through the proxy until told to stop. No known server may contradict a 404. */
  async function askAround(over: AbortSignal): Promise<void> {
    while (!over.aborted)
      for (const what of asked) {
        const [group, version, resource] = what;
        note();
        const startedAt = Date.now();
        const before = known(what, startedAt);
        // A hanging server takes long. No answer is not a 404.
        const signal = AbortSignal.timeout(1_000);
        const answer = await fleet.get(`/apis/${group}/${version}/${resource}`, { signal }).catch(() => undefined);
        note();
        if (answer === undefined) continue;
        const still = known(what, startedAt).filter((name) => before.includes(name));
        expect([200, 404, 503, 504], `${resource}: ${answer.body}`).to.include(answer.status);
        if (answer.status === 404) expect(still, `${what.join('/')} is said not to exist`).to.deep.equal([]);
        if (over.aborted) return;
      }
  }

  it('never gives a 404 for a resource that a live server lists, true or not, and ends at the merge of all servers', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(acts(), { minLength: 3, maxLength: 8 }), async (steps) => {
        const over = new AbortController();
        const asking = askAround(over.signal);
        // The failure is reported at the place of the await.
        asking.catch(() => {});
        for (const step of steps) {
          await act(step);
          note();
          await new Promise((resolve) => setTimeout(resolve, step.waitMs));
        }
        for (const server of fleet.plane.servers) {
          server.fault = undefined;
          await server.start();
        }
        await fleet.until('all to be ready again', () => fleet.status()?.peerCounts?.ready === 4);
        const expected = () =>
          encodeDiscoveryList(
            mergeDiscovery(
              identityLeaseName(fleet.plane.servers[0]?.name ?? ''),
              new Map(
                fleet.plane.servers.map((server) => [
                  identityLeaseName(server.name),
                  server.serves().filter(({ name }) => name !== ''),
                ]),
              ),
            ),
            { typeMeta: true },
          );
        await fleet.until('the merge of all', async () => {
          const answer = await fleet.get('/apis', { accept: aggregated });
          return answer.status === 200 && answer.body === expected();
        });
        over.abort();
        await asking;
      }),
      { numRuns: Number(process.env.PEERDISCOVERY_FLEET_HISTORIES ?? 2), endOnFailure: true },
    );
  });
});
