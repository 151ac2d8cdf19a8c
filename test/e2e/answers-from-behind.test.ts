import { readFileSync } from 'node:fs';
import { connect as http2Connect } from 'node:http2';
import { connect as tlsConnect } from 'node:tls';
import { expect } from 'chai';
import { ensureControlPlane } from '../../lab/build/build-control-plane.ts';
import { type MixedPlane, startMixedPlane } from '../../lab/plane/mixed-plane.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import { type BehindServer, type ScriptedAnswer, startBehindServer, startByHand } from '../support/behind-servers.ts';
import { createWireClient, type WireAnswer, type WireClient, type WireRequest } from '../support/wire-client.ts';

const maps = '/api/v1/namespaces/default/configmaps';
const metrics = '/apis/custom.metrics.k8s.io/v1beta1';
const json = 'application/json';
const unknownResource = 'the server could not find the requested resource';
const targets = ['direct', 'proxy'] as const;
type Target = (typeof targets)[number];

const notFound = (message: string, more: object = {}) => ({
  kind: 'Status',
  apiVersion: 'v1',
  metadata: {},
  status: 'Failure',
  message,
  reason: 'NotFound',
  ...more,
  code: 404,
});

/** The status with which a webhook refuses, by the name of the object. */
const refusals: Readonly<Record<string, object>> = {
  tenant: { code: 404, reason: 'NotFound', message: 'tenant "team-a" not found' },
  bare: { code: 404 },
  reasoned: { code: 404, reason: 'NotFound' },
  copied: { code: 404, reason: 'NotFound', message: unknownResource },
  detailed: { ...notFound(unknownResource, { details: { group: 'apps', kind: 'deployments', name: 'x' } }) },
  page: { code: 404, message: '404 page not found' },
};

/** The answer of an aggregated server or a kubelet, by the requested name. */
const answers = {
  samples: {
    status: 404,
    contentType: json,
    body: JSON.stringify(notFound('the server could not find the metric samples for pods')),
  },
  status: { status: 404, contentType: json, body: JSON.stringify(notFound(unknownResource)) },
  details: { status: 404, contentType: json, body: JSON.stringify(notFound(unknownResource, { details: {} })) },
  page: { status: 404, contentType: 'text/plain; charset=utf-8', body: '404 page not found\n' },
  yaml: {
    status: 404,
    contentType: 'application/yaml',
    body: `apiVersion: v1\nkind: Status\nmetadata: {}\nstatus: Failure\nmessage: ${unknownResource}\nreason: NotFound\ncode: 404\n`,
  },
  html: { status: 404, contentType: 'text/html', body: '<h1>Not Found</h1>' },
} as const satisfies Readonly<Record<string, ScriptedAnswer>>;

