import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { V1ClusterRole, V1Pod, V1Role } from '@kubernetes/client-node';
import { expect } from 'chai';
import { LuaFactory } from 'wasmoon';
import { parseAllDocuments } from 'yaml';
import { ensureHelm } from '../../lab/build-helm.ts';
import { type AuditEvent, type DeployPlane, repository, startDeployPlane } from '../../lab/deploy-plane.ts';
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

  /** HTTP status and body of one request to a proxy at an address. */
  async function ask(address: string, path: string, credentials: readonly string[]): Promise<string> {
    const host = `peerdiscovery-proxy.${system}.svc`;
    const connect = ['--connect-to', `::${address}`, '--cacert', lab.plane.caFile];
    const args = ['-sS', '--max-time', '5', '-w', '%{http_code}', ...credentials, ...connect, `https://${host}${path}`];
    return (await lab.plane.exec('curl', args)).stdout;
  }

  /** Addresses of the Pods that are to stay. */
  const podIps = async (component: string): Promise<string[]> => {
    const selector = ['get', 'pods', '-A', '-l', `app.kubernetes.io/component=${component}`, '-o', 'json'];
    const { items } = JSON.parse(await lab.must(selector)) as { items: V1Pod[] };
    return items.flatMap(({ metadata, status }) =>
      metadata?.deletionTimestamp === undefined && status?.podIP !== undefined ? [status.podIP] : [],
    );
  };

  it('serves a renewed certificate without a restart', async () => {
    const [ip] = await podIps('proxy');
    const served = async () => {
      const probe = `openssl s_client -connect ${ip}:6443 </dev/null 2>/dev/null | openssl x509 -noout -subject`;
      return (await lab.plane.exec('bash', ['-c', probe])).stdout.trim();
    };
    expect(await served()).to.match(/first$/);
    await giveCertificate(system, 'second', []);
    await waitUntil('the second certificate', async () => (await served()).endsWith('second'));
  });

  it('lets clients read the CA from its ConfigMap, and nothing else there', async () => {
    await lab.must(['create', 'configmap', 'peerdiscovery-ca', '-n', system, `--from-file=ca.crt=${lab.plane.caFile}`]);
    const asReader = (name: string) =>
      lab.kubectl(['get', 'configmap', name, '-n', system, '--as=somebody', '--as-group=system:authenticated']);
    expect((await asReader('peerdiscovery-ca')).code).to.equal(0);
    expect((await asReader('peerdiscovery-cluster')).stderr).to.contain('forbidden');
  });

  it('rolls out three of each by the overlay high-availability', async () => {
    await lab.must(['apply', '-k', `${repository}/config/overlays/high-availability`]);
    await rollout(system, 'deployment/peerdiscovery-operator');
    await rollout(system, 'deployment/peerdiscovery-proxy');
    expect(await podIps('operator')).to.have.length(3);
  });

  it('impersonates users of client certificates with the component impersonation, which alone grants that', async () => {
    const folder = join(lab.folder, 'impersonation');
    mkdirSync(folder);
    const from = (path: string) => relative(folder, join(repository, 'config', path));
    const kustomization = { resources: [from('overlays/routing')], components: [from('components/impersonation')] };
    writeFileSync(join(folder, 'kustomization.yaml'), JSON.stringify(kustomization));
    await lab.must(['apply', '-k', folder]);
    await rollout(system, 'deployment/peerdiscovery-proxy');
    const user = lab.plane.issueServingCert('somebody-else', ['unused'], []);
    const [ip] = await podIps('proxy');
    const answer = await ask(`${ip}:6443`, '/api/v1/secrets', ['--cert', user.cert, '--key', user.key]);
    expect(answer).to.contain('User \\"somebody-else\\" cannot list').and.to.match(/403$/);
    const mayImpersonate = (role: string) => lab.kubectl(['get', 'clusterrole', role, '-o', 'yaml']);
    expect((await mayImpersonate('peerdiscovery-operator')).stdout).not.to.contain('impersonate');
    await lab.must(['delete', '-f', join(repository, 'config/components/impersonation/rbac.yaml')]);
  });

  it('puts a proxy that passes client certificates on beside every apiserver by the overlay control-plane', async () => {
    const { stderr } = await lab.kubectl(['apply', '-k', `${repository}/config/overlays/control-plane`]);
    expect(stderr, 'nothing but the host network is beyond restricted').not.to.match(
      /capabilities|runAsNonRoot|seccomp|allowPrivilegeEscalation/,
    );
    const ips = lab.plane.servers.map(({ address }) => address.split(':')[0] ?? '');
    await giveCertificate('peerdiscovery-front-proxy', 'front', ips);
    const { cert, key } = lab.plane.frontProxyClient;
    const files = [`--cert=${cert}`, `--key=${key}`];
    const place = ['-n', 'peerdiscovery-front-proxy'];
    await lab.must(['create', 'secret', 'tls', 'peerdiscovery-front-proxy-client', ...place, ...files]);
    await rollout('peerdiscovery-front-proxy', 'daemonset/peerdiscovery-front-proxy');
    const user = lab.plane.issueServingCert('somebody', ['unused'], []);
    for (const ip of ips) {
      const answer = await ask(`${ip}:7443`, '/api/v1/secrets', ['--cert', user.cert, '--key', user.key]);
      expect(answer).to.contain('User \\"somebody\\" cannot list').and.to.match(/403$/);
    }
  });

  it('refuses the front proxy in the namespace of the operator, which is restricted', async () => {
    const daemonSet = await lab.must([
      'get',
      'daemonset',
      '-n',
      'peerdiscovery-front-proxy',
      'peerdiscovery-front-proxy',
      '-o',
      'json',
    ]);
    const { template } = JSON.parse(daemonSet).spec;
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'intruder', namespace: system },
      spec: template.spec,
    };
    pod.spec.serviceAccountName = 'peerdiscovery-proxy';
    const { stderr } = await lab.kubectl(['create', '--dry-run=server', '-f', '-'], JSON.stringify(pod));
    expect(stderr).to.contain('violates PodSecurity "restricted:latest"');
  });

  it('is healthy to Argo CD by real statuses, and degraded or progressing where it should be', async () => {
    const script = readFileSync(join(repository, 'examples/gitops/argocd-health.lua'), 'utf8');
    const object = JSON.parse(await lab.must(['get', 'pd', 'cluster', '-o', 'json']));
    const healthOf = async (value: unknown): Promise<string> => {
      const lua = await new LuaFactory().createEngine();
      try {
        lua.global.set('text', JSON.stringify(value));
        lua.global.set('obj', value);
        return (await lua.doString(script)).status;
      } finally {
        lua.global.close();
      }
    };
    expect(await healthOf(object)).to.equal('Healthy');
    const { status: _, ...fresh } = object;
    expect(await healthOf(fresh)).to.equal('Progressing');
    const changed = { ...object, metadata: { ...object.metadata, generation: object.metadata.generation + 1 } };
    expect(await healthOf(changed)).to.equal('Progressing');
    const turned = (type: string, status: string) => {
      const others = object.status.conditions.filter((one: { type: string }) => one.type !== type);
      return { ...object, status: { ...object.status, conditions: [...others, { type, status, message: 'why' }] } };
    };
    expect(await healthOf(turned('Stalled', 'True'))).to.equal('Degraded');
    expect(await healthOf(turned('Ready', 'False'))).to.equal('Degraded');
  });

  it('holds a pipeline back while apiservers differ, and lets it go on once they do not', async () => {
    const file = join(lab.folder, 'needs-new-api.yaml');
    const map = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'shipped', namespace: 'default' } };
    await lab.shell(`cat > ${file} <<'E'\n${JSON.stringify(map)}\nE`);
    const ship = (timeout: string) => lab.shell(`examples/gitops/ship-when-converged.sh ${timeout} ${file}`);
    const held = await ship('2s');
    expect(held.code).not.to.equal(0);
    expect(held.stderr).to.contain('timed out waiting');
    expect((await lab.kubectl(['get', 'configmap', 'shipped'])).code).not.to.equal(0);
    const spec = { polling: { interval: '1s' }, staleAfter: '5s', goneAfter: '5s' };
    await lab.must(['patch', 'pd', 'cluster', '--type=merge', '-p', JSON.stringify({ spec })]);
    await lab.plane.server('new-1').stop();
    const shipped = await ship('60s');
    expect(shipped.code, shipped.stderr).to.equal(0);
    await lab.plane.server('new-1').start();
  });

  it('asks for nothing that its roles forbid, and is granted next to nothing that it does not use', () => {
    const events = lab.audit();
    const rightOf = ({ user, verb, objectRef = {}, requestURI }: AuditEvent) => {
      const { apiGroup = '', resource = requestURI, subresource, namespace = '' } = objectRef;
      const what = subresource === undefined ? resource : `${resource}/${subresource}`;
      return [user.username.split(':').at(-1), namespace, verb, apiGroup, what].join(' ');
    };
    // What an impersonated client asks for is another matter.
    const own = events.filter(({ impersonatedUser }) => impersonatedUser === undefined);
    const used = new Set(own.filter(({ responseStatus }) => responseStatus?.code !== 403).map(rightOf));
    // An apiserver that has just started refuses what it has not read the roles for yet.
    const refused = own.filter(({ responseStatus }) => responseStatus?.code === 403).map(rightOf);
    expect(refused.filter((right) => !used.has(right))).to.deep.equal([]);
    const granted = ['operator/rbac', 'proxy/rbac'].flatMap((name) => {
      const text = readFileSync(join(repository, `config/rbac/${name}.yaml`), 'utf8');
      const roles = parseAllDocuments(text).map((document) => document.toJS() as V1Role | V1ClusterRole);
      return roles.flatMap(({ kind, metadata, rules = [] }) =>
        rules.flatMap(({ apiGroups = [], resources = [], verbs }) =>
          apiGroups.flatMap((group) =>
            resources.flatMap((resource) =>
              verbs.map((verb) => {
                const namespace = kind === 'Role' ? (metadata?.namespace ?? '') : '';
                return [metadata?.name, namespace, verb, group, resource].join(' ');
              }),
            ),
          ),
        ),
      );
    });
    expect(granted).to.have.length.greaterThan(20);
    expect(granted.filter((right) => /[*]/.test(right))).to.deep.equal([]);
    const rarely = [
      // An Event that repeats within ten minutes becomes a series.
      'peerdiscovery-operator default patch events.k8s.io events',
      // Only when a server answers 404 for what the table says it serves.
      `peerdiscovery-proxy ${system} patch coordination.k8s.io leases`,
    ];
    expect(granted.filter((right) => !used.has(right) && !rarely.includes(right))).to.deep.equal([]);
  });

  it('is removed whole, and the cluster goes on', async () => {
    await lab.must([
      'delete',
      '-k',
      `${repository}/config/overlays/control-plane`,
      '--ignore-not-found',
      '--timeout=120s',
    ]);
    expect((await lab.kubectl(['get', 'ns', system])).stderr).to.contain('NotFound');
    expect((await lab.kubectl(['get', 'clusterroles,clusterrolebindings', '-o', 'name'])).stdout).not.to.contain(
      'peerdiscovery',
    );
    expect((await lab.kubectl(['get', 'pods', '-A'])).code).to.equal(0);
  });

  describe('the Helm chart', () => {
    let helm: (...args: string[]) => Promise<string>;

    before(async () => {
      const folder = await ensureHelm(() => {});
      helm = async (...args) => {
        const { code, stdout, stderr } = await lab.shell(`helm ${args.join(' ')}`, [folder]);
        if (code !== 0) throw new Error(`helm ${args.join(' ')} ended with ${code}: ${stderr}${stdout}`);
        return stdout;
      };
    });

    const objectsOf = (text: string) => {
      const objects = parseAllDocuments(text, { version: '1.1' }).flatMap((document) => {
        const object = document.toJS();
        if (object === null || object.kind === 'CustomResourceDefinition') return [];
        // Helm makes the namespace of a release itself.
        if (object.kind === 'Namespace' && object.metadata.name === system) return [];
        return [[`${object.kind} ${object.metadata.namespace ?? ''}/${object.metadata.name}`, object]];
      });
      return Object.fromEntries(objects);
    };
    const route = '--set peerDiscovery.spec.mode=Route';
    const valuesOf = {
      'observe-only': '',
      routing: `${route} --set proxy.kind=Deployment`,
      'high-availability': `${route} --set proxy.kind=Deployment,highAvailability=true,operator.replicas=3,proxy.replicas=3`,
      'control-plane': `${route} --set proxy.kind=ControlPlaneNodes`,
    };
    for (const overlay of overlays)
      it(`renders the objects of the overlay ${overlay}, each equal`, async () => {
        const rendered = await helm('template', 'pd', 'charts/peerdiscovery', '-n', system, valuesOf[overlay]);
        const kustomized = await lab.must(['kustomize', `${repository}/config/overlays/${overlay}`]);
        expect(objectsOf(rendered)).to.deep.equal(objectsOf(kustomized));
      });

    it('refuses values that it does not know', async () => {
      const wrong = await helm('template', 'pd', 'charts/peerdiscovery', '--set proxy.kind=Sidecar').catch(String);
      expect(wrong).to.contain('/proxy/kind');
    });

    it('installs, upgrades, rolls back and uninstalls, each waiting until all is ready by kstatus', async () => {
      const place = ['-n', system, '--wait', '--timeout 120s'];
      await helm('install', 'pd', 'charts/peerdiscovery', '--create-namespace', ...place);
      await condition('Ready');
      await giveCertificate(system, 'third', []);
      await helm('upgrade', 'pd', 'charts/peerdiscovery', ...place, valuesOf.routing);
      const [ip] = await podIps('proxy');
      const credentials = ['-H', `Authorization: Bearer ${lab.plane.tokens.admin}`];
      await waitUntil('a routed answer', async () =>
        (await ask(`${ip}:6443`, '/apis/resource.k8s.io/v1/resourceclaims', credentials)).endsWith('200'),
      );
      await helm('rollback', 'pd', '1', ...place);
      expect((await lab.kubectl(['get', 'deployments', '-n', system, '-o', 'name'])).stdout).to.equal(
        'deployment.apps/peerdiscovery-operator\n',
      );
      await helm('uninstall', 'pd', ...place);
      expect((await lab.kubectl(['get', 'crd', 'peerdiscoveries.peerdiscovery.dev', '-o', 'name'])).code).to.equal(0);
    });
  });
});
