import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { type DeployPlane, repository, startDeployPlane } from '../../lab/deploy-plane.ts';
import { waitUntil } from '../../lab/wait-until.ts';

const overlays = ['observe-only', 'routing', 'high-availability', 'control-plane'] as const;
const system = 'peerdiscovery-system';

describe('what an administrator installs, from an empty control plane', function () {
  this.timeout(240_000);
  let lab: DeployPlane;

  before(async () => {
    lab = await startDeployPlane((message) => void process.stdout.write(`      … ${message}\n`));
  });

  after(async () => {
    await lab?.stop();
  });

  afterEach(async function () {
    if (this.currentTest?.state !== 'failed') return;
    process.stdout.write(`${lab?.plane.logTails(25)}\n`);
    if (lab === undefined) return;
    process.stdout.write((await lab.kubectl(['get', 'pods,deployments,daemonsets', '-A', '-o', 'wide'])).stdout);
  });

  const rollout = (namespace: string, workload: string) =>
    lab.must(['rollout', 'status', '-n', namespace, workload, '--timeout=120s']);
  const condition = (type: string) =>
    lab.must(['wait', `--for=condition=${type}`, 'peerdiscovery/cluster', '--timeout=60s']);

  /** Makes the serving certificate of the proxies, as an administrator without cert-manager does. */
  async function giveCertificate(namespace: string, name: string, ips: readonly string[]): Promise<void> {
    const names = [`peerdiscovery-proxy.${system}.svc`, 'localhost'];
    const { cert, key } = lab.plane.issueServingCert(name, names, ips);
    const secret = {
      apiVersion: 'v1',
      kind: 'Secret',
      type: 'kubernetes.io/tls',
      metadata: { name: 'peerdiscovery-proxy-tls', namespace },
      stringData: { 'tls.crt': readFileSync(cert, 'utf8'), 'tls.key': readFileSync(key, 'utf8') },
    };
    await lab.must(['apply', '-f', '-'], JSON.stringify(secret));
  }

  it('brings the operator to Ready by the overlay observe-only', async () => {
    await lab.must(['apply', '-k', `${repository}/crds`]);
    await lab.must(['wait', '--for=condition=Established', '--timeout=60s', 'crd/peerdiscoveries.peerdiscovery.dev']);
    await lab.must(['apply', '-k', `${repository}/config/overlays/observe-only`]);
    await rollout(system, 'deployment/peerdiscovery-operator');
    await condition('Ready');
    const { stdout } = await lab.kubectl([
      'get',
      'pd',
      'cluster',
      '-o',
      'jsonpath={.status.mode} {.status.peerCounts}',
    ]);
    expect(stdout).to.equal('Observe {"ready":2,"stale":0,"total":2,"unreachable":0}');
  });

  it('runs it as the manifest says: not root, no capability, no new privileges, read-only root', async () => {
    const [pid] = [...lab.agent.pids().values()];
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    expect(status).to.match(/^Uid:\t65532\t65532\t65532\t65532$/m);
    expect(status).to.match(/^CapEff:\t0+$/m);
    expect(status).to.match(/^NoNewPrivs:\t1$/m);
    expect(readFileSync(`/proc/${pid}/mountinfo`, 'utf8')).to.match(/ \/ ro,/);
    expect(readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, 3)).to.deep.equal([
      '/usr/bin/node',
      '/app/dist/bin/peerdiscovery.js',
      'operator',
    ]);
  });

  for (const overlay of overlays)
    it(`renders the overlay ${overlay} so that a server-side dry run accepts every object`, async () => {
      const rendered = await lab.must(['kustomize', `${repository}/config/overlays/${overlay}`]);
      const namespaces = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'peerdiscovery-front-proxy' } };
      if (overlay === 'control-plane') await lab.must(['apply', '-f', '-'], JSON.stringify(namespaces));
      const { code, stderr } = await lab.kubectl(
        ['apply', '--dry-run=server', '--warnings-as-errors', '-f', '-'],
        rendered,
      );
      expect(code, stderr).to.equal(0);
    });

  it('brings the proxies to Ready by the overlay routing, and they route', async () => {
    await lab.must(['apply', '-k', `${repository}/config/overlays/routing`]);
    await giveCertificate(system, 'first', []);
    await rollout(system, 'deployment/peerdiscovery-proxy');
    await condition('Ready');
    const ips = await lab.must([
      ...['get', 'pods', '-n', system, '-l', 'app.kubernetes.io/component=proxy'],
      ...['-o', 'jsonpath={.items[*].status.podIP}'],
    ]);
    for (const ip of ips.split(' '))
      await waitUntil('a routed answer', async () => {
        const url = `https://peerdiscovery-proxy.${system}.svc:6443/apis/resource.k8s.io/v1/resourceclaims`;
        const auth = ['--cacert', lab.plane.caFile, '-H', `Authorization: Bearer ${lab.plane.tokens.admin}`];
        const connect = ['--connect-to', `::${ip}:6443`];
        const { stdout } = await lab.plane.exec('curl', [
          '-sS',
          '-o',
          '/dev/null',
          '-w',
          '%{http_code}',
          ...auth,
          ...connect,
          url,
        ]);
        return stdout === '200';
      });
  });
});