describe('answers through kube-apiserver', function () {
  this.timeout(300_000);
  let mixed: MixedPlane;
  let webhook: BehindServer;
  let adapter: BehindServer;
  let kubelet: BehindServer;
  const clients = new Map<Target, WireClient>();
  const stops: (() => Promise<void>)[] = [];

  before(async () => {
    const log = (message: string) => void process.stdout.write(`      … ${message}\n`);
    await ensureControlPlane({ versions: ['1.36'], log });
    mixed = await startMixedPlane({
      servers: [
        { name: 'old-1', version: '1.36', emulatedVersion: '1.33' },
        { name: 'new-1', version: '1.36' },
      ],
      home: 'old-1',
      log,
    });
    mixed.startOperator();
    mixed.startProxy();
    const { plane } = mixed;
    const ca = readFileSync(plane.caFile, 'utf8');
    const urls = { direct: plane.server('old-1').url, proxy: mixed.proxyUrl };
    for (const target of targets)
      clients.set(target, createWireClient({ url: urls[target], ca, token: plane.tokens.admin }));
    const behind: typeof startBehindServer = async (...args) => {
      const server = await startBehindServer(...args);
      stops.push(server.stop);
      return server;
    };
    webhook = await behind(plane, { name: 'webhook', ip: '10.77.0.35', port: 9443 }, ({ body }) => {
      const { request } = JSON.parse(body) as {
        request: { uid: string; name?: string; object?: { metadata: { name: string } } };
      };
      const name = request.name || (request.object?.metadata.name ?? '');
      const response = { uid: request.uid, allowed: false, status: refusals[name.split('-')[0] ?? ''] };
      const review = { apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response };
      return { status: 200, contentType: json, body: JSON.stringify(review) };
    });
    adapter = await behind(plane, { name: 'adapter', ip: '10.77.0.36', port: 443 }, ({ call }) =>
      answerAsAdapter(call),
    );
    kubelet = await behind(
      plane,
      { name: 'worker', ip: '10.77.0.37', port: 10_250 },
      // Paths such as `/exec/default/<pod>/main` and `/portForward/default/<pod>`.
      ({ call }) => answerNamed(call.split('/')[3]) ?? answers.page,
    );
    stops.push(await startByHand('10.77.0.39', 8080, answerByHand));
    await apply(objects(Buffer.from(ca).toString('base64')));
    await setStatus('node', 'worker', {
      addresses: [{ type: 'InternalIP', address: '10.77.0.37' }],
      daemonEndpoints: { kubeletEndpoint: { Port: 10_250 } },
    });
    for (const name of ['status', 'page', 'html'])
      await setStatus('pod', name, {
        phase: 'Running',
        podIP: '10.77.0.39',
        podIPs: [{ ip: '10.77.0.39' }],
        containerStatuses: [
          {
            name: 'main',
            ready: true,
            restartCount: 0,
            image: '',
            imageID: '',
            state: { running: { startedAt: '2026-01-01T00:00:00Z' } },
          },
        ],
      });
    let seen = '';
    await waitUntil(
      'the proxy to route requests, also to the aggregated server',
      async () => {
        const paths = ['/apis/resource.k8s.io/v1/resourceclaims', `${metrics}/namespaces/default/pods/x/ok`, metrics];
        try {
          const got = await Promise.all(paths.map((path) => ask('proxy', 'http1', { path })));
          seen = got.map(({ status, body }) => `${status} ${body}`).join('\n');
          return got.every(({ status }) => status === 200) && seen.includes('pods/samples');
        } catch (error) {
          seen = String(error);
          return false;
        }
      },
      { seen: () => seen },
    );
    // A new proxy asks by the Lease whose changes the tests look for.
    await waitUntil('a confirmed table', async () =>
      /the routing table is confirmed/.test(mixed.plane.readLog('proxy')),
    );
    // These tests are not about resources that the table did not list yet.
    webhook.calls.length = 0;
    adapter.calls.length = 0;
  });

  after(async () => {
    for (const client of clients.values()) client.close();
    for (const stop of stops) await stop();
    await mixed?.stop();
  });

  async function apply(items: readonly object[]): Promise<void> {
    const list = JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
    const { code, stderr } = await mixed.kubectl('old-1', ['create', '-f', '-'], list);
    if (code !== 0) throw new Error(stderr);
  }

  async function setStatus(kind: string, name: string, status: object): Promise<void> {
    const args = ['patch', kind, name, '--subresource=status', '--type=merge', '-p', JSON.stringify({ status })];
    const { code, stderr } = await mixed.kubectl('old-1', args);
    if (code !== 0) throw new Error(stderr);
  }

  const ask = (target: Target, protocol: 'http1' | 'http2', request: WireRequest): Promise<WireAnswer> => {
    const client = clients.get(target);
    if (client === undefined) throw new Error(`no client for ${target}`);
    return client[protocol](request);
  };

  /** The proxy's reports about servers that lack what the table lists. */
  const reports = async () => {
    const lease = ['-n', 'peerdiscovery-system', 'get', 'lease', 'peerdiscovery-cluster-behind', '-o', 'json'];
    const { stdout } = await mixed.kubectl('old-1', lease);
    const told = mixed.plane.readLog('proxy').match(/does not know a resource that the routing table says/g) ?? [];
    return {
      told: told.length,
      lease:
        stdout === '' ? '' : (JSON.parse(stdout) as { metadata: { resourceVersion: string } }).metadata.resourceVersion,
    };
  };

  /**
   * Sends the same request to the server and to the proxy. Each must call the backend once, with the same answer and no
   * report.
   */
  async function compare(behind: BehindServer, request: WireRequest, label: string, expected = 404): Promise<void> {
    const before = await reports();
    for (const protocol of ['http1', 'http2'] as const) {
      const got: Record<string, unknown> = {};
      for (const target of targets) {
        const from = behind.calls.length;
        const { status, rawHeaders, body } = await ask(target, protocol, request);
        const calls = behind.calls.slice(from).filter((call) => !isDiscovery(call));
        const at = rawHeaders.findIndex((text) => text.toLowerCase() === 'content-type');
        got[target] = { status, type: rawHeaders[at + 1], body: body.toString('latin1'), calls: calls.length };
      }
      expect(got.proxy, `${label} over ${protocol}`).to.deep.equal(got.direct);
      expect(got.proxy, `${label} over ${protocol}`).to.include({ status: expected, calls: 1 });
    }
    expect(await reports(), label).to.deep.equal(before);
  }

  for (const [name] of Object.entries(refusals))
    it(`pass a webhook's 404 (${name}) on to every client and verb, after one call`, async () => {
      const object = (kind: string, apiVersion: string, more: object = {}) => ({
        apiVersion,
        kind,
        metadata: { name: `${name}-1`, labels: { refused: 'yes' } },
        ...more,
      });
      const map = object('ConfigMap', 'v1');
      const device = object('DeviceClass', 'resource.k8s.io/v1', { spec: {} });
      const path = `${maps}/${name}-0`;
      const writes: WireRequest[] = [
        { method: 'POST', path: maps, body: JSON.stringify(map) },
        {
          method: 'POST',
          path: '/apis/apps/v1/namespaces/default/deployments',
          body: JSON.stringify(deployment(`${name}-1`)),
        },
        { method: 'PUT', path, body: JSON.stringify({ ...map, metadata: { ...map.metadata, name: `${name}-0` } }) },
        { method: 'DELETE', path },
      ];
      for (const request of writes)
        for (const accept of [
          json,
          'application/yaml',
          'application/vnd.kubernetes.protobuf',
          `application/json;as=Table;v=v1;g=meta.k8s.io,${json}`,
        ])
          await compare(
            webhook,
            { ...request, headers: ['Content-Type', json, 'Accept', accept] },
            `${name} ${request.method} ${accept}`,
          );
      const patch = {
        method: 'PATCH',
        path,
        headers: ['Content-Type', 'application/merge-patch+json'],
        body: '{"data":{"a":"b"}}',
      };
      await compare(webhook, patch, `${name} PATCH`);
      // `old-1` does not serve it.
      const from = webhook.calls.length;
      const routed = await ask('proxy', 'http1', {
        method: 'POST',
        path: '/apis/resource.k8s.io/v1/deviceclasses',
        headers: ['Content-Type', json],
        body: JSON.stringify(device),
      });
      expect(routed.status, routed.body.toString()).to.equal(404);
      expect(webhook.calls.length - from).to.equal(1);
    });

  it('tell kubectl the reason at once', async () => {
    const from = webhook.calls.length;
    const args = ['create', '-f', '-'];
    const map = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'tenant-2', labels: { refused: 'yes' } } };
    const direct = await mixed.kubectl('old-1', args, JSON.stringify(map));
    const proxied = await mixed.kubectl('proxy', args, JSON.stringify(map));
    expect(proxied).to.deep.equal(direct);
    expect(proxied.stderr).to.include('tenant "team-a" not found');
    expect(webhook.calls.length - from).to.equal(2);
  });

  for (const [name] of Object.entries(answers))
    it(`pass an aggregated server's 404 (${name}) on, after one call`, async () => {
      for (const path of [
        `${metrics}/namespaces/default/pods/x/${name}`,
        `${metrics}/namespaces/default/pods/*/${name}`,
      ])
        await compare(adapter, { path }, path);
      const path = `${metrics}/namespaces/default/pods/x/${name}`;
      for (const method of ['POST', 'PUT', 'DELETE'])
        await compare(adapter, { method, path, headers: ['Content-Type', json], body: '{}' }, `${method} ${path}`);
    });

  for (const websockets of ['true', 'false'])
    it(`pass a kubelet's 404 on to kubectl over ${websockets === 'true' ? 'WebSocket' : 'SPDY'}`, async () => {
      const env = { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: websockets, KUBECTL_PORT_FORWARD_WEBSOCKETS: websockets };
      const before = await reports();
      for (const pod of ['status', 'page', 'html'])
        for (const args of [
          ['exec', pod, '--', 'true'],
          ['attach', pod],
          ['logs', pod],
        ]) {
          const got: Record<string, unknown> = {};
          for (const target of targets) {
            const from = kubelet.calls.length;
            const kubeconfig = mixed.kubeconfigOf(target === 'direct' ? 'old-1' : 'proxy');
            const { code, stdout, stderr } = await mixed.plane.exec('kubectl', ['--kubeconfig', kubeconfig, ...args], {
              env,
            });
            const calls = kubelet.calls.slice(from);
            got[target] = {
              code,
              stdout,
              stderr: stderr.replaceAll(/https:\/\/10\.77\.0\.\d+/g, 'https://server'),
              calls,
            };
          }
          expect(got.proxy, args.join(' ')).to.deep.equal(got.direct);
        }
      expect(await reports()).to.deep.equal(before);
    });

  it('pass the 404 of a kubelet that gets an upgrade request on, after as many calls as directly', async () => {
    const protocols = {
      'SPDY/3.1': 'X-Stream-Protocol-Version: v4.channel.k8s.io\r\n',
      websocket: `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n`,
    };
    const before = await reports();
    for (const pod of ['status', 'page', 'html'])
      for (const end of ['exec?command=true&stdout=1', 'attach?stdout=1', 'portforward?ports=80'])
        for (const [protocol, more] of Object.entries(protocols)) {
          const got: Record<string, unknown> = {};
          for (const target of targets) {
            const from = kubelet.calls.length;
            const head = `Connection: Upgrade\r\nUpgrade: ${protocol}\r\n${more}`;
            const method = protocol === 'websocket' ? 'GET' : 'POST';
            const text = asked(method, `/api/v1/namespaces/default/pods/${pod}/${end}`, head);
            const answer = await converse(urlOf(target), text, 300);
            got[target] = { status: answer.slice(0, 'HTTP/1.1 404'.length), calls: kubelet.calls.slice(from) };
          }
          expect(got.proxy, `${pod} ${end} ${protocol}`).to.deep.equal(got.direct);
        }
    expect(kubelet.calls.length).to.be.above(0);
    expect(await reports()).to.deep.equal(before);
  });

  it("are the server's own for subresources, reviews and paths below a listed resource", async () => {
    await apply([deployment('there', false)]);
    const deployments = '/apis/apps/v1/namespaces/default/deployments';
    const review = (kind: string, spec: object) =>
      JSON.stringify({ apiVersion: 'authorization.k8s.io/v1', kind, spec });
    const attributes = { resourceAttributes: { verb: 'get', resource: 'pods' } };
    const requests: readonly WireRequest[] = [
      ...['scale', 'status', 'scale/y/z', 'scale/y', 'nothing', 'status/x'].flatMap((end) =>
        ['there', 'missing'].map((name) => ({ path: `${deployments}/${name}/${end}` })),
      ),
      ...['PUT', 'PATCH', 'POST', 'DELETE'].map((method) => ({
        method,
        path: `${deployments}/there/scale/y/z`,
        body: '{}',
        headers: ['Content-Type', method === 'PATCH' ? 'application/merge-patch+json' : json],
      })),
      {
        method: 'PATCH',
        path: `${deployments}/missing/scale`,
        body: '{"spec":{"replicas":2}}',
        headers: ['Content-Type', 'application/merge-patch+json'],
      },
      {
        method: 'PATCH',
        path: `${deployments}/missing/status`,
        body: '{}',
        headers: ['Content-Type', 'application/merge-patch+json'],
      },
      ...[
        ['selfsubjectaccessreviews', 'SelfSubjectAccessReview', attributes],
        ['subjectaccessreviews', 'SubjectAccessReview', { ...attributes, user: 'x' }],
        ['selfsubjectrulesreviews', 'SelfSubjectRulesReview', { namespace: 'default' }],
      ].flatMap(([resource, kind, spec]) => [
        {
          method: 'POST',
          path: `/apis/authorization.k8s.io/v1/${resource}`,
          body: review(String(kind), spec as object),
          headers: ['Content-Type', json],
        },
        { path: `/apis/authorization.k8s.io/v1/${resource}` },
        { path: `/apis/authorization.k8s.io/v1/${resource}/x` },
        { method: 'DELETE', path: `/apis/authorization.k8s.io/v1/${resource}/x` },
      ]),
      { path: '/api/v1/namespaces/default/pods/missing/log' },
      { path: '/api/v1/namespaces/default/pods/missing/ephemeralcontainers' },
      { path: '/api/v1/namespaces/missing/status' },
      { path: '/api/v1/namespaces/default/services/missing/proxy/x' },
      { path: '/api/v1/nodes/missing/proxy/x' },
      {
        method: 'POST',
        path: '/api/v1/namespaces/default/pods/missing/eviction',
        body: '{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"missing"}}',
        headers: ['Content-Type', json],
      },
      {
        method: 'POST',
        path: '/api/v1/namespaces/default/pods/missing/binding',
        body: '{"apiVersion":"v1","kind":"Binding","metadata":{"name":"missing"},"target":{"name":"x"}}',
        headers: ['Content-Type', json],
      },
      {
        method: 'POST',
        path: '/api/v1/namespaces/default/serviceaccounts/missing/token',
        body: '{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}',
        headers: ['Content-Type', json],
      },
      {
        method: 'POST',
        path: '/apis/apps/v1/namespaces/missing/deployments',
        body: JSON.stringify(deployment('x', false)).replace('default', 'missing'),
        headers: ['Content-Type', json],
      },
    ];
    const before = await reports();
    for (const request of requests)
      for (const protocol of ['http1', 'http2'] as const) {
        const [direct, proxied] = await Promise.all(targets.map((target) => ask(target, protocol, request)));
        const label = `${request.method ?? 'GET'} ${request.path} over ${protocol}`;
        expect(proxied?.status, `${label}: ${proxied?.body}`).to.equal(direct?.status);
        if (direct?.status !== 200 && direct?.status !== 201)
          expect(String(proxied?.body), label).to.equal(String(direct?.body));
      }
    expect(await reports()).to.deep.equal(before);
  });

  for (const path of [
    '/api/v1/namespaces/default/services/backend:8080/proxy',
    '/api/v1/namespaces/default/pods/status:8080/proxy',
  ])
    it(`leave kube-apiserver in use, whatever a backend does, under ${path}`, async () => {
      expect((await ask('proxy', 'http1', { path: `${path}/ok` })).body.toString()).to.equal('ok');
      for (const end of ['none', 'head', 'cut', 'chunk', 'reset', 'garbage', 'lengths', 'interim'])
        for (const protocol of ['http1', 'http2'] as const)
          for (const method of ['POST', 'GET']) {
            const request = { method, path: `${path}/${end}`, ...(method === 'POST' && { body: 'x' }) };
            await ask('proxy', protocol, request).catch(() => {});
            expect(
              (await ask('proxy', protocol, { path: '/api/v1/namespaces?limit=1' })).status,
              `${method} ${end}`,
            ).to.equal(200);
          }
      expect(mixed.plane.readLog('proxy')).not.to.match(/peer taken out/);
    });

  const backend = '/api/v1/namespaces/default/services/backend:8080/proxy';
  /** All bytes that arrive over an HTTP/1.1 connection until its end, or for this long after the head. */
  const converse = (url: string, text: string, leaveAfterMs?: number) =>
    new Promise<string>((resolve, reject) => {
      const { hostname, port } = new URL(url);
      const socket = tlsConnect({ host: hostname, port: Number(port), ca: readFileSync(mixed.plane.caFile) });
      let received = '';
      socket.on('data', (bytes: Buffer) => {
        received += bytes.toString('latin1');
        if (leaveAfterMs !== undefined && received.includes('\r\n\r\n'))
          setTimeout(() => socket.destroy(), leaveAfterMs);
      });
      socket.once('error', reject);
      socket.once('close', () => resolve(received));
      socket.once('secureConnect', () => socket.write(text, 'latin1'));
    });
  const asked = (method: string, path: string, more = '') =>
    `${method} ${path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${mixed.plane.tokens.admin}\r\n${more}\r\n`;
  const urlOf = (target: Target) => (target === 'direct' ? mixed.plane.server('old-1').url : mixed.proxyUrl);

  it('may be interim, and are passed on as kube-apiserver does, over HTTP/1.1 and HTTP/2', async () => {
    for (const method of ['GET', 'POST']) {
      const seen: Record<string, unknown> = {};
      for (const target of targets) {
        const length = method === 'POST' ? 'Content-Length: 0\r\n' : '';
        const text = await converse(urlOf(target), asked(method, `${backend}/hints`, `${length}Connection: close\r\n`));
        const lines = text.match(/HTTP\/1\.1 \d+|Link: .*/gi)?.map((line) => line.trim());
        const session = http2Connect(urlOf(target), { ca: readFileSync(mixed.plane.caFile) });
        const stream = session.request({
          ':method': method,
          ':path': `${backend}/hints`,
          authorization: `Bearer ${mixed.plane.tokens.admin}`,
        });
        const interim: unknown[] = [];
        stream.on('headers', (fields) => interim.push([fields[':status'], fields.link]));
        stream.end();
        stream.resume();
        await new Promise((resolve) => stream.once('close', resolve));
        session.destroy();
        seen[target] = { lines, interim };
      }
      expect(seen.proxy).to.deep.equal(seen.direct);
      expect(JSON.stringify(seen.proxy)).to.include('102').and.include('103').and.include('</a.css>');
    }
  });

  it('switch to any protocol that a backend accepts, and to none elsewhere', async () => {
    const upgrade = (protocol: string) => `Connection: Upgrade\r\nUpgrade: ${protocol}\r\n`;
    for (const target of targets) {
      const switched = await converse(urlOf(target), asked('GET', `${backend}/switch`, upgrade('tcp')));
      expect(switched, target).to.match(/^HTTP\/1\.1 101 .*raw$/s);
      for (const protocol of ['h2c', 'TLS/1.2', 'tcp', 'foo/1'])
        for (const path of ['/version', '/apis', '/api/v1/namespaces/default', '/apis/apps/v1/deployments'])
          if (target === 'proxy') {
            const ignored = await converse(
              urlOf(target),
              asked('GET', path, `Connection: Upgrade, close\r\nUpgrade: ${protocol}\r\n`),
            );
            const direct = await converse(
              urlOf('direct'),
              asked('GET', path, `Connection: Upgrade, close\r\nUpgrade: ${protocol}\r\n`),
            );
            expect(ignored.slice(0, 12), `${path} ${protocol}`).to.equal(direct.slice(0, 12));
          }
    }
  });

  // This is last, because it changes a server.
  it('differ from those of a server restarted without batch/v1: nothing is hidden, and nothing carried out twice', async () => {
    const jobs = '/apis/batch/v1/namespaces/default/jobs';
    const old = mixed.plane.server('old-1');
    await old.stop();
    await old.startWith(['--runtime-config=batch/v1=false']);
    const codes = new Map<string, number>();
    const created: string[] = [];
    for (let at = 0; at < 60; at++) {
      const name = `job-${at}`;
      const template = { spec: { restartPolicy: 'Never', containers: [{ name: 'main', image: 'none' }] } };
      const job = { apiVersion: 'batch/v1', kind: 'Job', metadata: { name }, spec: { template } };
      const post = await ask('proxy', at % 2 === 0 ? 'http1' : 'http2', {
        method: 'POST',
        path: jobs,
        headers: ['Content-Type', json],
        body: JSON.stringify(job),
      });
      if (post.status === 201) created.push(name);
      const read = await ask('proxy', at % 2 === 0 ? 'http2' : 'http1', { path: jobs });
      const missing = await ask('proxy', 'http1', { path: `${jobs}/no-such-job` });
      for (const [what, status] of Object.entries({ post: post.status, read: read.status, missing: missing.status }))
        codes.set(`${what} ${status}`, (codes.get(`${what} ${status}`) ?? 0) + 1);
      if (missing.status === 404) expect(String(missing.body)).to.include('no-such-job');
    }
    for (const wrong of ['post 404', 'read 404', 'post 409']) expect([...codes.keys()]).not.to.include(wrong);
    expect(codes.get('post 201'), JSON.stringify([...codes])).to.be.above(50);
    const { stdout } = await mixed.kubectl('new-1', ['get', 'jobs', '-o', 'jsonpath={.items[*].metadata.name}']);
    expect(stdout.split(' ')).to.have.members(created);
  });
});

