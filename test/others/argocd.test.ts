import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { expect } from 'chai';
import { argoCommitVerifier, argoDefinitions, argoSettings, ensureModuleFiles } from '../../lab/others/module-files.ts';
import { ensureArgoCd } from '../../lab/others/programs.ts';
import { type DeployPlane, startDeployPlane } from '../../lab/plane/deploy-plane.ts';
import { waitForDefinitions } from '../../lab/plane/wait-for-definitions.ts';
import { repository } from '../../lab/repository.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import { type GitOps, startGitOps } from '../support/gitops.ts';

const system = 'peerdiscovery-system';
const argocd = 'argocd';
const redis = '127.0.0.1:9680';
const repoServer = '127.0.0.1:9681';
const trackingId = 'argocd.argoproj.io/tracking-id';
const healthScript = join(repository, 'examples/gitops/argocd-health.lua');
const programs = ['argocd-repo-server', 'argocd-application-controller'] as const;

interface Health {
  readonly status: string;
  readonly message?: string;
}

/** An object that Argo CD manages. */
interface Managed {
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
  readonly health?: Health;
}

/** The part of an Application that tests read. */
interface Application {
  readonly metadata: { readonly annotations?: Readonly<Record<string, string>> };
  readonly status?: {
    readonly sync?: { readonly status: string; readonly revision?: string };
    readonly health?: Health;
    readonly resources?: readonly Managed[];
    readonly conditions?: readonly { readonly message: string }[];
    readonly operationState?: { readonly phase: string; readonly message?: string; readonly startedAt: string };
  };
}

