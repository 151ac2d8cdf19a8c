import { mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { V1ClusterRole, V1Pod, V1Role } from '@kubernetes/client-node';
import { expect } from 'chai';
import { LuaFactory } from 'wasmoon';
import { parseAllDocuments } from 'yaml';
import { ensureHelm } from '../../lab/build/build-go-tool.ts';
import { type AuditEvent, type DeployPlane, startDeployPlane } from '../../lab/plane/deploy-plane.ts';
import { waitForDefinitions } from '../../lab/plane/wait-for-definitions.ts';
import { repository } from '../../lab/repository.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import { entrypoint } from '../../scripts/build-rootfs.ts';
import { commandBlock, guideBlocks } from '../support/guide-commands.ts';

const overlays = ['observe-only', 'routing', 'high-availability', 'control-plane'] as const;
const system = 'peerdiscovery-system';
/** As the guides are found. */
const readme = '../../README.md';

describe("an administrator's installation on an empty control plane", function () {
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
    if (lab === undefined) return;
    process.stdout.write((await lab.kubectl(['get', 'pods,deployments,daemonsets', '-A', '-o', 'wide'])).stdout);
  });

  const rollout = (namespace: string, workload: string) =>
    lab.must(['rollout', 'status', '-n', namespace, workload, '--timeout=120s']);
  const condition = (type: string) =>
    lab.must(['wait', `--for=condition=${type}`, 'peerdiscovery/cluster', '--timeout=60s']);

  /** Creates the serving certificate of the proxies, as an administrator without cert-manager does. */
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

  let helmFolder: string | undefined;

  /** Runs the first matching block of shell commands in a guide, as an administrator would. */
  async function runBlock(guide: string, pattern: RegExp, prepare = (block: string) => block): Promise<void> {
    const block = commandBlock(guide, pattern);
    helmFolder ??= await ensureHelm(() => {});
    const { code, stdout, stderr } = await lab.shell(prepare(block), [helmFolder]);
    if (code !== 0) throw new Error(`${guide}:\n${block}ended with ${code}: ${stderr}${stdout}`);
  }

  it('brings the operator to Ready with the overlay observe-only', async () => {
    await lab.must(['apply', '-k', `${repository}/crds`]);
    await waitForDefinitions(lab.kubectl);
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

  it('runs the operator as the manifest says: not root, no capability, no new privileges, read-only root', async () => {
    const [pid] = [...lab.agent.pids().values()];
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    expect(status).to.match(/^Uid:\t65532\t65532\t65532\t65532$/m);
    expect(status).to.match(/^CapEff:\t0+$/m);
    expect(status).to.match(/^NoNewPrivs:\t1$/m);
    expect(readFileSync(`/proc/${pid}/mountinfo`, 'utf8')).to.match(/ \/ ro,/);
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    expect(words.slice(0, entrypoint.length + 1)).to.deep.equal([...entrypoint, 'operator']);
  });

  it('shows the status page through the API server, from whichever replica leads', async () => {
    const token = ['create', 'token', 'peerdiscovery-status-viewer', '-n', system, '--audience=peerdiscovery'];
    const header = `X-PeerDiscovery-Token: ${(await lab.must(token)).trim()}`;
    const service = 'https:peerdiscovery-operator-metrics:metrics';
    const url = `${lab.plane.server('new-1').url}/api/v1/namespaces/${system}/services/${service}/proxy/status`;
    const auth = ['--cacert', lab.plane.caFile, '-H', `Authorization: Bearer ${lab.plane.tokens.admin}`];
    await waitUntil('the page', async () => {
      const { stdout } = await lab.plane.exec('curl', ['-sS', '--max-time', '5', ...auth, '-H', header, url]);
      return stdout.includes('<h3>Servers</h3>');
    });
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

  it('brings the proxies to Ready with the overlay routing, and they route', async () => {
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

  /** The output of a command, once it succeeds and prints something. */
  async function waitUntilSome(what: string, run: () => ReturnType<typeof lab.kubectl>): Promise<string> {
    let output = '';
    await waitUntil(what, async () => {
      const { code, stdout } = await run();
      output = code === 0 ? stdout : '';
      return output !== '';
    });
    return output;
  }

  /** Status and body of one request to the proxy at an address. */
  async function ask(address: string, path: string, credentials: readonly string[]): Promise<string> {
    const host = `peerdiscovery-proxy.${system}.svc`;
    const connect = ['--connect-to', `::${address}`, '--cacert', lab.plane.caFile];
    const args = ['-sS', '--max-time', '5', '-w', '%{http_code}', ...connect, ...credentials, `https://${host}${path}`];
    const { stdout, stderr } = await lab.plane.exec('curl', args);
    return `${stderr}${stdout}`;
  }

  /** The addresses of the Pods that must stay. */
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

  it('rolls out three of each with the overlay high-availability', async () => {
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
    const user = lab.plane.issueClientCert('somebody-else', '/CN=somebody-else');
    const [ip] = await podIps('proxy');
    const answer = await ask(`${ip}:6443`, '/api/v1/secrets', ['--cert', user.cert, '--key', user.key]);
    expect(answer).to.contain('User \\"somebody-else\\" cannot list').and.to.match(/403$/);
    const mayImpersonate = (role: string) => lab.kubectl(['get', 'clusterrole', role, '-o', 'yaml']);
    expect((await mayImpersonate('peerdiscovery-operator')).stdout).not.to.contain('impersonate');
    await lab.must(['delete', '-f', join(repository, 'config/components/impersonation/rbac.yaml')]);
  });

  it('issues certificates with the component self-issued: one CA for all proxies, which clients read, renewed in use', async () => {
    const folder = join(lab.folder, 'self-issued');
    mkdirSync(folder);
    const from = (path: string) => relative(folder, join(repository, 'config', path));
    const hurry = [{ op: 'add', path: '/spec/template/spec/containers/0/args/-', value: '--certificate-lifetime=45s' }];
    const kustomization = {
      resources: [from('overlays/routing')],
      components: [from('components/self-issued')],
      patches: [{ target: { kind: 'Deployment', name: 'peerdiscovery-operator' }, patch: JSON.stringify(hurry) }],
    };
    writeFileSync(join(folder, 'kustomization.yaml'), JSON.stringify(kustomization));
    await lab.must(['delete', 'secret/peerdiscovery-proxy-tls', 'configmap/peerdiscovery-ca', '-n', system]);
    await lab.must(['apply', '-k', folder]);
    await rollout(system, 'deployment/peerdiscovery-operator');
    await rollout(system, 'deployment/peerdiscovery-proxy');
    const ca = await waitUntilSome('the CA in its ConfigMap', () =>
      lab.kubectl([
        ...['get', 'configmap', 'peerdiscovery-ca', '-n', system, '-o', 'jsonpath={.data.ca\\.crt}'],
        ...['--as=somebody', '--as-group=system:authenticated'],
      ]),
    );
    const caFile = join(folder, 'ca.crt');
    writeFileSync(caFile, ca);
    const ips = await podIps('proxy');
    expect(ips).to.have.length(2);
    const through = (ip: string) => [
      ...[`--server=https://${ip}:6443`, `--tls-server-name=peerdiscovery-proxy.${system}.svc`],
      ...[`--certificate-authority=${caFile}`, `--token=${lab.plane.tokens.admin}`, '--kubeconfig=/dev/null'],
    ];
    const serialOf = async (ip: string) => {
      const probe = `openssl s_client -connect ${ip}:6443 </dev/null 2>/dev/null | openssl x509 -noout -serial`;
      return (await lab.plane.exec('bash', ['-c', probe])).stdout.trim();
    };
    for (const ip of ips)
      await waitUntil('kubectl to trust the proxy', async () => {
        const { code } = await lab.plane.exec('kubectl', [...through(ip), 'get', 'resourceclaims', '-A']);
        return code === 0;
      });
    const [ip = ''] = ips;
    const words = [
      ...through(ip),
      ...['get', 'configmaps', '-n', 'default', '--watch-only', '-o', 'name', '--request-timeout=200s'],
    ];
    const watch = `kubectl ${words.map((word) => `'${word}'`).join(' ')}`;
    // Ends with the first line that matches, or with the watch.
    const watching = lab.shell(`grep --max-count=1 after-the-renewal < <(exec ${watch}) && kill $!`);
    const before = await serialOf(ip);
    expect(before).to.match(/^serial=/);
    await waitUntil('a renewed certificate at every proxy', async () => {
      const serials = await Promise.all(ips.map(serialOf));
      return serials.every((serial) => serial !== before && serial === serials[0]);
    });
    await lab.must(['create', 'configmap', 'after-the-renewal', '-n', 'default']);
    expect((await lab.plane.exec('kubectl', [...through(ip), 'get', 'resourceclaims', '-A'])).code).to.equal(0);
    const { stdout, stderr } = await watching;
    expect(stdout, stderr).to.contain('after-the-renewal');
    expect((await podIps('proxy')).sort()).to.deep.equal([...ips].sort());
    const may = async (...question: string[]) =>
      (
        await lab.kubectl([
          'auth',
          'can-i',
          ...question,
          '-n',
          system,
          `--as=system:serviceaccount:${system}:peerdiscovery-operator`,
        ])
      ).stdout.trim();
    expect(await may('get', 'secret/peerdiscovery-proxy-tls')).to.equal('yes');
    expect(await may('get', 'secret/another')).to.equal('no');
    expect(await may('create', 'secrets')).to.equal('no');
    expect(await may('list', 'secrets')).to.equal('no');
  });

  it('puts a proxy that passes client certificates on next to every apiserver with the overlay control-plane', async () => {
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

  it('issues a certificate for the addresses of the control-plane nodes with the component for the front proxy', async () => {
    const folder = join(lab.folder, 'self-issued-front-proxy');
    mkdirSync(folder);
    const from = (path: string) => relative(folder, join(repository, 'config', path));
    const components = ['components/self-issued', 'components/self-issued/front-proxy'].map(from);
    const kustomization = { resources: [from('overlays/control-plane')], components };
    writeFileSync(join(folder, 'kustomization.yaml'), JSON.stringify(kustomization));
    await lab.must(['apply', '-k', folder]);
    const caFile = join(folder, 'ca.crt');
    const map = ['get', 'configmap', 'peerdiscovery-ca', '-n', 'peerdiscovery-front-proxy'];
    const read = [...map, '-o', 'jsonpath={.data.ca\\.crt}', '--as=somebody', '--as-group=system:authenticated'];
    writeFileSync(caFile, await waitUntilSome('the CA beside the front proxy', () => lab.kubectl(read)));
    for (const { address } of lab.plane.servers)
      await waitUntil('kubectl to trust the proxy by its address', async () => {
        const server = `--server=https://${address.split(':')[0]}:7443`;
        const access = [server, `--certificate-authority=${caFile}`, `--token=${lab.plane.tokens.admin}`];
        const { code } = await lab.plane.exec('kubectl', [...access, '--kubeconfig=/dev/null', 'get', 'namespaces']);
        return code === 0;
      });
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

  it('is healthy to Argo CD with real statuses, and degraded or progressing at the right times', async () => {
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

  it('holds a pipeline back while apiservers differ, and releases it afterwards', async () => {
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

  it('requests nothing that its roles forbid, and has almost no right that it does not use', () => {
    const events = lab.audit();
    const rightOf = ({ user, verb, objectRef = {}, requestURI }: AuditEvent) => {
      const { apiGroup = '', resource = requestURI, subresource, namespace = '' } = objectRef;
      const what = subresource === undefined ? resource : `${resource}/${subresource}`;
      return [user.username.split(':').at(-1), namespace, verb, apiGroup, what].join(' ');
    };
    // The requests of an impersonated client are not the proxy's own.
    const own = events.filter(({ impersonatedUser }) => impersonatedUser === undefined);
    const used = new Set(own.filter(({ responseStatus }) => responseStatus?.code !== 403).map(rightOf));
    // An apiserver that has just started refuses requests until it has read the roles.
    const refused = own.filter(({ responseStatus }) => responseStatus?.code === 403).map(rightOf);
    expect(refused.filter((right) => !used.has(right))).to.deep.equal([]);
    // Impersonation is not a request of its own. It shows in the requests that were made with it.
    for (const { user, impersonatedUser } of events) {
      if (impersonatedUser === undefined) continue;
      const account = user.username.split(':').at(-1);
      const { username, groups = [], uid, extra = {} } = impersonatedUser;
      const impersonated = (group: string, what: string) =>
        used.add(`${account}-impersonation  impersonate ${group} ${what}`);
      if (username !== undefined) impersonated('', 'users');
      if (groups.length > 0) impersonated('', 'groups');
      if (uid !== undefined) impersonated('authentication.k8s.io', 'uids');
      for (const key of Object.keys(extra)) impersonated('authentication.k8s.io', `userextras/${key}`);
    }
    const files = [
      ...[
        'rbac/operator/rbac',
        'rbac/operator/status-page',
        'rbac/operator/proxy-status',
        'rbac/proxy/rbac',
        'front-proxy/rbac',
      ],
      ...['components/self-issued/rbac', 'components/self-issued/front-proxy/rbac', 'components/impersonation/rbac'],
    ];
    const granted = files.flatMap((name) => {
      const text = readFileSync(join(repository, `config/${name}.yaml`), 'utf8');
      const roles = parseAllDocuments(text).map((document) => document.toJS() as V1Role | V1ClusterRole);
      // This role is for people.
      const forAccounts = roles.filter(({ metadata }) => metadata?.name !== 'peerdiscovery-dashboard');
      return forAccounts.flatMap(({ kind, metadata, rules = [] }) =>
        rules.flatMap(({ apiGroups = [], resources = [], verbs }) =>
          apiGroups.flatMap((group) =>
            resources.flatMap((resource) =>
              verbs.map((verb) => {
                const namespace = kind === 'Role' ? (metadata?.namespace ?? '') : '';
                const account = metadata?.name?.endsWith('-issuer')
                  ? 'peerdiscovery-operator'
                  : metadata?.name?.replace(/-(reviewer|servers|endpoints|status)$/, '');
                return [account, namespace, verb, group, resource].join(' ');
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
      // The proxy does this only when a server answers 404 for a resource that the table lists.
      `peerdiscovery-proxy ${system} patch coordination.k8s.io leases`,
      `peerdiscovery-front-proxy ${system} patch coordination.k8s.io leases`,
      // The proxy does this only when no operator has confirmed the table for a minute.
      'peerdiscovery-proxy  get peerdiscovery.dev peerdiscoveries',
      'peerdiscovery-proxy  patch peerdiscovery.dev peerdiscoveries/status',
      // If OwnerReferencesPermissionEnforcement is enabled, the server checks this for an owner of a Lease. It is never
      // requested.
      `peerdiscovery-operator ${system} delete coordination.k8s.io leases`,
      // Only a certificate with a UID needs this.
      'peerdiscovery-proxy-impersonation  impersonate authentication.k8s.io uids',
      // The server checks this for a server-side apply that creates its object, but the audit log has it as a patch.
      `peerdiscovery-operator ${system} create  secrets`,
      'peerdiscovery-operator peerdiscovery-front-proxy create  secrets',
      'peerdiscovery-operator peerdiscovery-front-proxy create  configmaps',
    ];
    expect(granted.filter((right) => !used.has(right) && !rarely.includes(right))).to.deep.equal([]);
  });

  it('can be removed completely, and the cluster continues', async () => {
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

    afterEach(async function () {
      if (this.currentTest?.state !== 'failed') return;
      // Leftovers of a failed test would break the following ones.
      for (const namespace of ['default', system])
        await helm('uninstall', 'peerdiscovery', '-n', namespace).catch(() => {});
      await lab.kubectl(['delete', '--ignore-not-found', 'namespace', system]);
      await lab.kubectl(['delete', '--ignore-not-found', 'crd', 'peerdiscoveries.peerdiscovery.dev']);
    });

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
        // Helm itself creates the namespace of a release.
        if (object.kind === 'Namespace' && object.metadata.name === system) return [];
        return [[`${object.kind} ${object.metadata.namespace ?? ''}/${object.metadata.name}`, object]];
      });
      return Object.fromEntries(objects);
    };
    const image = '--set image.repository=localhost/peerdiscovery';
    const route = `${image} --set peerDiscovery.spec.mode=Route`;
    const valuesOf = {
      'observe-only': image,
      routing: `${route} --set proxy.kind=Deployment`,
      'high-availability': `${route} --set proxy.kind=Deployment,highAvailability=true,operator.replicas=3,proxy.replicas=3`,
      'control-plane': `${route} --set proxy.kind=ControlPlaneNodes`,
    };
    async function expectEqual(values: string, overlay: string, components: readonly string[]): Promise<void> {
      const rendered = await helm('template', 'pd', 'charts/peerdiscovery', '-n', system, values);
      const folder = mkdtempSync(join(lab.folder, 'equal-'));
      const from = (path: string) => relative(folder, join(repository, 'config', path));
      const kustomization = { resources: [from(`overlays/${overlay}`)], components: components.map(from) };
      writeFileSync(join(folder, 'kustomization.yaml'), JSON.stringify(kustomization));
      expect(objectsOf(rendered)).to.deep.equal(objectsOf(await lab.must(['kustomize', folder])));
    }

    for (const overlay of overlays)
      it(`renders the objects of the overlay ${overlay}, each equal`, () =>
        expectEqual(valuesOf[overlay], overlay, []));

    for (const overlay of overlays)
      it(`renders the overlay ${overlay} with its components, each equal`, async () => {
        const front = overlay === 'control-plane';
        const monitoring = ['monitoring', ...(front ? ['monitoring/front-proxy'] : [])];
        const issued = ['components/self-issued', ...(front ? ['components/self-issued/front-proxy'] : [])];
        const monitored = `${valuesOf[overlay]} --set monitoring.enabled=true`;
        await expectEqual(monitored, overlay, monitoring);
        await expectEqual(`${monitored} --set certificates.issuer=Operator`, overlay, [...monitoring, ...issued]);
        if (overlay === 'observe-only') return;
        if (front) {
          const addresses = 'certificates.controlPlaneAddresses={control-plane.example.com}';
          const both = ['components/cert-manager', 'components/cert-manager/front-proxy'];
          await expectEqual(`${monitored} --set certificates.issuer=CertManager --set '${addresses}'`, overlay, [
            ...monitoring,
            ...both,
          ]);
          return;
        }
        const others = ['components/cert-manager', 'components/impersonation'];
        const values = '--set certificates.issuer=CertManager,proxy.impersonation=true';
        await expectEqual(`${monitored} ${values}`, overlay, [...monitoring, ...others]);
      });

    it('gives proxies another routing table, and the rights that go with it', async () => {
      const values = `${valuesOf.routing} --set proxy.routingTable=mine`;
      const objects = objectsOf(await helm('template', 'pd', 'charts/peerdiscovery', '-n', system, values));
      const { rules } = objects[`Role ${system}/peerdiscovery-proxy`] as V1Role;
      expect(rules?.flatMap(({ resourceNames = [] }) => resourceNames)).to.deep.equal(['mine', 'mine-behind']);
      const [container] = objects[`Deployment ${system}/peerdiscovery-proxy`].spec.template.spec.containers;
      expect(container.args).to.include('--routing-table=mine');
    });

    it('permits monitoring, with objects that a control plane accepts', async () => {
      const values = `${valuesOf['control-plane']} --set monitoring.enabled=true,certificates.issuer=Operator`;
      const objects = Object.values<{ apiVersion: string }>(
        objectsOf(await helm('template', 'pd', 'charts/peerdiscovery', '-n', system, values)),
      );
      const known = objects.filter(
        ({ apiVersion }) => !/^(monitoring\.coreos\.com|cert-manager\.io|peerdiscovery)/.test(apiVersion),
      );
      const namespaces = [system, 'peerdiscovery-front-proxy'].map((name) => ({
        apiVersion: 'v1',
        kind: 'Namespace',
        metadata: { name },
      }));
      const applied = [...namespaces, ...known].map((object) => JSON.stringify(object)).join('\n---\n');
      for (const {
        metadata: { name },
      } of namespaces)
        await lab.kubectl(['create', 'namespace', name]);
      await lab.must(['apply', '--dry-run=server', '-f', '-'], applied);
      await lab.must(['delete', 'namespace', system, 'peerdiscovery-front-proxy']);
    });

    it('refuses unknown values', async () => {
      const wrong = await helm('template', 'pd', 'charts/peerdiscovery', `${image} --set proxy.kind=Sidecar`).catch(
        String,
      );
      expect(wrong).to.contain('/proxy/kind');
    });

    it('installs into the namespace default with the exact commands of the README, and leaves nothing there', async () => {
      await runBlock(readme, /^helm install/m);
      expect(await lab.must(['get', 'deployments', '-n', 'default', '-o', 'name'])).to.contain(
        'peerdiscovery-operator',
      );
      await runBlock('rollback-uninstall.md', /^helm uninstall peerdiscovery --wait/m);
      const left = await lab.must(['get', 'leases,secrets,configmaps,deployments', '-n', 'default', '-o', 'name']);
      expect(left).not.to.contain('peerdiscovery');
    });

    it('installs, upgrades, rolls back and uninstalls with the exact commands of the guides', async () => {
      await runBlock('install.md', /^helm install/m);
      await runBlock('install.md', /--for=condition=Ready/);
      const issued = `${valuesOf.routing} --set certificates.issuer=Operator`;
      await helm('upgrade', 'peerdiscovery', 'charts/peerdiscovery', '-n', system, '--wait --timeout 120s', issued);
      await runBlock('crd-upgrade.md', /helm show crds/);
      await runBlock('upgrade.md', /helm upgrade/);
      const [ip] = await podIps('proxy');
      const caFile = join(lab.folder, 'issued.crt');
      await runBlock('certificates.md', /get configmap peerdiscovery-ca/, (block) =>
        block.replace('> ca.crt', `> ${caFile}`),
      );
      const credentials = ['-H', `Authorization: Bearer ${lab.plane.tokens.admin}`, '--cacert', caFile];
      let answer = '';
      const isRouted = async () => {
        answer = await ask(`${ip}:6443`, '/apis/resource.k8s.io/v1/resourceclaims', credentials);
        return answer.endsWith('200');
      };
      await waitUntil('a routed answer', isRouted, { seen: () => answer });
      await runBlock('rollback-uninstall.md', /"mode":"Observe"/);
      const mode = () => lab.must(['get', 'pd', 'cluster', '-o', 'jsonpath={.spec.mode}']);
      expect(await mode()).to.equal('Observe');
      await runBlock('rollback-uninstall.md', /helm rollback/);
      expect(await mode()).to.equal('Route');
      expect(await podIps('proxy')).to.have.length(2);
      await runBlock('rollback-uninstall.md', /helm uninstall/);
      expect((await lab.kubectl(['get', 'crd', '-o', 'name'])).stdout).not.to.contain('peerdiscovery');
      expect((await lab.kubectl(['get', 'namespace', system])).stderr).to.contain('NotFound');
    });
  });

  describe('kustomize, with the exact commands of the guides', () => {
    const folderOf = () => join(lab.folder, 'mine');
    const inFolder = (block: string) => `cd '${folderOf()}'\n${block}`;

    /** The guide's own kustomization, with other lines where it says so. */
    function writeKustomization(change: (text: string) => string): void {
      const [text = ''] = guideBlocks('install.md', 'yaml');
      expect(text).to.contain('config/overlays/observe-only');
      writeFileSync(join(folderOf(), 'kustomization.yaml'), change(text));
    }

    it('installs, upgrades, rolls back and uninstalls', async () => {
      await runBlock(readme, /-k config\/overlays\/observe-only/);
      await runBlock('rollback-uninstall.md', /kubectl delete -k/, (block) =>
        block.replace(/-k \S+/g, '-k config/overlays/observe-only'),
      );
      mkdirSync(folderOf());
      symlinkSync(repository, join(lab.folder, 'peerdiscovery'));
      writeKustomization((text) => text);
      await runBlock('install.md', /^kubectl apply .*\.\.\/peerdiscovery\/crds$/m, inFolder);
      await runBlock('install.md', /--for=condition=Ready/);
      const [, component = ''] = guideBlocks('install.md', 'yaml');
      expect(component).to.contain('self-issued');
      const routing = (text: string) => `${text.replace('observe-only', 'routing')}${component}`;
      writeKustomization(routing);
      await runBlock('crd-upgrade.md', /-k crds/);
      await runBlock('upgrade.md', /-k \./, inFolder);
      writeKustomization((text) => routing(text).replace(/newName: .*/, '$&\n    newTag: "0.1.1"'));
      await runBlock('upgrade.md', /-k \./, inFolder);
      const images = () =>
        lab.must([
          'get',
          'deployments',
          '-n',
          system,
          '-o',
          'jsonpath={.items[*].spec.template.spec.containers[*].image}',
        ]);
      expect(await images()).to.match(/^\S+:0\.1\.1 \S+:0\.1\.1$/);
      await runBlock('rollback-uninstall.md', /rollout undo/);
      expect(await images()).to.match(/^\S+:0\.1\.0 \S+:0\.1\.0$/);
      await runBlock('rollback-uninstall.md', /kubectl delete -k/, inFolder);
      expect((await lab.kubectl(['get', 'ns', system])).stderr).to.contain('NotFound');
    });
  });
});
