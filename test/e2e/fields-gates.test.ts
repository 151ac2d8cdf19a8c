import { join } from 'node:path';
import { expect } from 'chai';
import { ensureControlPlane } from '../../lab/build/build-control-plane.ts';
import { type MixedPlane, startMixedPlane } from '../../lab/plane/mixed-plane.ts';
import { repository } from '../../lab/repository.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import { type FieldsPlane, startFieldsPlane } from '../support/fields-plane.ts';
import type { WireAnswer, WireClient } from '../support/wire-client.ts';

interface Pod {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly hostnameOverride?: string };
}

const pods = '/api/v1/namespaces/default/pods';
/** For a proxy that does not listen yet. */
const none: WireAnswer = { status: 503, rawHeaders: [], rawTrailers: [], body: Buffer.alloc(0) };
const json = ['Content-Type', 'application/json'];
const merge = ['Content-Type', 'application/merge-patch+json'];
/** A Pod with a field whose gate is off in 1.33. That version knows its type all the same. */
const pod = (name: string) =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: { hostnameOverride: 'elsewhere', containers: [{ name: 'c', image: 'registry.k8s.io/pause' }] },
  });

describe('fields whose gate is off in the version that a server emulates', function () {
  this.timeout(600_000);
  let plane: FieldsPlane;
  let mixed: MixedPlane;
  let proxy: WireClient;
  let old: WireClient;

  before(async () => {
    plane = await startFieldsPlane({
      servers: [
        {
          name: 'old-1',
          version: '1.36',
          emulatedVersion: '1.33',
          flags: ['--disable-admission-plugins=ServiceAccount'],
        },
        { name: 'new-1', version: '1.36', flags: ['--disable-admission-plugins=ServiceAccount'] },
      ],
      home: 'old-1',
    });
    ({ mixed, proxy } = plane);
    old = plane.clientOf('old-1');
    await waitUntil(
      'all schemas to be compared',
      async () => (await plane.differencesOf('pods', 'old-1'))?.basis === 'Schemas',
      { boundMs: 60_000 },
    );
    await waitUntil(
      'the proxy to route writes',
      async () => overrideOf(await create(proxy, 'probe', '?dryRun=All').catch(() => none)) !== undefined,
      {
        boundMs: 60_000,
        seen: () => mixed.plane.logTails(10),
      },
    );
  });
  after(() => plane?.stop());

  const create = (client: WireClient, name: string, query = '') =>
    client.http1({ method: 'POST', path: `${pods}${query}`, headers: json, body: pod(name) });
  function overrideOf({ status, body }: WireAnswer): string | undefined {
    return status < 300 ? (JSON.parse(body.toString()) as Pod).spec.hostnameOverride : undefined;
  }
  const warningOf = ({ rawHeaders }: WireAnswer) =>
    rawHeaders.find((_, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === 'warning');

  it('are dropped at this server, and kept through the proxy', async () => {
    const direct = await create(old, 'direct');
    expect([direct.status, overrideOf(direct)]).to.deep.equal([201, undefined]);
    const through = await create(proxy, 'through');
    expect([through.status, overrideOf(through), warningOf(through)]).to.deep.equal([201, 'elsewhere', undefined]);
  });

  it('are dropped with a warning, and kept in stored objects, while no other server is there', async () => {
    await mixed.plane.server('new-1').kill();
    const dropped = await waitUntil('a server to stand in', async () => {
      const answer = await create(proxy, `p-${Math.random().toString(36).slice(2)}`);
      return answer.status === 201 && answer;
    });
    expect(overrideOf(dropped)).to.equal(undefined);
    expect(warningOf(dropped)).to.match(/^299 - ".*pods of v1/);
    const patch = JSON.stringify({ metadata: { labels: { changed: 'here' } } });
    const changed = await proxy.http1({ method: 'PATCH', path: `${pods}/through`, headers: merge, body: patch });
    expect([changed.status, overrideOf(changed)]).to.deep.equal([200, 'elsewhere']);
    const lease = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name: 'node-1' }, spec: {} };
    const beat = await proxy.http1({
      method: 'POST',
      path: '/apis/coordination.k8s.io/v1/namespaces/default/leases',
      headers: json,
      body: JSON.stringify(lease),
    });
    expect(beat.status).to.equal(201);
  });
});

describe('feature gates that differ between servers of one version', function () {
  this.timeout(600_000);
  let mixed: MixedPlane;

  before(async () => {
    const log = (message: string) => void process.stdout.write(`      … ${message}\n`);
    await ensureControlPlane({ versions: ['1.36'], log });
    mixed = await startMixedPlane({
      servers: [
        { name: 'with', version: '1.36' },
        { name: 'without', version: '1.36', flags: ['--feature-gates=HostnameOverride=false'] },
      ],
      home: 'with',
      log,
    });
    mixed.startOperator();
    await waitUntil('the operator to be ready', async () => (await mixed.plugin('with', ['status'])).code === 0, {
      boundMs: 60_000,
      seen: () => mixed.plane.logTails(10),
    });
  });
  after(() => mixed?.stop());

  it('are reported by doctor, with the servers', async () => {
    const { code, stdout } = await mixed.plugin('with', ['doctor']);
    expect(stdout).to.match(
      /^feature gates +warn +1 differ .*: HostnameOverride is on at with and off at without \(v1\.36\.\d+\)$/m,
    );
    expect(code, stdout).to.equal(0);
  });

  it('are skipped for a user who may not read metrics, and read by one with system:monitoring', async () => {
    const { plane } = mixed;
    const kubeconfig = plane.kubeconfig({
      server: plane.server('with').url,
      token: plane.tokens.reader,
      name: 'reader',
    });
    const bind = (name: string, role: string) =>
      mixed.kubectl('with', ['create', 'clusterrolebinding', name, `--clusterrole=${role}`, '--user=reader']);
    await bind('sees-peers', 'cluster-viewer');
    const rule = ['--verb=get', '--resource=peerdiscoveries.peerdiscovery.dev'];
    await mixed.kubectl('with', ['create', 'clusterrole', 'cluster-viewer', ...rule]);
    const program = join(repository, 'src', 'bin', 'kubectl-peerdiscovery.ts');
    const asReader = async () =>
      (await plane.exec(process.execPath, [program, 'doctor', '--kubeconfig', kubeconfig])).stdout;
    const forbidden = await waitUntil('the role to count', async () => {
      const stdout = await asReader();
      return stdout.includes('feature gates') && stdout;
    });
    expect(forbidden).to.match(/^feature gates +skip +with(?:out)?: https:.*"reader" cannot get path "\/metrics"/m);
    expect(forbidden).not.to.match(/^feature gates +(?:ok|warn)/m);
    await bind('sees-metrics', 'system:monitoring');
    await waitUntil('the right to count', async () => /^feature gates +warn +1 differ/m.test(await asReader()));
  });
});
