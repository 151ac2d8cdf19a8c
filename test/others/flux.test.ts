import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { ensureModuleFiles, fluxDefinitions } from '../../lab/others/module-files.ts';
import { ensureFlux } from '../../lab/others/programs.ts';
import { type DeployPlane, startDeployPlane } from '../../lab/plane/deploy-plane.ts';
import { waitForDefinitions } from '../../lab/plane/wait-for-definitions.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import { type GitOps, startGitOps } from '../support/gitops.ts';

const system = 'peerdiscovery-system';
const flux = 'flux-system';
const storage = '127.0.0.1:9790';
const controllers = ['source-controller', 'kustomize-controller', 'helm-controller'] as const;

interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason: string;
  readonly message: string;
}

/** The fields of a Flux object that the tests read. */
interface FluxObject {
  readonly metadata: { readonly generation: number };
  readonly status?: {
    readonly observedGeneration?: number;
    readonly lastHandledReconcileAt?: string;
    readonly lastAttemptedRevision?: string;
    readonly artifact?: { readonly revision: string };
    readonly conditions?: readonly Condition[];
  };
}

const conditionOf = ({ status }: FluxObject, wanted: string) => status?.conditions?.find(({ type }) => type === wanted);
const readyOf = (object: FluxObject) => conditionOf(object, 'Ready');

/**
 * True if a reconciliation of the newest spec has ended, and the controller does not start the next one at once, as it
 * does after some actions of Helm, and after health checks that a newer request cancels.
 */
function isSettled(object: FluxObject): boolean {
  const ready = readyOf(object);
  const reconciling = conditionOf(object, 'Reconciling');
  if (ready?.status === 'True')
    return reconciling === undefined && object.status?.observedGeneration === object.metadata.generation;
  return (
    ready?.status === 'False' &&
    ready.reason !== 'HealthCheckCanceled' &&
    (reconciling === undefined || reconciling.reason === 'ProgressingWithRetry')
  );
}