const isDiscovery = (call: string) => /^GET \/(apis|openapi)(\/[^/]+){0,2}$/.test(call);

const answerNamed = (name = ''): ScriptedAnswer | undefined =>
  new Map<string, ScriptedAnswer>(Object.entries(answers)).get(name);

function answerAsAdapter(call: string): ScriptedAnswer {
  const resources = ['ok', ...Object.keys(answers)].map((name) => ({
    name: `pods/${name}`,
    singularName: '',
    namespaced: true,
    kind: 'MetricValueList',
    verbs: ['get', 'create', 'update', 'delete'],
  }));
  const list = { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: 'custom.metrics.k8s.io/v1beta1', resources };
  if (call === `GET ${metrics}`) return { status: 200, contentType: json, body: JSON.stringify(list) };
  const name = call.split('/').at(-1) ?? '';
  const found = { kind: 'MetricValueList', apiVersion: 'custom.metrics.k8s.io/v1beta1', metadata: {}, items: [] };
  if (name === 'ok') return { status: 200, contentType: json, body: JSON.stringify(found) };
  return answerNamed(name) ?? { status: 404, contentType: 'text/plain', body: '404 page not found\n' };
}

function answerByHand(path: string, socket: import('node:net').Socket): void {
  const close = 'Connection: close\r\n';
  switch (path.split('/').at(-1)) {
    case 'none':
      return void socket.destroy();
    case 'head':
      return void socket.end('HTTP/1.1 200 OK\r\nContent-');
    case 'cut':
      return void socket.end('HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\ncut');
    case 'chunk':
      return void socket.end('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ncut\r\n');
    case 'reset':
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\ncut');
      return void setTimeout(() => socket.resetAndDestroy(), 20);
    case 'garbage':
      return void socket.end('hello\r\n\r\n');
    case 'lengths':
      return void socket.end('HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx');
    case 'interim':
      return void socket.end('HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(1_000));
    case 'hints':
      socket.write('HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n');
      return void socket.end(`HTTP/1.1 200 OK\r\nContent-Length: 4\r\n${close}\r\ndone`);
    case 'switch':
      return void socket.end('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nraw');
    default:
      return void socket.end(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\n${close}\r\nok`);
  }
}

function deployment(name: string, isRefused = true): object {
  const labels = { app: name };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace: 'default', ...(isRefused && { labels: { refused: 'yes' } }) },
    spec: {
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: 'main', image: 'none' }] } },
    },
  };
}

function objects(caBundle: string): readonly object[] {
  // kube-apiserver connects only to the address of a Pod.
  const targetRef = { kind: 'Pod', namespace: 'default', name: 'status' };
  const pod = (name: string) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default' },
    spec: { nodeName: 'worker', automountServiceAccountToken: false, containers: [{ name: 'main', image: 'none' }] },
  });
  return [
    { apiVersion: 'v1', kind: 'Node', metadata: { name: 'worker' } },
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default', namespace: 'default' } },
    ...['status', 'page', 'html'].map(pod),
    ...Object.keys(refusals).map((name) => ({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: `${name}-0`, namespace: 'default', labels: { refused: 'yes' } },
    })),
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'backend', namespace: 'default' },
      spec: { ports: [{ port: 8080 }] },
    },
    {
      apiVersion: 'v1',
      kind: 'Endpoints',
      metadata: { name: 'backend', namespace: 'default' },
      subsets: [{ addresses: [{ ip: '10.77.0.39', targetRef }], ports: [{ port: 8080 }] }],
    },
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'backend', namespace: 'default', labels: { 'kubernetes.io/service-name': 'backend' } },
      addressType: 'IPv4',
      endpoints: [{ addresses: ['10.77.0.39'], conditions: { ready: true }, targetRef }],
      ports: [{ name: '', port: 8080, protocol: 'TCP' }],
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'adapter', namespace: 'default' },
      spec: { type: 'ExternalName', externalName: '10.77.0.36', ports: [{ port: 443 }] },
    },
    {
      apiVersion: 'apiregistration.k8s.io/v1',
      kind: 'APIService',
      metadata: { name: 'v1beta1.custom.metrics.k8s.io' },
      spec: {
        group: 'custom.metrics.k8s.io',
        version: 'v1beta1',
        groupPriorityMinimum: 100,
        versionPriority: 100,
        insecureSkipTLSVerify: true,
        service: { name: 'adapter', namespace: 'default', port: 443 },
      },
    },
    {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'ValidatingWebhookConfiguration',
      metadata: { name: 'tenants' },
      webhooks: [
        {
          name: 'tenants.example.com',
          clientConfig: { url: 'https://10.77.0.35:9443/', caBundle },
          rules: [
            { apiGroups: ['*'], apiVersions: ['*'], operations: ['CREATE', 'UPDATE', 'DELETE'], resources: ['*'] },
          ],
          objectSelector: { matchLabels: { refused: 'yes' } },
          sideEffects: 'None',
          failurePolicy: 'Fail',
          admissionReviewVersions: ['v1'],
        },
      ],
    },
  ];
}
