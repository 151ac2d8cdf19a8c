import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureControlPlane } from '../../lab/build/build-control-plane.ts';
import { inlined, issue, type KeyPair, makeAuthority } from '../../lab/plane/certificates.ts';
import { type MixedPlane, proxyAddresses, startMixedPlane } from '../../lab/plane/mixed-plane.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import type { PeerDiscovery } from '../../src/api/peer-discovery.ts';
import { createWireClient, type WireClient } from '../support/wire-client.ts';

/** The longest time that clients may wait until they can write again. */
const bound = { boundMs: 120_000, everyMs: 100 };

describe('a control plane without a server left, whose operator knows only the proxy', function () {
  this.timeout(300_000);
  let mixed: MixedPlane;
  let proxy: WireClient;
  let authority: KeyPair;
  const folder = mkdtempSync(join(tmpdir(), 'proxy-authority-'));

  before(async () => {
    const log = (message: string) => void process.stdout.write(`      … ${message}\n`);
    await ensureControlPlane({ versions: ['1.36', '1.35'], log });
    mixed = await startMixedPlane({
      servers: [
        { name: 'old', version: '1.35' },
        { name: 'new', version: '1.36' },
      ],
      home: 'old',
      log,
    });
    const spec = { tls: { caBundle: inlined(mixed.plane.caFile) } };
    await mixed.kubectl('old', ['patch', 'pd', 'cluster', '--type=merge', '-p', JSON.stringify({ spec })]);
    authority = makeAuthority(folder, 'proxy-ca');
    const names = ['DNS:localhost', ...proxyAddresses.map((ip) => `IP:${ip}`)];
    const { cert, key } = issue(folder, 'proxy', authority, '/CN=proxy', names);
    const ca = readFileSync(authority.cert, 'utf8');
    proxy = createWireClient({ url: mixed.proxyUrl, ca, token: mixed.plane.tokens.admin });
    mixed.startProxy(['--tls-cert-file', cert, '--tls-private-key-file', key]);
    mixed.startOperator(['--kubeconfig', onlyThroughProxy()]);
    await bothReady();
    await recovers('the start');
  });
  after(async () => {
    proxy?.close();
    await mixed?.stop();
    rmSync(folder, { recursive: true });
  });
  afterEach(function () {
    if (this.currentTest?.state === 'failed') process.stdout.write(`${mixed?.plane.logTails(25)}\n`);
  });

  /** A kubeconfig whose server is the proxy, and whose authority signed no kube-apiserver's certificate. */
  function onlyThroughProxy(): string {
    const { plane, proxyUrl } = mixed;
    const file = plane.kubeconfig({ server: proxyUrl, token: plane.tokens.operator, name: 'operator-proxy' });
    const text = readFileSync(file, 'utf8').replace(inlined(plane.caFile), inlined(authority.cert));
    writeFileSync(file, text);
    return file;
  }

  async function statusAt(name: string): Promise<PeerDiscovery['status']> {
    const { stdout } = await mixed.kubectl(name, ['get', 'peerdiscovery', 'cluster', '-o', 'json']);
    return stdout === '' ? undefined : (JSON.parse(stdout) as PeerDiscovery).status;
  }

  const bothReady = () =>
    waitUntil('two ready servers', async () => (await statusAt('new'))?.peerCounts?.ready === 2, bound);

  /** Resolves when the status, read from one server, says that the other is away. */
  const missed = (name: string, at: string) =>
    waitUntil(
      `${name} to be missed`,
      async () => (await statusAt(at))?.peers?.some(({ hostname, state }) => hostname === name && state !== 'Ready'),
      bound,
    );

  /** True if the proxy accepts a write of a kind whose fields both versions know. */
  async function takesWrites(): Promise<boolean> {
    const body = JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'x' } });
    const headers = ['Content-Type', 'application/apply-patch+yaml'];
    const path = '/api/v1/namespaces/default/configmaps/x?fieldManager=m&force=true';
    const status = await proxy.http1({ method: 'PATCH', path, headers, body }).then(
      (answer) => answer.status,
      () => 0,
    );
    return status === 200 || status === 201;
  }

  async function recovers(what: string): Promise<void> {
    const from = Date.now();
    await waitUntil(`writes to be taken ${what}`, takesWrites, bound);
    process.stdout.write(
      `      … writes are taken again ${((Date.now() - from) / 1_000).toFixed(1)} s after ${what}\n`,
    );
  }

  it('accepts writes again when all servers have come back at once', async () => {
    const servers = ['old', 'new'].map((name) => mixed.plane.server(name));
    await Promise.all(servers.map((server) => server.kill()));
    await waitUntil('writes to be refused', async () => !(await takesWrites()), bound);
    await Promise.all(servers.map((server) => server.start()));
    await recovers('all are back');
    await bothReady();
  });

  it('accepts writes at a server that was away and came back after the others had gone', async () => {
    await mixed.plane.server('new').kill();
    await missed('new', 'old');
    await mixed.plane.server('old').kill();
    await mixed.plane.server('new').start();
    await recovers('new is back, without old');
  });
});
