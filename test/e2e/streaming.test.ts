import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server, type Socket, connect as tcpConnect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { Agent, WebSocket } from 'undici';
import { ensureControlPlane } from '../../lab/build/build-control-plane.ts';
import { startFakePod } from '../../lab/plane/fake-pod.ts';
import { type MixedPlane, startMixedPlane } from '../../lab/plane/mixed-plane.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import { createWireClient, type WireAnswer, type WireClient, type WireRequest } from '../support/wire-client.ts';

/** `old-1`, which is home, emulates 1.33. The lab's kubelet runs commands on this machine. */
describe('kubectl and other clients through the proxy', function () {
  this.timeout(180_000);
  let mixed: MixedPlane;
  let folder: string;
  /** A kubeconfig of a user who may stream to and from Pods, and nothing else. */
  let developer: string;

  before(async () => {
    const log = (message: string) => void process.stdout.write(`      … ${message}\n`);
    await ensureControlPlane({ versions: ['1.36'], log });
    const servers = [
      { name: 'old-1', version: '1.36', emulatedVersion: '1.33' },
      { name: 'new-1', version: '1.36' },
    ] as const;
    mixed = await startMixedPlane({ servers, home: 'old-1', log });
    mixed.startOperator();
    mixed.startProxy();
    folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-streaming-'));
    const { plane } = mixed;
    developer = plane.kubeconfig({ server: mixed.proxyUrl, token: plane.tokens.reader, name: 'developer' });
    await startFakePod(mixed);
    const claims = ['get', '--raw', '/apis/resource.k8s.io/v1/resourceclaims'];
    await waitUntil('a routed answer', async () => (await mixed.kubectl('proxy', claims)).code === 0);
  });

  after(async () => {
    await mixed?.stop();
    if (folder !== undefined) rmSync(folder, { recursive: true });
  });

  async function must(args: readonly string[], input?: object): Promise<string> {
    const { code, stdout, stderr } = await mixed.kubectl('old-1', args, input && JSON.stringify(input));
    expect(code, `kubectl ${args.join(' ')}: ${stderr}`).to.equal(0);
    return stdout;
  }

  const asDeveloper = (args: readonly string[], options = {}) =>
    mixed.plane.exec('kubectl', ['--kubeconfig', developer, ...args], options);

  it('refuses exec to a user without the right', async () => {
    const refused = await asDeveloper(['exec', 'web', '--', 'true']);
    expect(refused.code).not.to.equal(0);
    expect(refused.stderr).to.match(/Forbidden|forbidden/);
    const resources = ['pods', 'pods/exec', 'pods/attach', 'pods/log', 'pods/portforward'];
    const rules = [{ apiGroups: [''], resources, verbs: ['get', 'list', 'watch', 'create'] }];
    const metadata = { name: 'developer', namespace: 'default' };
    const apiVersion = 'rbac.authorization.k8s.io/v1';
    await must(['create', '-f', '-'], { apiVersion, kind: 'Role', metadata, rules });
    await must(['create', 'rolebinding', 'developer', '--role=developer', '--user=reader']);
    await waitUntil('the right', async () => (await asDeveloper(['get', 'pods'])).code === 0);
  });

  const protocols = [
    ['WebSocket', {}],
    ['SPDY', { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'false', KUBECTL_PORT_FORWARD_WEBSOCKETS: 'false' }],
  ] as const;
  for (const [protocol, env] of protocols) {
    it(`runs kubectl exec over ${protocol}, with separate streams and its exit code`, async () => {
      const script = 'cat; echo to-stderr >&2; exit 7';
      const result = await asDeveloper(['exec', '-i', 'web', '--', 'sh', '-c', script], { input: 'to-stdin', env });
      expect(result.stdout).to.equal('to-stdin');
      expect(result.stderr).to.match(/^to-stderr\n/);
      expect(result.code).to.equal(7);
    });

    it(`runs kubectl attach over ${protocol}`, async () => {
      const { stdout, code, stderr } = await asDeveloper(['attach', '-i', 'web'], { input: 'hello\n', env });
      expect(code, stderr).to.equal(0);
      expect(stdout).to.equal('attached to web\nHELLO\n');
    });

    it(`runs kubectl cp over ${protocol}, both ways, without losing a byte`, async () => {
      const [there, back] = [join(folder, `there-${protocol}`), join(folder, `back-${protocol}`)];
      const source = join(folder, `source-${protocol}`);
      writeFileSync(source, Buffer.from(Array.from({ length: 3_000_000 }, (_, at) => (at * 7) % 251)));
      for (const [from, to] of [
        [source, `web:${there}`],
        [`web:${there}`, back],
      ] as const) {
        const { code, stderr } = await asDeveloper(['cp', from, to], { env });
        expect(code, stderr).to.equal(0);
      }
      expect(readFileSync(back).equals(readFileSync(source))).to.equal(true);
    });

    it(`keeps a half-closed connection half-closed in kubectl port-forward over ${protocol}`, async () => {
      const server = await startAnswerAtEnd();
      const name = `port-forward-${protocol}`;
      const args = ['--kubeconfig', developer, 'port-forward', 'pod/web', `:${(server.address() as AddressInfo).port}`];
      const forwarding = mixed.plane.spawn('kubectl', args, { name, env });
      try {
        const port = await waitUntil(
          'the forwarded port',
          async () => /127\.0\.0\.1:(\d+) ->/.exec(mixed.plane.readLog(name))?.[1],
        );
        const answers = await Promise.all(['one', 'two', 'three'].map((text) => askAndClose(Number(port), text)));
        expect(answers).to.deep.equal(['[one]', '[two]', '[three]']);
      } finally {
        await end(forwarding);
        server.close();
      }
    });
  }

  it('shows and follows logs', async () => {
    expect((await asDeveloper(['logs', 'web'])).stdout).to.equal('line 1 of web\nline 2 of web\nline 3 of web\n');
    const args = ['--kubeconfig', developer, 'logs', '--follow', 'web'];
    const following = mixed.plane.spawn('kubectl', args, { name: 'logs-follow' });
    await waitUntil('lines as they come', async () => mixed.plane.readLog('logs-follow').includes('line 10 of web\n'));
    await end(following);
  });

  it('applies, watches, patches and deletes an object that the home server does not know', async () => {
    const watch = ['--kubeconfig', mixed.proxyKubeconfig, 'get', 'deviceclasses', '--watch', '--output-watch-events'];
    const watching = mixed.plane.spawn('kubectl', watch, { name: 'watch' });
    const object = {
      apiVersion: 'resource.k8s.io/v1',
      kind: 'DeviceClass',
      metadata: { name: 'gpu.example.com' },
      spec: {},
    };
    const run = async (args: readonly string[], input?: object) => {
      const { code, stdout, stderr } = await mixed.kubectl('proxy', args, input && JSON.stringify(input));
      expect(code, `kubectl ${args.join(' ')}: ${stderr}`).to.equal(0);
      return stdout;
    };
    expect(await run(['apply', '--server-side', '-f', '-'], object)).to.contain('serverside-applied');
    await waitUntil('ADDED', async () => /ADDED\s+gpu/.test(mixed.plane.readLog('watch')));
    await run(['apply', '--server-side', '-f', '-'], {
      ...object,
      metadata: { ...object.metadata, labels: { a: 'b' } },
    });
    await run(['patch', 'deviceclass', 'gpu.example.com', '--type=merge', '-p', '{"metadata":{"labels":{"c":"d"}}}']);
    const labels = await run(['get', 'deviceclass', 'gpu.example.com', '-o', 'jsonpath={.metadata.labels}']);
    expect(JSON.parse(labels)).to.deep.equal({ a: 'b', c: 'd' });
    await run(['delete', 'deviceclass', 'gpu.example.com']);
    await waitUntil('DELETED', async () => /DELETED\s+gpu/.test(mixed.plane.readLog('watch')));
    await end(watching);
  });

  it("watches a resource that the home server does not know over a WebSocket, with the client's identity", async () => {
    const url = `${mixed.proxyUrl.replace('https', 'wss')}/apis/resource.k8s.io/v1/deviceclasses?watch=1`;
    const dispatcher = new Agent({ allowH2: false, connect: { ca: readFileSync(mixed.plane.caFile, 'utf8') } });
    const open = (token: string) =>
      new WebSocket(url, { dispatcher, headers: { Authorization: `Bearer ${token}`, Origin: mixed.proxyUrl } });
    const socket = open(mixed.plane.tokens.admin);
    const messages: string[] = [];
    socket.addEventListener('message', ({ data }) => messages.push(String(data)));
    await once(socket, 'open');
    const object = {
      apiVersion: 'resource.k8s.io/v1',
      kind: 'DeviceClass',
      metadata: { name: 'seen.example.com' },
      spec: {},
    };
    const { code, stderr } = await mixed.kubectl('proxy', ['create', '-f', '-'], JSON.stringify(object));
    expect(code, stderr).to.equal(0);
    await waitUntil('the event', async () => messages.some((text) => text.includes('"seen.example.com"')));
    socket.close();
    const refused = open(mixed.plane.tokens.reader);
    expect(
      await Promise.race([once(refused, 'error').then(() => 'refused'), once(refused, 'open').then(() => 'open')]),
    ).to.equal('refused');
    await dispatcher.close();
  });

  describe('compared with the same requests to the home server itself', () => {
    let direct: WireClient;
    let proxied: WireClient;
    let exactList: string;

    before(async () => {
      const ca = readFileSync(mixed.plane.caFile, 'utf8');
      const token = mixed.plane.tokens.admin;
      direct = createWireClient({ url: mixed.plane.server('old-1').url, ca, token });
      proxied = createWireClient({ url: mixed.proxyUrl, ca, token });
      await must(['create', 'namespace', 'same']);
      const data = { text: 'x'.repeat(20_000) };
      const items = Array.from({ length: 12 }, (_, at) => {
        const metadata = { name: `big-${at}`, namespace: 'same' };
        return { apiVersion: 'v1', kind: 'ConfigMap', metadata, data };
      });
      await must(['create', '-f', '-'], { apiVersion: 'v1', kind: 'List', items });
      const list = JSON.parse(await must(['get', '--raw', '/api/v1/namespaces/same/configmaps']));
      exactList = `/api/v1/namespaces/same/configmaps?resourceVersionMatch=Exact&resourceVersion=${list.metadata.resourceVersion}`;
    });
    after(() => {
      direct?.close();
      proxied?.close();
    });

    const protobuf = 'application/vnd.kubernetes.protobuf';
    const object = (name: string, extra = {}) =>
      JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'same' }, ...extra });
    const json = ['Content-Type', 'application/json'];
    const one = '/api/v1/namespaces/same/configmaps/big-0';
    const requests: Readonly<Record<string, () => WireRequest>> = {
      'a list as JSON': () => ({ path: exactList }),
      'a list that is compressed': () => ({ path: exactList, headers: ['Accept-Encoding', 'gzip'] }),
      'a list as protobuf': () => ({ path: exactList, headers: ['Accept', protobuf] }),
      'a table as YAML': () => ({
        path: one,
        headers: ['Accept', 'application/yaml;as=Table;v=v1;g=meta.k8s.io, application/yaml'],
      }),
      'an object, pretty': () => ({ path: `${one}?pretty=true` }),
      HEAD: () => ({ method: 'HEAD', path: one }),
      'an object that is missing': () => ({ path: '/api/v1/namespaces/same/configmaps/none' }),
      'an object that is missing, as protobuf': () => ({
        path: '/api/v1/namespaces/same/configmaps/none',
        headers: ['Accept', protobuf],
      }),
      'a conflict': () => ({
        method: 'POST',
        path: '/api/v1/namespaces/same/configmaps',
        headers: json,
        body: object('big-0'),
      }),
      'an invalid object': () => ({
        method: 'POST',
        path: '/api/v1/namespaces/same/configmaps?dryRun=All',
        headers: json,
        body: object('No_Name'),
      }),
      'an unknown media type': () => ({
        method: 'POST',
        path: '/api/v1/namespaces/same/configmaps?dryRun=All',
        headers: ['Content-Type', 'text/html'],
        body: '<p>',
      }),
      'a media type that cannot be had': () => ({ path: one, headers: ['Accept', 'text/html'] }),
      'several warnings': () => ({
        method: 'PUT',
        path: `${one}?dryRun=All&fieldValidation=Warn`,
        headers: json,
        body: object('big-0', { nothing: 1, neither: 2 }),
      }),
      'a method that is not served': () => ({
        method: 'PUT',
        path: '/api/v1/namespaces/same/configmaps',
        headers: json,
        body: '{}',
      }),
      'an expired continuation': () => ({ path: '/api/v1/namespaces/same/configmaps?limit=1&continue=bad' }),
      'the version': () => ({ path: '/version' }),
      'a path that nobody serves': () => ({ path: '/nothing/here' }),
      'readiness, in words': () => ({ path: '/readyz/ping' }),
    };
    /** Fields that belong to one connection, or contain the time. */
    const ownOfEachHop = new Set(['date', 'connection', 'keep-alive', 'transfer-encoding']);
    const comparable = ({ status, rawHeaders, rawTrailers, body }: WireAnswer) => ({
      status,
      headers: rawHeaders.flatMap((name, at) =>
        at % 2 === 0 && !ownOfEachHop.has(name.toLowerCase()) ? [`${name}: ${rawHeaders[at + 1]}`] : [],
      ),
      rawTrailers,
      body: body.toString('latin1'),
    });

    for (const [what, make] of Object.entries(requests))
      for (const version of ['http1', 'http2'] as const)
        it(`gives ${what} byte for byte over ${version === 'http1' ? 'HTTP/1.1' : 'HTTP/2'}`, async () => {
          const request = make();
          const headers = ['User-Agent', 'e2e', 'Audit-Id', 'the-same', ...(request.headers ?? [])];
          const [ours, theirs] = await Promise.all(
            [proxied, direct].map((client) => client[version]({ ...request, headers })),
          );
          const sorted = ({ headers: fields, ...rest }: ReturnType<typeof comparable>) => ({
            ...rest,
            headers: fields.sort(),
          });
          expect(sorted(comparable(ours as WireAnswer))).to.deep.equal(sorted(comparable(theirs as WireAnswer)));
        });
  });
});

/** A TCP server that sends nothing until the client has closed its side. */
async function startAnswerAtEnd(): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    let received = '';
    socket.on('data', (chunk) => (received += String(chunk)));
    socket.once('end', () => socket.end(`[${received}]`));
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

async function askAndClose(port: number, question: string): Promise<string> {
  const socket: Socket = tcpConnect({ host: '127.0.0.1', port, allowHalfOpen: true });
  let answer = '';
  socket.on('data', (chunk) => (answer += String(chunk)));
  socket.end(question);
  await once(socket, 'end');
  socket.destroy();
  return answer;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
}
