import { expect } from 'chai';
import { builtInGroups } from '../../lab/simulated/built-in-apis.ts';
import type { Fault, GarbageBody } from '../../lab/simulated/faults.ts';
import type { WholeAnswer } from '../../lab/simulated/send-request.ts';
import { type FleetUnderTest, startFleetUnderTest } from '../support/fleet-under-test.ts';

const claims = '/apis/resource.k8s.io/v1/resourceclaims';
const widgets = '/apis/example.com/v1/widgets';
const definitions = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';

function definition(plural: string): object {
  const names = { plural, singular: plural.slice(0, -1), kind: `Kind${plural}` };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.example.com` },
    spec: { group: 'example.com', scope: 'Cluster', names, versions: [{ name: 'v1', served: true, storage: true }] },
  };
}

describe('the proxy while servers fail', function () {
  this.timeout(180_000);
  let fleet: FleetUnderTest;
  let serial = 0;

  const server = (name: string) => fleet.plane.server(name);
  const ready = () => fleet.until('all to be ready', () => fleet.status()?.peerCounts?.ready === 3);

  beforeEach(async () => {
    for (const { name } of fleet.plane.servers) {
      server(name).fault = undefined;
      await server(name).start();
    }
    await ready();
    await fleet.until('the resource', async () => (await fleet.get(claims)).status === 200);
  });
  before(async () => {
    fleet = await startFleetUnderTest({
      servers: [
        { name: 'old', version: '1.33' },
        { name: 'new-1', version: '1.36' },
        { name: 'new-2', version: '1.36', definitionDelayMs: 300 },
      ],
      home: 'old',
    });
  });
  after(() => fleet?.stop());

  /** Polls until something has happened. Every answer counts. */
  async function askWhile(path: string, happens: Promise<unknown>): Promise<WholeAnswer[]> {
    const answers: WholeAnswer[] = [];
    let over = false;
    const end = happens.finally(() => {
      over = true;
    });
    while (!over) {
      answers.push(await fleet.get(path));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await end;
    return answers;
  }

  function expectUnavailable(answer: WholeAnswer): void {
    expect(answer.status).to.equal(503);
    expect(Number(answer.headers['retry-after'])).to.be.at.least(1);
    expect(JSON.parse(answer.body)).to.include({ kind: 'Status', reason: 'ServiceUnavailable', code: 503 });
  }

  const bodies: readonly GarbageBody[] = ['endless', 'gigabyte', 'wrongTypes', 'notJson', 'halfBody'];
  const faults: readonly Fault[] = [
    { kind: 'hang' },
    { kind: 'slow', delayMs: 1_500 },
    { kind: 'notReady' },
    ...bodies.map((body): Fault => ({ kind: 'garbage', body })),
  ];
  for (const fault of faults) {
    const what = fault.kind === 'garbage' ? `sends garbage (${fault.body})` : fault.kind;
    it(`never answers 404, and sees a new definition without delay while a server has a fault: ${what}`, async () => {
      const before = server('new-1').seen.length;
      server('new-1').fault = fault;
      const asked = fault.kind === 'garbage' ? '/apis' : '/readyz';
      await fleet.until('the fault to be met', () =>
        server('new-1')
          .seen.slice(before)
          .some(({ path }) => path === asked),
      );
      serial += 1;
      const plural = `things${serial}`;
      const listed = () => {
        const peers = fleet.status()?.peers ?? [];
        const of = (name: string) => peers.find(({ hostname }) => hostname === name)?.resources;
        const count = (name: string) =>
          server(name)
            .serves()
            .flatMap(({ versions = [] }) => versions.flatMap(({ resources = [] }) => resources)).length;
        return of('old') === count('old') && of('new-2') === count('new-2');
      };
      await fleet.send('POST', definitions, definition(plural), server('old').url);
      const news = fleet.until('the definition at both others', () => listed() && fleet.status()?.revision);
      const answers = await askWhile(claims, news);
      expect(answers.map(({ status }) => status)).not.to.include(404);
      expect((await fleet.get(`/apis/example.com/v1/${plural}`)).status).to.equal(200);
    });
  }

  it('loses no read when one of two capable servers is killed, and answers 503 when both are', async () => {
    const turned = fleet.until('the status to turn', () => fleet.states()['new-1'] === 'Unreachable');
    await server('new-1').kill();
    expect((await askWhile(claims, turned)).map(({ status }) => status)).not.to.include.oneOf([404, 500, 502, 503]);
    await server('new-2').kill();
    const gone = fleet.until('the status to turn again', () => fleet.states()['new-2'] === 'Unreachable');
    for (const answer of await askWhile(claims, gone)) expectUnavailable(answer);
    await server('new-2').start();
    await fleet.until('the resource', async () => (await fleet.get(claims)).status === 200);
  });

  it('sends no new work to a draining server, and answers 503 for its resources when it is gone', async () => {
    await server('new-2').kill();
    await fleet.until('one to be away', () => fleet.states()['new-2'] === 'Unreachable');
    server('new-1').fault = { kind: 'notReady' };
    await fleet.until('it to be seen draining', () => fleet.states()['new-1'] === 'NotReady');
    const before = server('new-1').seen.filter(({ path }) => path === claims).length;
    await fleet.until('the proxy to know', async () => (await fleet.get(claims)).status === 503);
    expectUnavailable(await fleet.get(claims));
    await server('new-1').stop();
    await fleet.until('it to be away', () => fleet.states()['new-1'] !== 'NotReady');
    expectUnavailable(await fleet.get(claims));
    expect(server('new-1').seen.filter(({ path }) => path === claims).length - before).to.be.at.most(50);
  });

  it('routes to the only server of a new definition, and answers 404 as soon as it is deleted', async () => {
    await fleet.send('POST', definitions, definition('widgets'), server('old').url);
    await fleet.until('the definition', async () => (await fleet.get(widgets)).status === 200);
    await fleet.until('all to serve it', () =>
      (fleet.status()?.divergent ?? []).every(({ group }) => group !== 'example.com'),
    );
    await fleet.send('DELETE', `${definitions}/widgets.example.com`, {}, server('old').url);
    await fleet.until('its end', async () => (await fleet.get(widgets)).status === 404);
    await fleet.until('no divergence over it', () => JSON.stringify(fleet.status()).includes('widgets') === false);
  });

  it("passes the 404 of a server on if the server's discovery lists the resource", async () => {
    const [invented] = builtInGroups('1.36').filter(({ name }) => name === 'apps');
    if (invented === undefined) throw new Error('no such group');
    server('new-1').fault = { kind: 'lie', hidden: [], invented: [{ ...invented, name: 'lies.example.com' }] };
    const path = '/apis/lies.example.com/v1/deployments';
    await fleet.until('the lie in the table', () => JSON.stringify(fleet.status()?.divergent ?? '').includes('lies'));
    expect((await fleet.get(path)).status).to.equal(404);
  });

  it('finds a resource that a server omits from its discovery while another lists it', async () => {
    server('new-1').fault = { kind: 'lie', hidden: ['resource.k8s.io/v1/resourceclaims'], invented: [] };
    await fleet.until('the divergence', () => JSON.stringify(fleet.status()?.divergent).includes('resourceclaims'));
    expect((await fleet.get(claims)).status).to.equal(200);
  });

  it('answers 503 for an unknown resource while a live server has not been read, and 404 when all have', async () => {
    const unknown = '/apis/nope.example/v1/things';
    await fleet.until('certainty at first', async () => (await fleet.get(unknown)).status === 404);
    server('new-1').fault = { kind: 'garbage', body: 'notJson' };
    // Doubt with another reason may be left over from the previous test, and then end.
    await fleet.until('doubt', async () => (await fleet.get(unknown)).body.includes('is not JSON'));
    expectUnavailable(await fleet.get(unknown));
    server('new-1').fault = undefined;
    await fleet.until('certainty', async () => (await fleet.get(unknown)).status === 404);
  });

  it('answers 503 for an unknown resource from when a server is away until it has been read again', async () => {
    const unknown = '/apis/nope.example/v1/things';
    await fleet.until('certainty at first', async () => (await fleet.get(unknown)).status === 404);
    await server('new-1').kill();
    await fleet.until('doubt', async () =>
      (await fleet.get(unknown)).body.includes('may have another version since then'),
    );
    const fresh = fleet.until('it to be ready', () => fleet.states()['new-1'] === 'Ready');
    expectUnavailable(await fleet.get(unknown));
    await server('new-1').start();
    await fresh;
    await fleet.until('certainty', async () => (await fleet.get(unknown)).status === 404);
  });
});
