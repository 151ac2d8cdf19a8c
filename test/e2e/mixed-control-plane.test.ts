import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { expect } from 'chai';
import { ensureControlPlane } from '../../lab/build/build-control-plane.ts';
import { type MixedPlane, startMixedPlane } from '../../lab/plane/mixed-plane.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import type { PeerDiscovery, PeerStatus } from '../../src/api/peer-discovery.ts';
import { crdCases } from '../support/crd-cases.ts';

const claims = '/apis/resource.k8s.io/v1/resourceclaims';
const aggregatedV2 = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';

/** `mvp-1` is a 1.36 with upstream's own Mixed Version Proxy; `mid-1` is a real 1.35, `old-1` emulates 1.33. */
const servers = [
  { name: 'old-1', version: '1.36', emulatedVersion: '1.33' },
  { name: 'mid-1', version: '1.35' },
  { name: 'mvp-1', version: '1.36', peerCa: true },
] as const;

describe('a real control plane of 1.33, 1.35 and 1.36', function () {
  this.timeout(300_000);
  let mixed: MixedPlane;
  let operator: ChildProcess;

  before(async () => {
    const log = (message: string) => void process.stdout.write(`      … ${message}\n`);
    await ensureControlPlane({ versions: ['1.36', '1.35'], log });
    mixed = await startMixedPlane({ servers, home: 'old-1', log });
    operator = mixed.startOperator();
    mixed.startProxy();
  });

  after(async () => {
    await mixed?.stop();
  });

  async function readObject(): Promise<PeerDiscovery> {
    const { code, stdout, stderr } = await mixed.kubectl('old-1', ['get', 'peerdiscovery', 'cluster', '-o', 'json']);
    if (code !== 0) throw new Error(stderr);
    return JSON.parse(stdout) as PeerDiscovery;
  }

  async function readPeers(): Promise<readonly PeerStatus[]> {
    return (await readObject()).status?.peers ?? [];
  }

  async function waitForStates(wanted: Readonly<Record<string, string>>): Promise<readonly PeerStatus[]> {
    let last = '';
    return waitUntil(
      `the states ${JSON.stringify(wanted)}`,
      async () => {
        const peers = await readPeers();
        const states = Object.fromEntries(peers.map(({ hostname, id, state }) => [hostname ?? id, state]));
        last = JSON.stringify(states);
        return Object.entries(wanted).every(([name, state]) => states[name] === state) && peers;
      },
      { seen: () => last },
    );
  }

  /** One request with curl. Status and body are those on the wire. */
  async function request(
    target: string,
    path: string,
    accept = 'application/json',
    extra: readonly string[] = [],
    token?: string,
  ) {
    const url = target === 'proxy' ? mixed.proxyUrl : mixed.plane.server(target).url;
    const auth = ['--cacert', mixed.plane.caFile, '-H', `Authorization: Bearer ${token ?? mixed.plane.tokens.admin}`];
    const args = ['-sS', '-i', '--http1.1', '-A', 'e2e', '-H', `Accept: ${accept}`, ...auth, ...extra, `${url}${path}`];
    const { stdout, stderr, code } = await mixed.plane.exec('curl', args);
    if (code !== 0) throw new Error(`curl ended with ${code}: ${stderr}`);
    const end = stdout.indexOf('\r\n\r\n');
    const [statusLine = '', ...lines] = stdout.slice(0, end).split('\r\n');
    const headers = new Map(
      lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 2)]),
    );
    return { status: Number(statusLine.split(' ')[1]), headers, body: stdout.slice(end + 4) };
  }

  const readThroughProxy = async () => (await request('proxy', claims)).status;
  const allReady = () => waitForStates({ 'old-1': 'Ready', 'mid-1': 'Ready', 'mvp-1': 'Ready' });

  it('identifies every server, and reports how', async () => {
    // A server is ready before the operator has asked for its version.
    const peers = await waitUntil('their versions', async () => {
      const ready = await allReady();
      return ready.every(({ version }) => version !== undefined) && ready;
    });
    expect(peers).to.have.length(3);
    const by = (host: string) => peers.find(({ hostname }) => hostname === host);
    expect(by('mid-1')).to.include({ addressSource: 'Node', trust: 'Medium', version: 'v1.35.4', documentForm: 'v2' });
    expect(by('mid-1')?.id).to.match(/^apiserver-[a-z2-7]{26}$/);
    expect(by('mvp-1')).to.include({ version: 'v1.36.3' });
  });

  for (const { title, object, error } of crdCases)
    it(`${error === undefined ? 'accepts' : 'refuses'} ${title}`, async () => {
      const { code, stderr } = await mixed.kubectl(
        'mid-1',
        ['create', '--dry-run=server', '-f', '-'],
        JSON.stringify(object),
      );
      if (error === undefined) expect(code, stderr).to.equal(0);
      else expect(stderr).to.match(error);
    });

  it('shows the state in one line', async () => {
    const { stdout } = await mixed.kubectl('old-1', ['get', 'pd']);
    const [header = '', row = ''] = stdout.trim().split('\n');
    expect(header.split(/\s+/)).to.include.members(['PEERS', 'READY', 'STALE', 'DIVERGENT', 'CONVERGED', 'AGE']);
    expect(row).to.match(/^cluster\s+Route\s+3\s+3\s+0\s+\d+\s+False/);
    expect(Math.max(header.length, row.length)).to.be.at.most(80);
    const { status } = await readObject();
    const missing = status?.divergent?.find(
      ({ group, version, resource }) => `${group}/${version}/${resource}` === 'resource.k8s.io/v1/resourceclaims',
    );
    expect(missing?.servedBy).to.have.length(2);
    expect(missing?.missingFrom).to.have.length(1);
    // Releases differ in more than their resources: a field of 1.36 changes the schemas of its group-version.
    await waitUntil('schema differences in status', async () => {
      const differences = (await readObject()).status?.schemaDifferences ?? [];
      return differences.some(({ group, version }) => `${group}/${version}` === 'apps/v1');
    });
  });

  it('turns the wrong 404 of the old server into the right answer', async () => {
    await waitUntil('the proxy', async () => (await request('proxy', '/version')).status === 200);
    expect((await request('old-1', claims)).status).to.equal(404);
    await waitUntil('a routed answer', async () => (await readThroughProxy()) === 200);
    const { stdout, code, stderr } = await mixed.kubectl('proxy', ['get', 'resourceclaims', '-A', '-o', 'json']);
    expect(code, stderr).to.equal(0);
    expect(JSON.parse(stdout)).to.have.property('kind', 'List');
  });

  it('passes the 404 of a missing object, and of a resource that no server serves', async () => {
    const object = await request('proxy', '/apis/resource.k8s.io/v1/namespaces/default/resourceclaims/none');
    expect(object.status).to.equal(404);
    expect(JSON.parse(object.body)).to.have.nested.property('details.name', 'none');
    await waitUntil(
      'a complete table',
      async () => (await request('proxy', '/apis/nope.example/v1/things')).status === 404,
    );
    // A group-version that home has, and one that it lacks.
    for (const path of [
      '/api/v1/configmaps/x',
      '/api/v1/namespaces/default/nodes/x',
      '/apis/resource.k8s.io/v1/resourceclaims/x',
    ])
      expect((await request('proxy', path)).status, path).to.equal(404);
  });

  it("serves the merged /apis of upstream's own proxy, byte for byte and with its ETag", async () => {
    const ours = await waitUntil('equal documents', async () => {
      const [proxied, upstream] = await Promise.all([
        request('proxy', '/apis', aggregatedV2),
        request('mvp-1', '/apis', aggregatedV2),
      ]);
      return proxied.headers.get('etag') === upstream.headers.get('etag') && proxied.body === upstream.body && proxied;
    });
    expect(ours.body).to.contain('resource.k8s.io');
    const own = await request('old-1', '/apis', `${aggregatedV2};profile=nopeer`);
    const nopeer = await request('proxy', '/apis', `${aggregatedV2};profile=nopeer`);
    expect(nopeer.body).to.equal(own.body);
    expect(createHash('sha256').update(own.body).digest('hex')).not.to.equal(
      createHash('sha256').update(ours.body).digest('hex'),
    );
    const etag = ours.headers.get('etag') ?? '';
    expect((await request('proxy', '/apis', aggregatedV2, ['-H', `If-None-Match: ${etag}`])).status).to.equal(304);
  });

  it('refuses users without rights exactly as the home server does', async () => {
    expect((await request('proxy', '/apis', aggregatedV2, [], 'wrong')).status).to.equal(401);
    expect((await request('proxy', '/apis', aggregatedV2, [], mixed.plane.tokens.reader)).status).to.equal(200);
    expect((await request('proxy', claims, 'application/json', [], mixed.plane.tokens.reader)).status).to.equal(403);
  });

  it('streams a watch of a resource that the home server does not know', async () => {
    const watch = mixed.plane.exec('kubectl', [
      '--kubeconfig',
      mixed.proxyKubeconfig,
      'get',
      'deviceclasses.v1.resource.k8s.io',
      '-w',
      '--output-watch-events',
      '-o',
      'name',
      '--request-timeout=6s',
    ]);
    const object = {
      apiVersion: 'resource.k8s.io/v1',
      kind: 'DeviceClass',
      metadata: { name: 'seen.example.com' },
      spec: {},
    };
    const created = await mixed.kubectl('proxy', ['create', '--validate=false', '-f', '-'], JSON.stringify(object));
    expect(created.code, created.stderr).to.equal(0);
    expect((await watch).stdout).to.contain('seen.example.com');
  });

  it('shows a new CRD everywhere, and drops it from the merged document when it is deleted', async () => {
    const versions = [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object' } } }];
    const names = { plural: 'gizmos', singular: 'gizmo', kind: 'Gizmo', listKind: 'GizmoList' };
    const spec = { group: 'e2e.example.com', scope: 'Namespaced', names, versions };
    const crd = {
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name: 'gizmos.e2e.example.com' },
      spec,
    };
    await mixed.kubectl('old-1', ['apply', '-f', '-'], JSON.stringify(crd));
    await waitUntil('the CRD in the document', async () =>
      (await request('proxy', '/apis', aggregatedV2)).body.includes('e2e.example.com'),
    );
    await waitUntil(
      'its resource',
      async () => (await request('proxy', '/apis/e2e.example.com/v1/gizmos')).status === 200,
    );
    await mixed.kubectl('old-1', ['delete', 'crd', 'gizmos.e2e.example.com', '--wait=false']);
    await waitUntil(
      'its end',
      async () => !(await request('proxy', '/apis', aggregatedV2)).body.includes('e2e.example.com'),
    );
    await waitUntil('404', async () => (await request('proxy', '/apis/e2e.example.com/v1/gizmos')).status === 404);
  });

  it('loses no read when one of two capable servers is killed', async () => {
    const statuses: number[] = [];
    await mixed.plane.server('mvp-1').kill();
    for (let turn = 0; turn < 60; turn += 1) statuses.push(await readThroughProxy());
    expect(statuses.filter((status) => status !== 200)).to.deep.equal([]);
    await waitForStates({ 'mvp-1': 'Unreachable', 'mid-1': 'Ready' });
  });

  it('answers 503 and never 404 while no server can serve an existing resource', async () => {
    await mixed.plane.server('mid-1').stop();
    const statuses: number[] = [];
    await waitForStates({ 'mid-1': 'Unreachable' });
    for (let turn = 0; turn < 20; turn += 1) statuses.push(await readThroughProxy());
    expect(new Set(statuses)).to.deep.equal(new Set([503]));
    const { headers, body } = await request('proxy', claims);
    expect(Number(headers.get('retry-after'))).to.be.greaterThan(0);
    expect(JSON.parse(body)).to.include({ kind: 'Status', reason: 'ServiceUnavailable' });
  });

  it('recognises restarted servers by their hostnames, and never answers 404 meanwhile', async () => {
    const before = (await readPeers()).map(({ id }) => id);
    let done = false;
    const statuses = new Set<number>();
    const reading = (async () => {
      while (!done) statuses.add(await readThroughProxy());
    })();
    await Promise.all(['mid-1', 'mvp-1'].map((name) => mixed.plane.server(name).start()));
    const peers = await allReady();
    await waitUntil('a routed answer', async () => (await readThroughProxy()) === 200);
    done = true;
    await reading;
    expect(peers.map(({ id }) => id)).to.have.members(before);
    expect([...statuses]).not.to.include(404);
  });

  it('answers 503 for what no server is known to serve while a server is away, and 404 when it is back', async () => {
    const ask = () => request('proxy', '/apis/nope.example/v1/things');
    await waitUntil('certainty', async () => (await ask()).status === 404);
    await mixed.plane.server('mid-1').stop();
    const doubt = await waitUntil('doubt', async () => {
      const answer = await ask();
      return answer.status === 503 && answer;
    });
    expect(doubt.body).to.include('may have another version since then');
    await mixed.plane.server('mid-1').start();
    await waitUntil('certainty again', async () => (await ask()).status === 404);
    await allReady();
  });

  it('keeps its last state while its API server is away, and continues when it is back', async () => {
    const { status } = await readObject();
    await mixed.plane.server('old-1').stop();
    const away = await request('proxy', claims);
    expect(away.status).to.equal(200);
    await mixed.plane.server('old-1').start();
    await allReady();
    await mixed.kubectl('old-1', ['patch', 'pd', 'cluster', '--type=merge', '-p', '{"spec":{"staleAfter":"50s"}}']);
    const after = await waitUntil('the new generation', async () => {
      const object = await readObject();
      return object.status?.observedGeneration === object.metadata?.generation && object;
    });
    expect(after.status?.revision).to.be.at.least(status?.revision ?? 0);
  });

  it('routes without an operator, but soon doubts every 404, until there is an operator again', async () => {
    const nope = async () => (await request('proxy', '/apis/nope.example/v1/things')).status;
    await waitUntil('certainty', async () => (await nope()) === 404);
    operator.kill('SIGKILL');
    await waitUntil('doubt', async () => (await nope()) === 503);
    expect(await readThroughProxy()).to.equal(200);
    operator = mixed.startOperator();
    await waitUntil('certainty', async () => (await nope()) === 404);
    expect(await readThroughProxy()).to.equal(200);
  });
});
