import { expect } from 'chai';
import { type ApiClient, createApiClient } from '../../../src/adapters/kubernetes/api-client.ts';
import { ApiError } from '../../../src/adapters/kubernetes/api-error.ts';
import { silentLog } from '../../../src/runtime/log.ts';
import { eventually } from '../../support/manual-clock.ts';
import {
  answer,
  answerStatus,
  answerUnknownPath,
  type ScriptedApiserver,
  startScriptedApiserver,
} from '../../support/scripted-apiserver.ts';
import { createTestAuthority } from '../../support/test-certificates.ts';

const configMapsPath = '/api/v1/namespaces/ns/configmaps';

describe('createApiClient', () => {
  let server: ScriptedApiserver;
  let client: ApiClient;

  beforeEach(async () => {
    server = await startScriptedApiserver();
    client = createApiClient(server.kubeConfig(), { timeoutMs: 300, log: silentLog, maxBodyBytes: 10_000 });
  });

  afterEach(async () => {
    await client.close();
    await server.close();
  });

  async function fails(work: Promise<unknown>): Promise<ApiError> {
    const error = await work.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (!(error instanceof ApiError)) throw new Error(`not an ApiError: ${error}`);
    return error;
  }

  it('keeps connections for the next calls', async () => {
    for (let i = 0; i < 20; i += 1) await client.get(`${configMapsPath}/x${i}`);
    expect(new Set(server.requests.map(({ remotePort }) => remotePort)).size).to.be.at.most(2);
  });

  it('sends simultaneous calls through one dispatcher, even during a rotation', async () => {
    const kubeConfig = server.kubeConfig();
    const lines: string[] = [];
    const rotating = createApiClient(kubeConfig, {
      timeoutMs: 300,
      log: { ...silentLog, info: (message) => lines.push(message) },
    });
    const together = () => Promise.all(['a', 'b', 'c', 'd'].map((name) => rotating.get(`${configMapsPath}/${name}`)));
    await together();
    expect(lines).to.have.length(0);
    const running = together();
    kubeConfig.clusters = kubeConfig.clusters.map((cluster) => ({ ...cluster, caData: 'bmV3' }));
    await Promise.all([running, together()]);
    await together();
    expect(lines).to.have.length(1);
    await rotating.close();
  });

  it('reconnects when the CA changes', async () => {
    const kubeConfig = server.kubeConfig();
    const rotating = createApiClient(kubeConfig, { timeoutMs: 300, log: silentLog });
    await rotating.get(`${configMapsPath}/x`);
    await rotating.get(`${configMapsPath}/x`);
    kubeConfig.clusters = kubeConfig.clusters.map((cluster) => ({ ...cluster, caData: 'bmV3' }));
    await rotating.get(`${configMapsPath}/x`);
    expect(rotating.caPem()).to.equal('new');
    await rotating.close();
    const [first, second, third] = server.requests.map(({ remotePort }) => remotePort);
    expect([first, second]).not.to.include(third);
  });

  it('distinguishes a missing object from a resource that the server does not serve', async () => {
    expect(await client.get(`${configMapsPath}/absent`)).to.equal(undefined);
    server.scripts.push((_request, response) => answerUnknownPath(response));
    const error = await fails(client.get('/apis/nope/v1/things/a'));
    expect([error.code, error.missing]).to.deep.equal([404, 'Resource']);
  });

  it('joins the pages of a list', async () => {
    for (const name of ['a', 'b', 'c', 'd', 'e']) server.put(`${configMapsPath}/${name}`, {});
    const list = await client.list<{ metadata: { name: string } }>(configMapsPath, { pageSize: 2 });
    expect(list.items.map(({ metadata }) => metadata.name)).to.deep.equal(['a', 'b', 'c', 'd', 'e']);
    expect(list.resourceVersion).to.equal('105');
    expect(server.requests).to.have.length(3);
  });

  it('sends a server-side apply with its media type, manager and subresource', async () => {
    await client.apply(`${configMapsPath}/a`, { data: {} }, { fieldManager: 'me', force: true, subresource: 'status' });
    const [seen] = server.requests;
    expect(seen?.method).to.equal('PATCH');
    expect(seen?.path).to.equal(`${configMapsPath}/a/status`);
    expect(seen?.query.toString()).to.equal('fieldManager=me&force=true');
    expect(seen?.headers['content-type']).to.equal('application/apply-patch+yaml');
  });

  it('ignores a 404 when it deletes', async () => {
    server.put(`${configMapsPath}/a`, {});
    expect(await client.delete(`${configMapsPath}/a`)).to.equal(true);
    expect(await client.delete(`${configMapsPath}/a`)).to.equal(false);
  });

  it('returns reason, code and Retry-After of a refusal', async () => {
    server.scripts.push((_request, response) =>
      answerStatus(response, 429, 'TooManyRequests', { details: { retryAfterSeconds: 3 } }),
    );
    const error = await fails(client.get(`${configMapsPath}/a`));
    expect([error.code, error.reason, error.retryAfterMs]).to.deep.equal([429, 'TooManyRequests', 3000]);
  });

  it('fails if an answer is too long, is not JSON, or does not arrive', async () => {
    let body = JSON.stringify('x'.repeat(20_000));
    server.scripts.push((_request, response) => {
      if (body !== '') response.end(body);
      return true;
    });
    expect((await fails(client.get('/a'))).reason).to.equal('BodyTooLarge');
    body = '{';
    expect((await fails(client.get('/a'))).reason).to.equal('Malformed');
    body = '';
    expect((await fails(client.get('/a'))).reason).to.equal('Timeout');
  });

  it("rejects with the caller's reason when it is aborted", async () => {
    const stop = new AbortController();
    server.scripts.push(() => true);
    const pending = client.get('/a', { signal: stop.signal }).catch((error: unknown) => error);
    const reason = new Error('enough');
    stop.abort(reason);
    expect(await pending).to.equal(reason);
  });

  it('reports a connection failure if no server listens', async () => {
    const other = await startScriptedApiserver();
    const kubeConfig = other.kubeConfig();
    await other.close();
    const lonely = createApiClient(kubeConfig, { timeoutMs: 300, log: silentLog });
    const error = await fails(lonely.get('/a'));
    expect([error.code, error.reason]).to.deep.equal([0, 'ConnectionFailed']);
    await lonely.close();
  });

  it('never sends a credential to a server whose certificate is not verified', async () => {
    const kubeConfig = server.kubeConfig({ token: 'secret' });
    const careful = createApiClient(kubeConfig, { timeoutMs: 300, log: silentLog });
    const error = await fails(careful.get('/a'));
    expect(error.message).to.contain('certificate-authority');
    expect(server.requests).to.have.length(0);
    expect(await careful.credentials()).to.deep.equal({ token: 'secret' });
    await careful.close();
  });

  it('returns a stream as it arrives, and leaves no listener behind', async () => {
    server.scripts.push((_request, response) => {
      response.write('one');
      setImmediate(() => response.end('two'));
      return true;
    });
    let text = '';
    for await (const chunk of await client.requestStream('/stream')) text += Buffer.from(chunk).toString();
    expect(text).to.equal('onetwo');
  });

  it('refuses an answer that is not a list if it asked for a list', async () => {
    server.scripts.push((_request, response) => answer(response, 200, { items: 5 }));
    expect((await fails(client.list('/a'))).reason).to.equal('Malformed');
  });
});

