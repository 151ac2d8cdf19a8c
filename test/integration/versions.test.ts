import { expect } from 'chai';
import { type FleetUnderTest, startFleetUnderTest } from '../support/fleet-under-test.ts';

const claims = '/apis/resource.k8s.io/v1/resourceclaims';

describe('operator and proxy over simulated servers of all ages', function () {
  this.timeout(180_000);
  let fleet: FleetUnderTest;

  before(async () => {
    fleet = await startFleetUnderTest({
      servers: [
        { name: 'v127', version: '1.27' },
        { name: 'legacy', version: '1.29', legacyOnly: true },
        { name: 'v135', version: '1.35' },
        { name: 'v136', version: '1.36' },
      ],
      home: 'v127',
    });
    await fleet.until('four ready peers', () => fleet.status()?.peerCounts?.ready === 4);
    await fleet.until('their versions', () => fleet.status()?.peers?.every(({ version }) => version !== undefined));
    await fleet.until('the table', async () => (await fleet.get(claims)).status === 200);
  });
  after(() => fleet?.stop());

  it('identify each of them by its Node, with or without an address in its Lease', () => {
    const peers = fleet.status()?.peers ?? [];
    expect(Object.fromEntries(peers.map(({ hostname, version }) => [hostname, version]))).to.deep.equal({
      v127: 'v1.27.0',
      legacy: 'v1.29.0',
      v135: 'v1.35.0',
      v136: 'v1.36.3',
    });
    expect(peers.map(({ addressSource }) => addressSource)).to.deep.equal(['Node', 'Node', 'Node', 'Node']);
  });

  it('list exactly the resources of each, whatever the form of its discovery', () => {
    for (const { hostname = '', resources, groups } of fleet.status()?.peers ?? []) {
      const served = fleet.plane.server(hostname).serves();
      const count = served.flatMap(({ versions = [] }) =>
        versions.flatMap((version) => version.resources ?? []),
      ).length;
      expect({ groups, resources }, hostname).to.deep.equal({ groups: served.length, resources: count });
    }
  });

  it('serve a resource at home if home has it, and elsewhere otherwise', async () => {
    expect((await fleet.get(claims, { from: fleet.plane.server('v127').url })).status).to.equal(404);
    const paths = [claims, '/apis/flowcontrol.apiserver.k8s.io/v1beta2/flowschemas'];
    for (const path of [...paths, '/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas'])
      expect((await fleet.get(path)).status, path).to.equal(200);
  });

  it('offer all resources as v2beta1 to clients that know no newer form', async () => {
    const beta = 'application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList';
    const [ours, v2, home] = await Promise.all([
      fleet.get('/apis', { accept: beta }),
      fleet.get('/apis', { accept: beta.replace('v2beta1', 'v2') }),
      fleet.get('/apis', { accept: beta, from: fleet.plane.server('v127').url }),
    ]);
    expect(ours.headers['content-type']).to.equal(beta).and.to.equal(home.headers['content-type']);
    expect(ours.body).to.equal(v2.body.replace('apidiscovery.k8s.io/v2', 'apidiscovery.k8s.io/v2beta1'));
    expect(home.body).not.to.contain('resourceclaims');
    expect(ours.body).to.contain('resourceclaims');
  });

  it('answer 404 for a resource that none of them serves', async () => {
    await fleet.until('a complete table', () => fleet.status()?.peerCounts?.stale === 0);
    // A proxy that has just started trusts a table once it has been confirmed.
    await fleet.until('404', async () => (await fleet.get('/apis/nope.example/v1/things')).status === 404);
    expect((await fleet.get('/apis/apps/v1/nothings')).status).to.equal(404);
  });

  it('write objects of a resource that home does not know', async () => {
    const object = { apiVersion: 'resource.k8s.io/v1', kind: 'ResourceClaim', metadata: { name: 'one' }, spec: {} };
    const collection = '/apis/resource.k8s.io/v1/namespaces/default/resourceclaims';
    expect((await fleet.send('POST', collection, object)).status).to.equal(201);
    expect(JSON.parse((await fleet.get(`${collection}/one`)).body)).to.have.nested.property('metadata.name', 'one');
    const missing = await fleet.get(`${collection}/two`);
    expect(missing.status).to.equal(404);
    expect(JSON.parse(missing.body)).to.have.nested.property('details.name', 'two');
  });
});