describe('Argo CD with its own application controller and repo server', function () {
  this.timeout(600_000);
  let lab: DeployPlane;
  let gitops: GitOps;
  let folder: string;

  before(async () => {
    const log = (message: string) => void process.stdout.write(`      … ${message}\n`);
    folder = await ensureArgoCd(log);
    lab = await startDeployPlane(log);
    gitops = await startGitOps(lab, '127.0.0.1');
    await lab.must(['apply', '--server-side', '-k', await ensureModuleFiles(argoDefinitions, log)]);
    await waitForDefinitions(lab.kubectl);
    await lab.must(['create', 'namespace', argocd]);
    await applySettings(log);
    await startArgoCd(log);
  });

  after(async () => {
    await gitops?.git.stop();
    await lab?.stop();
  });

  afterEach(async function () {
    if (this.currentTest?.state !== 'failed' || lab === undefined) return;
    const { stdout } = await lab.kubectl(['get', 'deployments,pods', '-A', '-o', 'wide']);
    const tail = (name: string) => lab.plane.readLog(name).split('\n').slice(-15).join('\n');
    process.stdout.write(`${stdout}\n${programs.map(tail).join('\n')}\n`);
  });

  /** Settings from Argo CD's own manifests, our health check, and what its API server would create at its start. */
  async function applySettings(log: (message: string) => void): Promise<void> {
    await lab.must(['apply', '-n', argocd, '-k', await ensureModuleFiles(argoSettings, log)]);
    const data = {
      'resource.customizations.health.peerdiscovery.dev_PeerDiscovery': readFileSync(healthScript, 'utf8'),
    };
    await lab.must(['patch', 'configmap', 'argocd-cm', '-n', argocd, '--type=merge', '-p', JSON.stringify({ data })]);
    const project = {
      apiVersion: 'argoproj.io/v1alpha1',
      kind: 'AppProject',
      metadata: { name: 'default', namespace: argocd },
      spec: {
        sourceRepos: ['*'],
        destinations: [{ namespace: '*', server: '*' }],
        clusterResourceWhitelist: [{ group: '*', kind: '*' }],
      },
    };
    await lab.must(['apply', '-f', '-'], JSON.stringify(project));
  }

  async function startArgoCd(log: (message: string) => void): Promise<void> {
    const access = { server: lab.plane.server('old-1').url, token: lab.plane.tokens.admin, name: 'argocd' };
    const temporary = join(lab.folder, 'argocd');
    mkdirSync(temporary);
    const verifier = await readFile(await ensureModuleFiles(argoCommitVerifier, log), 'utf8');
    await writeFile(join(temporary, basename(argoCommitVerifier.path)), verifier, { mode: 0o755 });
    const kubeconfig = lab.plane.kubeconfig(access);
    const env = {
      KUBECONFIG: kubeconfig,
      // https://kubernetes.default.svc is what the kubeconfig names.
      ARGOCD_FAKE_IN_CLUSTER: 'true',
      ARGOCD_GPG_ENABLED: 'false',
      ARGOCD_ASK_PASS_SOCK: join(temporary, 'ask-pass.sock'),
      HOME: temporary,
      TMPDIR: temporary,
      PATH: `${temporary}:${folder}:${process.env.PATH}`,
    };
    const start = (name: string, args: readonly string[]) =>
      lab.plane.spawn(join(folder, 'argocd'), [name, ...args], { name, env });
    const [host = '', port = ''] = repoServer.split(':');
    start('redis', [redis]);
    start('argocd-repo-server', [
      ...[`--address=${host}`, `--port=${port}`, '--disable-tls', '--client-ca-path=', `--redis=${redis}`],
      ...['--metrics-address=127.0.0.1', '--metrics-port=9682'],
    ]);
    start('argocd-application-controller', [
      ...[`--kubeconfig=${kubeconfig}`, `--namespace=${argocd}`, `--redis=${redis}`],
      ...[`--repo-server=${repoServer}`, '--repo-server-plaintext', '--metrics-port=9683'],
      '--persist-resource-health',
    ]);
  }

  const get = async (): Promise<Application> =>
    JSON.parse(await lab.must(['get', 'application', 'peerdiscovery', '-n', argocd, '-o', 'json']));

  /** Waits until Argo CD says so of the Application, and resolves to it. */
  function waitFor(what: string, isSo: (application: Application) => boolean): Promise<Application> {
    let last: Application | undefined;
    return waitUntil(
      `the Application to be ${what}`,
      async () => {
        last = await get();
        return isSo(last) ? last : undefined;
      },
      { boundMs: 200_000, everyMs: 1_000, seen: () => JSON.stringify(last?.status) },
    );
  }
  const isWell = ({ status }: Application) =>
    status?.sync?.status === 'Synced' &&
    status.health?.status === 'Healthy' &&
    status.operationState?.phase !== 'Running';

  /** What `argocd app get --hard-refresh` does: resolves once the controller has looked at everything anew. */
  async function refresh(): Promise<void> {
    const note = 'argocd.argoproj.io/refresh';
    await lab.must(['annotate', '--overwrite', 'application', 'peerdiscovery', '-n', argocd, `${note}=hard`]);
    await waitFor('refreshed', ({ metadata }) => metadata.annotations?.[note] === undefined);
  }

  /** Commits what the folder has, and has Argo CD see it. */
  async function roll(message: string): Promise<void> {
    const commit = gitops.git.commit(message);
    await refresh();
    await waitFor('at the commit', ({ status }) => status?.sync?.revision === commit);
  }

  const message = (condition: string) =>
    lab.must(['get', 'pd', 'cluster', '-o', `jsonpath={.status.conditions[?(@.type=="${condition}")].message}`]);

  /** Waits until Argo CD has this health for the PeerDiscovery, with the message of the operator's condition. */
  async function waitForOurHealth(status: string, condition: string): Promise<void> {
    await lab.must(['wait', `--for=condition=${condition}`, 'peerdiscovery/cluster', '--timeout=200s']);
    await refresh();
    const wanted = { status, message: await message(condition) };
    await waitFor(`told ${JSON.stringify(wanted)} of the PeerDiscovery`, (application) => {
      const { health } = application.status?.resources?.find(({ kind }) => kind === 'PeerDiscovery') ?? {};
      return health?.status === wanted.status && health.message === wanted.message;
    });
  }

  const generation = async (...object: readonly string[]): Promise<number> =>
    Number(await lab.must(['get', ...object, '-o', 'jsonpath={.metadata.generation}']));
  const serviceId = () =>
    lab.must(['get', 'service', 'peerdiscovery-proxy', '-n', system, '-o', 'jsonpath={.metadata.uid}']);

  it('installs the example, unchanged except for the address of the repository, to Synced and Healthy', async () => {
    await gitops.applyExample('argocd-application.yaml', /https:.*\/peerdiscovery\.git/);
    await waitFor('Synced and Healthy', isWell);
    await lab.must(['wait', '--for=condition=Ready', 'peerdiscovery/cluster', '--timeout=1s']);
    await waitForOurHealth('Healthy', 'Ready');
    const images = await lab.must(['get', 'deployments', '-n', system, '-o', 'jsonpath={..image}']);
    expect(images).to.equal('registry.example.com/peerdiscovery:0.1.0 registry.example.com/peerdiscovery:0.1.0');
  });

  it('shares no field with this project: no client writes an object, and no sync starts, during several looks', async () => {
    const { startedAt } = (await get()).status?.operationState ?? {};
    const isTracked: Parameters<GitOps['expectNoWrites']>[0] = ({ metadata }) =>
      metadata.annotations?.[trackingId]?.startsWith('peerdiscovery:') === true;
    await gitops.expectNoWrites(isTracked, refresh);
    const application = await get();
    expect(isWell(application), JSON.stringify(application.status)).to.equal(true);
    expect(application.status?.operationState?.startedAt).to.equal(startedAt);
  });

  it('notices drift without a new commit, and reverts it', async () => {
    const service = await serviceId();
    await gitops.drift();
    await waitUntil('the drift to be reverted', gitops.isPutBack, { boundMs: 200_000, everyMs: 500 });
    await waitFor('Synced and Healthy', isWell);
    expect(await serviceId()).not.to.equal(service);
    expect(await gitops.isPutBack()).to.equal(true);
  });

  it('rolls a change out, and is Healthy once it runs', async () => {
    gitops.edit('config/proxy/deployment.yaml', (text) => text.replace(/replicas: \d+/, 'replicas: 3'));
    await roll('Run three proxies');
    await waitFor('Synced and Healthy', isWell);
    expect(await gitops.proxies('.status.readyReplicas')).to.equal('3');
  });

  it("is Degraded with the operator's reason while a PeerDiscovery is Stalled, and Healthy once it is not", async () => {
    const wrong = '  addresses: { allowedCIDRs: ["fd00::/7"] }\n';
    gitops.edit('config/overlays/routing/peerdiscovery.yaml', (text) => text + wrong);
    await roll('Allow a range that is none');
    await waitForOurHealth('Degraded', 'Stalled');
    expect((await get()).status?.health?.status).to.equal('Degraded');
    gitops.edit('config/overlays/routing/peerdiscovery.yaml', (text) => text.replace(wrong, ''));
    await roll('Allow it no more');
    await waitFor('Synced and Healthy', isWell);
    await waitForOurHealth('Healthy', 'Ready');
  });

  it('writes each change once, because the operator writes nothing of what Argo CD manages but the status', async () => {
    // Created, changed by hand, reverted; then the changes that the tests committed.
    expect(await generation('pd', 'cluster')).to.equal(1 + 2 + 2);
    expect(await generation('deployment', 'peerdiscovery-proxy', '-n', system)).to.equal(1 + 2 + 1);
    expect(await generation('deployment', 'peerdiscovery-operator', '-n', system)).to.equal(1);
    const { resources = [] } = (await get()).status ?? {};
    const managed = new Set(resources.map(({ namespace = '', name }) => `${namespace}/${name}`));
    const kinds = resources.map(({ kind }) => kind.toLowerCase().replace(/y$/, ''));
    const writes = lab
      .audit()
      .filter(({ verb }) => ['create', 'update', 'patch', 'delete'].includes(verb))
      .flatMap(({ verb, objectRef: { resource = '', subresource, namespace = '', name = '' } = {} }) =>
        kinds.some((kind) => resource.startsWith(kind)) && managed.has(`${namespace}/${name}`)
          ? [[verb, resource, subresource].join(' ')]
          : [],
      );
    expect([...new Set(writes)]).to.deep.equal(['patch peerdiscoveries status']);
  });

  /** The health of objects by Argo CD's own code. */
  async function judge(script: string, objects: readonly unknown[]): Promise<readonly Health[]> {
    const input = objects.map((object) => JSON.stringify(object)).join('\n');
    const { code, stdout, stderr } = await lab.plane.exec(join(folder, 'argocd'), ['health', script], { input });
    expect(code, stderr).to.equal(0);
    return stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Health);
  }

  it("judges each status by our script in Argo CD's own code", async () => {
    const condition = (type: string, status: string) => ({ type, status, message: `${type} is ${status}` });
    const seen = (...conditions: readonly unknown[]) => ({ observedGeneration: 2, conditions });
    const cases = [
      [undefined, 'Progressing'],
      [{}, 'Progressing'],
      [{ observedGeneration: 2 }, 'Progressing'],
      [seen(), 'Progressing'],
      [{ observedGeneration: 1, conditions: [condition('Ready', 'True')] }, 'Progressing'],
      [{ observedGeneration: 1, conditions: [condition('Stalled', 'True')] }, 'Progressing'],
      [{ conditions: [condition('Ready', 'True')] }, 'Progressing'],
      [seen(condition('Ready', 'True')), 'Healthy'],
      [seen(condition('Ready', 'True'), condition('Stalled', 'False')), 'Healthy'],
      [seen(condition('Ready', 'True'), condition('Converged', 'False')), 'Healthy'],
      [seen(condition('Ready', 'False')), 'Degraded'],
      [seen(condition('Ready', 'False'), condition('Stalled', 'False')), 'Degraded'],
      [seen(condition('Ready', 'Unknown')), 'Progressing'],
      [seen(condition('Ready', 'True'), condition('Stalled', 'True')), 'Degraded'],
      [seen(condition('Ready', 'Unknown'), condition('Stalled', 'True')), 'Degraded'],
      [seen(condition('Converged', 'True')), 'Progressing'],
    ] as const;
    const healths = await judge(
      healthScript,
      cases.map(([status]) => ({
        apiVersion: 'peerdiscovery.dev/v1alpha1',
        kind: 'PeerDiscovery',
        metadata: { name: 'cluster', generation: 2 },
        ...(status === undefined ? {} : { status }),
      })),
    );
    expect(healths.map(({ status }) => status)).to.deep.equal(cases.map(([, expected]) => expected));
    for (const health of healths) expect(health.message).to.be.a('string').and.not.to.equal('');
  });

  it('says what Argo CD says of a PeerDiscovery that is being deleted, or whose check is broken', async () => {
    const object = JSON.parse(await lab.must(['get', 'pd', 'cluster', '-o', 'json']));
    const deleted = { ...object, metadata: { ...object.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } };
    const [live, going] = await judge(healthScript, [object, deleted]);
    expect(live).to.deep.equal({ status: 'Healthy', message: await message('Ready') });
    expect(going).to.deep.equal({ status: 'Progressing', message: 'Pending deletion' });
    const broken = join(lab.folder, 'broken.lua');
    writeFileSync(broken, readFileSync(healthScript, 'utf8').replace('"Healthy"', '"Fine"'));
    expect(await judge(broken, [object])).to.deep.equal([
      { status: 'Unknown', message: 'Lua returned an invalid health status' },
    ]);
  });

  it('removes everything but the CRD, which Argo CD never deletes, once the Application has the finalizer', async () => {
    const metadata = { finalizers: ['resources-finalizer.argocd.argoproj.io'] };
    const named = ['application', 'peerdiscovery', '-n', argocd];
    await lab.must(['patch', ...named, '--type=merge', '-p', JSON.stringify({ metadata })]);
    await lab.must(['delete', ...named, '--timeout=200s']);
    await waitUntil('the namespace to go', async () => (await lab.kubectl(['get', 'namespace', system])).code !== 0);
    const found = await lab.must([
      'get',
      'clusterroles,clusterrolebindings,crds,pd,roles,rolebindings',
      '-A',
      '-o',
      'name',
    ]);
    const left = found.split('\n').filter((name) => name.includes('peerdiscovery'));
    expect(left).to.deep.equal(['customresourcedefinition.apiextensions.k8s.io/peerdiscoveries.peerdiscovery.dev']);
  });
});