describe('createApiClient with several servers', () => {
  const authority = createTestAuthority('cluster CA');
  const names = { commonName: 'kube-apiserver', dnsNames: ['kubernetes.default.svc', 'localhost'] };
  let first: ScriptedApiserver;
  let second: ScriptedApiserver;
  let stranger: ScriptedApiserver;
  let client: ApiClient;
  const addressOf = ({ url }: ScriptedApiserver) => new URL(url).host;
  const readyz = (server: ScriptedApiserver) =>
    server.scripts.push(({ path }, response) => {
      if (path !== '/readyz') return false;
      response.end('ok');
      return true;
    });
  const learn = (servers: readonly ScriptedApiserver[], serverName = 'kubernetes.default.svc') =>
    client.learnServers(servers.map((server) => ({ address: addressOf(server), serverName })));
  const work = (server: ScriptedApiserver) => server.requests.filter(({ path }) => path !== '/readyz');

  beforeEach(async () => {
    const serve = (ca: typeof authority, request: typeof names) =>
      startScriptedApiserver({ ...ca.issue(request), caPem: authority.caPem });
    first = await serve(authority, names);
    second = await serve(authority, names);
    stranger = await serve(createTestAuthority('another CA'), names);
    const kubeConfig = first.kubeConfig({ token: 'secret' });
    kubeConfig.clusters = kubeConfig.clusters.map((cluster) => ({ ...cluster, tlsServerName: 'localhost' }));
    client = createApiClient(kubeConfig, { timeoutMs: 5_000, log: silentLog });
    readyz(second);
    readyz(stranger);
  });

  afterEach(async () => {
    await client.close();
    await Promise.all([first, second, stranger].map((server) => server.close()));
  });

  it('fails open requests to a silent server, and sends later ones to another, with the credential', async () => {
    first.scripts.push(() => true);
    learn([first, second]);
    const error = await client.get(`${configMapsPath}/a`).catch((reason: unknown) => reason);
    expect(error).to.include({ code: 0, reason: 'ConnectionFailed' });
    expect(await client.get(`${configMapsPath}/a`)).to.equal(undefined);
    expect(work(second).map(({ headers }) => headers.authorization)).to.deep.equal(['Bearer secret']);
  });

  it('ends the watch of a silent server, so that it resumes at another', async () => {
    let hangs = false;
    first.scripts.push(({ path }, response) => {
      if (path === '/readyz' && !hangs) response.end('ok');
      return path === '/readyz' || hangs;
    });
    learn([first, second]);
    const stream = await client.requestStream(configMapsPath, { query: { watch: true } });
    hangs = true;
    let error: unknown;
    try {
      for await (const _ of stream);
    } catch (reason) {
      error = reason;
    }
    expect(error).to.include({ code: 0, reason: 'ConnectionFailed' });
    (await client.requestStream(configMapsPath, { query: { watch: true } }))[Symbol.asyncIterator]();
    expect(work(second).map(({ path }) => path)).to.deep.equal([configMapsPath]);
  });

  it('sends nothing to a server whose certificate is from another CA or for another name', async () => {
    first.scripts.push(() => true);
    learn([first, stranger]);
    const short = AbortSignal.timeout(2_500);
    await client.get(`${configMapsPath}/a`, { signal: short }).catch(() => {});
    learn([first, second], 'another.name');
    await client.get(`${configMapsPath}/a`, { signal: AbortSignal.timeout(2_500) }).catch(() => {});
    expect([stranger.requests, second.requests]).to.deep.equal([[], []]);
  });

  it('reads from one given server with the credential, and from none whose certificate does not verify', async () => {
    second.scripts.push(({ path }, response) => {
      response.end(`${path} of the second`);
      return true;
    });
    const at = (server: ScriptedApiserver, serverName = 'kubernetes.default.svc') => ({
      address: addressOf(server),
      serverName,
    });
    expect((await client.readFrom(at(second), '/metrics')).body.toString()).to.equal('/metrics of the second');
    expect(second.requests.map(({ headers }) => headers.authorization)).to.deep.equal(['Bearer secret']);
    for (const [server, name] of [
      [stranger, undefined],
      [second, 'another.name'],
    ] as const) {
      const error = await client.readFrom(at(server, name), '/metrics').catch((reason: unknown) => reason);
      expect(error).to.include({ code: 0, reason: 'ConnectionFailed' });
      expect(String(error)).to.contain(`https://${addressOf(server)}/metrics`);
    }
    expect([stranger.requests.length, second.requests.length]).to.deep.equal([0, 1]);
  });

  it("uses the addresses of the servers if the kubeconfig's address is not among them", async () => {
    learn([second]);
    await eventually(() => second.requests.length > 0);
    await client.get(`${configMapsPath}/a`);
    await client.get(`${configMapsPath}/a`);
    expect(work(second)).not.to.have.length(0);
  });
});
