import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { expect } from 'chai';
import { ensureHelm, ensurePrometheus } from '../../lab/build/build-go-tool.ts';
import { ensureModuleFiles, prometheusDefinitions } from '../../lab/others/module-files.ts';
import { ensurePrometheusOperator } from '../../lab/others/programs.ts';
import { runInRoot } from '../../lab/others/run-in-root.ts';
import { type DeployPlane, startDeployPlane } from '../../lab/plane/deploy-plane.ts';
import { waitForDefinitions } from '../../lab/plane/wait-for-definitions.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import { commandBlock } from '../support/guide-commands.ts';
import { readRules } from '../support/lab-prometheus.ts';

const system = 'peerdiscovery-system';
const monitoring = 'monitoring';
const runbooks = 'https://docs.example.com/runbooks/';
const account = '/var/run/secrets/kubernetes.io/serviceaccount';

interface Alert {
  readonly status: 'firing' | 'resolved';
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** What Alertmanager tells a webhook. */
interface Notification {
  readonly alerts: readonly Alert[];
}

interface Target {
  readonly scrapePool: string;
  readonly health: string;
  readonly lastError: string;
}

describe('the Prometheus Operator by its own program, a real Prometheus and a real Alertmanager', function () {
  this.timeout(900_000);
  let lab: DeployPlane;
  let folder: string;
  let prometheus: string;
  let receiver: Server;
  const told: Alert[] = [];

  before(async () => {
    const log = (message: string) => void process.stdout.write(`      … ${message}\n`);
    folder = await ensurePrometheusOperator(log);
    // Debian's cannot find targets by Kubernetes.
    prometheus = join(await ensurePrometheus(log), 'prometheus');
    lab = await startDeployPlane(log);
    receiver = createServer((request, response) => {
      let body = '';
      request.setEncoding('utf8').on('data', (text: string) => (body += text));
      request.on('end', () => {
        told.push(...(JSON.parse(body) as Notification).alerts);
        response.end();
      });
    });
    await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
    await lab.must(['apply', '--server-side', '-f', await ensureModuleFiles(prometheusDefinitions, log)]);
    await waitForDefinitions(lab.kubectl);
    await install();
    await startOperator();
  });

  after(async () => {
    receiver?.close();
    await lab?.stop();
  });

  afterEach(async function () {
    if (this.currentTest?.state !== 'failed' || lab === undefined) return;
    const { stdout } = await lab.kubectl(['get', 'pods,servicemonitors,secrets,configmaps', '-A', '-o', 'wide']);
    process.stdout.write(`${stdout}\n${lab.plane.logTails(12)}\n`);
  });

  /** The chart with monitoring, but with the waits of its alerts cut to seconds. */
  async function install(): Promise<void> {
    const values = [
      ...['image.repository=localhost/peerdiscovery', 'peerDiscovery.spec.mode=Route', 'proxy.kind=Deployment'],
      ...['certificates.issuer=Operator', 'monitoring.enabled=true', `monitoring.runbooks=${runbooks}`],
    ].map((value) => `--set '${value}'`);
    const helm = await ensureHelm(() => {});
    const rendered = join(lab.folder, 'chart.yaml');
    const script = [
      `kubectl create namespace ${system}`,
      `kubectl create namespace ${monitoring}`,
      `kubectl create serviceaccount prometheus-k8s -n ${monitoring}`,
      'kubectl apply --server-side -k crds',
      'until kubectl wait --for=condition=Established crd/peerdiscoveries.peerdiscovery.dev; do sleep 1; done',
      `helm template peerdiscovery charts/peerdiscovery -n ${system} ${values.join(' ')} > ${rendered}`,
      `sed -i -E 's/for: [0-9]+[mh]$/for: 2s/; s/(last_success_timestamp_seconds) > 120/\\1 > 30/' ${rendered}`,
      `kubectl apply --server-side -f ${rendered}`,
      commandBlock('monitoring.md', /create clusterrolebinding/),
      `kubectl rollout status -n ${system} deployment/peerdiscovery-proxy --timeout=120s`,
      'kubectl wait --for=condition=Ready peerdiscovery/cluster --timeout=60s',
    ].join('\n');
    const { code, stdout, stderr } = await lab.shell(script, [helm]);
    expect(code, `${stderr}${stdout}`).to.equal(0);
  }

  const home = () => lab.plane.server('old-1');
  const ip = () => home().address.split(':')[0] ?? '';
  const about = (name: string) => ({ metadata: { name, namespace: monitoring } });

  /** The operator, and what its users write: a Prometheus that takes everything, an Alertmanager and a receiver. */
  async function startOperator(): Promise<void> {
    const { port } = receiver.address() as AddressInfo;
    const all = {
      ...{ serviceMonitorSelector: {}, serviceMonitorNamespaceSelector: {} },
      ...{ ruleSelector: {}, ruleNamespaceSelector: {} },
    };
    const alertmanagers = [{ namespace: monitoring, name: 'alertmanager-lab', port: 'web', apiVersion: 'v2' }];
    const objects = [
      {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRole',
        metadata: { name: 'prometheus-k8s' },
        rules: [
          { apiGroups: [''], resources: ['services', 'endpoints', 'pods'], verbs: ['get', 'list', 'watch'] },
          { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['get', 'list', 'watch'] },
        ],
      },
      {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRoleBinding',
        metadata: { name: 'prometheus-k8s' },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'prometheus-k8s' },
        subjects: [{ kind: 'ServiceAccount', name: 'prometheus-k8s', namespace: monitoring }],
      },
      {
        apiVersion: 'monitoring.coreos.com/v1',
        kind: 'Prometheus',
        ...about('k8s'),
        spec: {
          ...all,
          serviceAccountName: 'prometheus-k8s',
          evaluationInterval: '1s',
          alerting: { alertmanagers },
        },
      },
      {
        apiVersion: 'monitoring.coreos.com/v1',
        kind: 'Alertmanager',
        ...about('main'),
        spec: { alertmanagerConfigSelector: {}, alertmanagerConfigMatcherStrategy: { type: 'None' } },
      },
      {
        apiVersion: 'monitoring.coreos.com/v1alpha1',
        kind: 'AlertmanagerConfig',
        ...about('receiver'),
        spec: {
          route: { receiver: 'webhook', groupBy: ['...'], groupWait: '1s', groupInterval: '1s' },
          receivers: [{ name: 'webhook', webhookConfigs: [{ url: `http://127.0.0.1:${port}/`, sendResolved: true }] }],
        },
      },
      // In place of the Service that the operator makes, whose Pods do not run here.
      {
        apiVersion: 'v1',
        kind: 'Service',
        ...about('alertmanager-lab'),
        spec: { clusterIP: 'None', ports: [{ name: 'web', port: 9093 }] },
      },
      {
        apiVersion: 'v1',
        kind: 'Endpoints',
        ...about('alertmanager-lab'),
        subsets: [{ addresses: [{ ip: ip() }], ports: [{ name: 'web', port: 9093 }] }],
      },
    ];
    await lab.must(
      ['apply', '--server-side', '-f', '-'],
      objects.map((object) => JSON.stringify(object)).join('\n---\n'),
    );
    const admin = { server: home().url, token: lab.plane.tokens.admin, name: 'prometheus-operator' };
    const env = { KUBECONFIG: lab.plane.kubeconfig(admin) };
    const args = ['--kubelet-endpoints=false', '--web.listen-address=127.0.0.1:9580'];
    lab.plane.spawn(join(folder, 'operator'), args, { name: 'operator', env });
  }

  /** Data of a ConfigMap or Secret of the operator's as files of a folder; undefined until it is there. */
  async function filesOf(kind: 'configmap' | 'secret', name: string, path: string) {
    const { code, stdout } = await lab.kubectl(['get', kind, name, '-n', monitoring, '-o', 'json']);
    if (code !== 0) return undefined;
    const { data = {} } = JSON.parse(stdout) as { data?: Readonly<Record<string, string>> };
    const entries = Object.entries(data).map(([key, value]) => {
      const bytes = Buffer.from(value, kind === 'secret' ? 'base64' : 'utf8');
      const text = key.endsWith('.gz') ? gunzipSync(bytes) : bytes;
      return [`${path}/${key.replace(/\.gz$/, '')}`, text.toString()] as const;
    });
    return Object.fromEntries(entries);
  }

  const ask = async <T>(path: string): Promise<T | undefined> => {
    const { code, stdout } = await lab.plane.exec('curl', ['-sS', '--fail', `http://127.0.0.1:9090/api/v1/${path}`]);
    return code === 0 ? (JSON.parse(stdout) as { data: T }).data : undefined;
  };

  const ours = () =>
    lab.must([
      ...['get', 'servicemonitors,prometheusrules', '-n', system, '-o'],
      'jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.resourceVersion}{"\\n"}{end}',
    ]);
  let written: string;

  it('makes of our ServiceMonitors a configuration by which Prometheus reads each operator and proxy', async () => {
    written = await ours();
    const files = await waitUntil('the configuration', async () => {
      const config = await filesOf('secret', 'prometheus-k8s', '/etc/prometheus/config_out');
      const rules = 'prometheus-k8s-rulefiles-0';
      const found = {
        ...config,
        ...(await filesOf('secret', 'prometheus-k8s-tls-assets-0', '/etc/prometheus/certs')),
        ...(await filesOf('configmap', rules, `/etc/prometheus/rules/${rules}`)),
      };
      const text = Object.values(found).join('\n');
      return text.includes('peerdiscovery-proxy') && text.includes('PeerDiscoveryNoLeader') ? found : undefined;
    });
    // As its config-reloader does with the variables of the Pod.
    const reloaded = Object.entries(files).map(([path, text]) => [
      path,
      text.replaceAll('$(POD_NAME)', 'prometheus-k8s-0').replaceAll('$(SHARD)', '0'),
    ]);
    const [host = '', port = ''] = home().address.split(':');
    runInRoot(lab.plane, {
      name: 'prometheus',
      program: prometheus,
      folder: join(lab.folder, 'prometheus'),
      args: [
        '--config.file=/etc/prometheus/config_out/prometheus.yaml',
        ...['--storage.tsdb.path=/prometheus', '--web.listen-address=127.0.0.1:9090'],
      ],
      files: {
        ...Object.fromEntries(reloaded),
        [`${account}/token`]: await lab.must(['create', 'token', 'prometheus-k8s', '-n', monitoring]),
        [`${account}/ca.crt`]: readFileSync(lab.plane.caFile, 'utf8'),
      },
      env: { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port },
    });
    const pods = await lab.must(['get', 'pods', '-n', system, '-o', 'name']);
    const expected = pods.trim().split('\n').length;
    let last: readonly Target[] = [];
    await waitUntil(
      `${expected} targets to be up`,
      async () => {
        const { activeTargets = [] } = (await ask<{ activeTargets: readonly Target[] }>('targets?state=active')) ?? {};
        last = activeTargets.filter(({ scrapePool }) => scrapePool.startsWith(`serviceMonitor/${system}/`));
        return last.length === expected && last.every(({ health }) => health === 'up');
      },
      { everyMs: 1_000, seen: () => JSON.stringify(last) },
    );
  });

  it('gives it every one of our rules', async () => {
    interface Groups {
      readonly groups: readonly { readonly rules: readonly { readonly name: string; readonly health: string }[] }[];
    }
    const wanted = readRules().groups.flatMap(({ rules }) => rules.map(({ alert }) => alert));
    let last: readonly { readonly name: string; readonly health: string }[] = [];
    await waitUntil(
      'every rule to be evaluated',
      async () => {
        last = (await ask<Groups>('rules'))?.groups.flatMap(({ rules }) => rules) ?? [];
        return wanted.every((alert) => last.some(({ name, health }) => name === alert && health === 'ok'));
      },
      { everyMs: 1_000, seen: () => JSON.stringify(last) },
    );
  });

  /** Resolves to what the receiver is told of an alert. */
  const waitForAlert = (name: string, status: Alert['status']): Promise<Alert> =>
    waitUntil(
      `the receiver to be told that ${name} is ${status}`,
      async () => told.find(({ labels, status: found }) => labels.alertname === name && found === status),
      { boundMs: 150_000, seen: () => JSON.stringify(told) },
    );

  it('brings an alert through Alertmanager to its receiver, with the address of its runbook', async () => {
    const config = await waitUntil('the configuration of Alertmanager', async () => {
      const path = '/etc/alertmanager';
      const found = await filesOf('secret', 'alertmanager-main-generated', path);
      return found?.[`${path}/alertmanager.yaml`]?.includes('webhook') ? found : undefined;
    });
    runInRoot(lab.plane, {
      name: 'alertmanager',
      program: join(folder, 'alertmanager'),
      folder: join(lab.folder, 'alertmanager'),
      args: [
        ...['--config.file=/etc/alertmanager/alertmanager.yaml', '--storage.path=/alertmanager'],
        ...[`--web.listen-address=${ip()}:9093`, '--cluster.listen-address='],
      ],
      files: config,
    });
    await lab.plane.server('new-1').stop();
    const stale = await waitForAlert('PeerDiscoveryPeerStale', 'firing');
    expect(stale.labels).to.include({ severity: 'warning', namespace: system });
    expect(stale.annotations.runbook_url).to.equal(`${runbooks}peer-stale.md`);
    const unreachable = await waitForAlert('PeerDiscoveryPeerUnreachable', 'firing');
    expect(unreachable.labels).to.include({ severity: 'critical', state: 'Unreachable', namespace: system });
    expect(unreachable.annotations.runbook_url).to.equal(`${runbooks}peer-unreachable.md`);
    for (const { labels, annotations } of [stale, unreachable]) expect(annotations.description).to.contain(labels.peer);
  });

  it('tells the receiver that the alert is over once the server is back', async () => {
    await lab.plane.server('new-1').start();
    await waitForAlert('PeerDiscoveryPeerUnreachable', 'resolved');
    await waitForAlert('PeerDiscoveryPeerStale', 'resolved');
  });

  it('writes none of our objects', async () => {
    expect(await ours()).to.equal(written);
  });
});