describe('Flux with its own controllers', function () {
  this.timeout(600_000);
  let lab: DeployPlane;
  let gitops: GitOps;

  before(async () => {
    const log = (message: string) => void process.stdout.write(`      … ${message}\n`);
    const programs = await ensureFlux(log);
    lab = await startDeployPlane(log);
    gitops = await startGitOps(lab, '127.0.0.1');
    writeApp();
    for (const files of fluxDefinitions)
      await lab.must(['apply', '--server-side', '-f', await ensureModuleFiles(files, log)]);
    await waitForDefinitions(lab.kubectl);
    await lab.must(['create', 'namespace', flux]);
    startControllers(programs);
  });

  after(async () => {
    await gitops?.git.stop();
    await lab?.stop();
  });

  afterEach(async function () {
    if (this.currentTest?.state !== 'failed' || lab === undefined) return;
    const kinds = 'gitrepositories,kustomizations,helmreleases,deployments,pods';
    const { stdout } = await lab.kubectl(['get', kinds, '-A', '-o', 'wide']);
    const tail = (name: string) => lab.plane.readLog(name).split('\n').slice(-12).join('\n');
    process.stdout.write(`${stdout}\n${controllers.map(tail).join('\n')}\n`);
  });

  /** A change that must not be rolled out while servers differ. */
  function writeApp(): void {
    const app = join(gitops.work, 'apps/needs-new-api');
    mkdirSync(app, { recursive: true });
    const map = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'needs-new-api', namespace: 'default' } };
    writeFileSync(join(app, 'app.yaml'), JSON.stringify(map));
    gitops.git.commit('An app that needs a new API');
  }

  function startControllers(programs: string): void {
    const access = { server: lab.plane.server('old-1').url, token: lab.plane.tokens.admin, name: 'flux' };
    const env = { KUBECONFIG: lab.plane.kubeconfig(access), RUNTIME_NAMESPACE: flux };
    const folder = join(lab.folder, 'artifacts');
    mkdirSync(folder);
    const own: Readonly<Record<(typeof controllers)[number], readonly string[]>> = {
      'source-controller': [
        ...[`--storage-path=${folder}`, `--storage-addr=${storage}`, `--storage-adv-addr=${storage}`],
      ],
      'kustomize-controller': ['--requeue-dependency=2s'],
      'helm-controller': [],
    };
    for (const [index, name] of controllers.entries()) {
      const ports = [`--metrics-addr=127.0.0.1:${9700 + index}`, `--health-addr=127.0.0.1:${9710 + index}`];
      lab.plane.spawn(join(programs, name), ['--watch-all-namespaces', ...ports, ...own[name]], { name, env });
    }
  }

  const get = async (kind: string, name: string): Promise<FluxObject> =>
    JSON.parse(await lab.must(['get', kind, name, '-n', flux, '-o', 'json']));

  /** Waits until a Flux object is so. Resolves to it. */
  function waitFor(kind: string, name: string, what: string, isSo: (object: FluxObject) => boolean) {
    let last: FluxObject | undefined;
    return waitUntil(
      `${kind} ${name} to be ${what}`,
      async () => {
        last = await get(kind, name);
        return isSo(last) ? last : undefined;
      },
      { boundMs: 200_000, everyMs: 500, seen: () => JSON.stringify(last?.status) },
    );
  }

  const waitForReady = (kind: string, name: string) =>
    waitFor(kind, name, 'Ready', (object) => isSettled(object) && readyOf(object)?.status === 'True');

  /**
   * The same as `flux reconcile`. Resolves to the object once the controller has handled it. A reconciliation under way
   * would take the request for its own, so this waits for its end first.
   */
  async function reconcile(kind: string, name: string): Promise<FluxObject> {
    await waitFor(kind, name, 'settled', isSettled);
    const token = String(Date.now());
    const note = `reconcile.fluxcd.io/requestedAt=${token}`;
    await lab.must(['annotate', '--overwrite', '--field-manager=flux-client-side-apply', kind, name, '-n', flux, note]);
    return waitFor(
      kind,
      name,
      'reconciled',
      (object) => object.status?.lastHandledReconcileAt === token && isSettled(object),
    );
  }

  /** Commits the folder and lets Flux apply it. Resolves to the Kustomization once Flux has applied this commit. */
  async function roll(message: string): Promise<FluxObject> {
    const commit = gitops.git.commit(message);
    await reconcile('gitrepository', 'platform');
    await waitFor(
      'gitrepository',
      'platform',
      `at ${commit}`,
      ({ status }) => status?.artifact?.revision.endsWith(commit) === true,
    );
    // The new artifact starts the reconciliation. A request of ours would cancel it.
    return waitFor(
      'kustomization',
      'peerdiscovery',
      `settled at ${commit}`,
      (object) => object.status?.lastAttemptedRevision?.endsWith(commit) === true && isSettled(object),
    );
  }

  const address = /https:.*\/peerdiscovery\.git/;

  describe('the example of a Kustomization', () => {
    it('is installed until Ready', async () => {
      await gitops.applyExample('flux-kustomization.yaml', address);
      await waitForReady('kustomization', 'peerdiscovery');
      await lab.must(['wait', '--for=condition=Ready', 'peerdiscovery/cluster', '--timeout=1s']);
      const images = await lab.must(['get', 'deployments', '-n', system, '-o', 'jsonpath={..image}']);
      expect(images).to.equal('registry.example.com/peerdiscovery:0.1.0 registry.example.com/peerdiscovery:0.1.0');
    });

    it('holds back objects of a new API while servers differ', async () => {
      await waitFor(
        'kustomization',
        'peerdiscovery-converged',
        'held back by its health check',
        (object) => readyOf(object)?.status === 'False' && readyOf(object)?.reason === 'HealthCheckFailed',
      );
      const { message } = readyOf(await get('kustomization', 'needs-new-api')) ?? {};
      expect(message).to.contain('peerdiscovery-converged');
      expect((await lab.kubectl(['get', 'configmap', 'needs-new-api', '-n', 'default'])).code).not.to.equal(0);
    });

    it('shares no field with this project: no client writes an object during several syncs', () =>
      gitops.expectNoWrites(
        ({ metadata }) => metadata.labels?.['kustomize.toolkit.fluxcd.io/name'] === 'peerdiscovery',
        () => reconcile('kustomization', 'peerdiscovery'),
      ));

    it('notices drift and reverts it', async () => {
      await gitops.drift();
      expect(await gitops.isPutBack()).to.equal(false);
      expect(readyOf(await reconcile('kustomization', 'peerdiscovery'))?.status).to.equal('True');
      expect(await gitops.isPutBack()).to.equal(true);
    });

    it('rolls a change out, and waits until it runs', async () => {
      gitops.edit('config/proxy/deployment.yaml', (text) => text.replace(/replicas: \d+/, 'replicas: 3'));
      gitops.edit(
        'config/overlays/routing/peerdiscovery.yaml',
        (text) => `${text}  staleAfter: 5s\n  goneAfter: 5s\n  polling: { interval: 1s }\n`,
      );
      expect(readyOf(await roll('Run three proxies, and look closer'))?.status).to.equal('True');
      expect(await gitops.proxies('.status.readyReplicas')).to.equal('3');
      const path = 'jsonpath={.metadata.generation} {.status.observedGeneration}';
      const seen = await lab.must(['get', 'pd', 'cluster', '-o', path]);
      expect(new Set(seen.split(' ')).size).to.equal(1);
    });

    it('ships objects of a new API once every server serves the same', async () => {
      await lab.plane.server('new-1').stop();
      await waitForReady('kustomization', 'needs-new-api');
      await lab.must(['get', 'configmap', 'needs-new-api', '-n', 'default']);
      await lab.plane.server('new-1').start();
    });

    it("fails with the operator's reason while a PeerDiscovery is Stalled, and is Ready once it is not", async () => {
      const wrong = '  addresses: { allowedCIDRs: ["fd00::/7"] }\n';
      gitops.edit('config/overlays/routing/peerdiscovery.yaml', (text) => text + wrong);
      const failed = readyOf(await roll('Allow a range that is none'));
      expect(failed?.status).to.equal('False');
      expect(failed?.message)
        .to.contain('PeerDiscovery/cluster')
        .and.to.match(/Failed/);
      gitops.edit('config/overlays/routing/peerdiscovery.yaml', (text) => text.replace(wrong, ''));
      expect(readyOf(await roll('Allow it no more'))?.status).to.equal('True');
    });

    it('is removed with everything that it has installed', async () => {
      await lab.must(['delete', 'kustomization', '--all', '-n', flux, '--timeout=120s']);
      await waitUntil('the namespace to go', async () => (await lab.kubectl(['get', 'namespace', system])).code !== 0);
      expect((await lab.kubectl(['get', 'clusterroles', '-o', 'name'])).stdout).not.to.contain('peerdiscovery');
    });
  });

  describe('the example of a HelmRelease', () => {
    it('is installed until Ready', async () => {
      await gitops.applyExample('flux-helm-release.yaml', address);
      await waitForReady('helmrelease', 'peerdiscovery');
      await lab.must(['wait', '--for=condition=Ready', 'peerdiscovery/cluster', '--timeout=1s']);
      expect(await gitops.isPutBack()).to.equal(true);
    });

    it('shares no field with this project: no client writes an object during several syncs', () =>
      gitops.expectNoWrites(
        ({ metadata }) => metadata.labels?.['helm.toolkit.fluxcd.io/name'] === 'peerdiscovery',
        () => reconcile('helmrelease', 'peerdiscovery'),
      ));

    it('notices drift and reverts it', async () => {
      await gitops.drift();
      expect(await gitops.isPutBack()).to.equal(false);
      expect(readyOf(await reconcile('helmrelease', 'peerdiscovery'))?.status).to.equal('True');
      expect(await gitops.isPutBack()).to.equal(true);
    });

    it('rolls a change out, and waits until it runs', async () => {
      const spec = { values: { proxy: { replicas: 3 } } };
      const patch = ['patch', 'helmrelease', 'peerdiscovery', '-n', flux, '--type=merge'];
      await lab.must([...patch, '-p', JSON.stringify({ spec })]);
      await waitForReady('helmrelease', 'peerdiscovery');
      expect(await gitops.proxies('.status.readyReplicas')).to.equal('3');
    });

    it('is uninstalled with everything but the CRD', async () => {
      await lab.must(['delete', 'helmrelease', '--all', '-n', flux, '--timeout=120s']);
      const left = await lab.must(['get', 'deployments,clusterroles,peerdiscoveries', '-A', '-o', 'name']);
      expect(left).not.to.contain('peerdiscovery');
    });
  });
});
