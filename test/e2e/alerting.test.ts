import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { expect } from 'chai';
import { parse, parseAllDocuments, stringify } from 'yaml';
import { ensureControlPlane } from '../../lab/build/build-control-plane.ts';
import { type MixedPlane, startMixedPlane } from '../../lab/plane/mixed-plane.ts';
import { repository } from '../../lab/repository.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import { type LabPrometheus, readRules, startPrometheus, startScrapedOperator } from '../support/lab-prometheus.ts';
import { requirePrometheus } from '../support/require-prometheus.ts';

const claims = '/apis/resource.k8s.io/v1/resourceclaims';
const monitoring = join(repository, 'config/monitoring');

function kustomize(overlay: string, kubectl: string): readonly Record<string, unknown>[] {
  const folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-kustomize-'));
  const from = (path: string) => relative(folder, join(repository, path));
  const kustomization = {
    apiVersion: 'kustomize.config.k8s.io/v1beta1',
    kind: 'Kustomization',
    resources: [from(overlay)],
    components: [from('config/monitoring')],
  };
  writeFileSync(join(folder, 'kustomization.yaml'), stringify(kustomization));
  const output = execFileSync(kubectl, ['kustomize', folder], { encoding: 'utf8' });
  rmSync(folder, { recursive: true });
  return parseAllDocuments(output).map((document) => document.toJS() as Record<string, unknown>);
}

describe('alert rules', function () {
  this.timeout(120_000);
  const folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-rules-'));
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('fire and stay silent exactly as the cases for promtool say', async function () {
    const promtool = await requirePrometheus(this, 'promtool');
    const rules = readRules();
    writeFileSync(join(folder, 'rules.yaml'), stringify(rules));
    const cases = readFileSync(join(repository, 'test/e2e/alert-rules.promtool.yaml'), 'utf8');
    writeFileSync(join(folder, 'cases.yaml'), cases);
    execFileSync(promtool, ['check', 'rules', join(folder, 'rules.yaml')]);
    expect(execFileSync(promtool, ['test', 'rules', 'cases.yaml'], { cwd: folder, encoding: 'utf8' })).to.contain(
      'SUCCESS',
    );
    for (const { alert } of rules.groups.flatMap((group) => group.rules)) {
      const { tests } = parse(cases) as { tests: { name: string; alert_rule_test: { exp_alerts: unknown[] }[] }[] };
      const own = tests.filter(({ name }) => name.startsWith(`${alert} `));
      const fires = own.map(({ alert_rule_test: [first] }) => (first?.exp_alerts.length ?? 0) > 0);
      expect(fires, `the cases of ${alert}: one that fires, one that is silent`).to.have.members([true, false]);
    }
  });

  it('have a runbook each, and every runbook an alert', () => {
    const named = readRules().groups.flatMap(({ rules }) => rules.map(({ annotations }) => annotations.runbook ?? ''));
    for (const path of named) expect(existsSync(join(repository, path)), path).to.equal(true);
    const pages = readdirSync(join(repository, 'docs/runbooks')).map((file) => `docs/runbooks/${file}`);
    expect([...new Set(named)]).to.have.members(pages);
  });
});

describe('a real Prometheus on a real operator and proxy', function () {
  this.timeout(300_000);
  const folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-prometheus-'));
  const operatorMetrics = '10.77.0.11:9443';
  const proxyMetrics = '10.77.0.30:9443';
  let mixed: MixedPlane;
  let kubectlPath: string;
  let operator: ReturnType<MixedPlane['startOperator']>;
  let query: LabPrometheus['query'];
  let firing: LabPrometheus['firing'];

  before(async function () {
    const prometheus = await requirePrometheus(this, 'prometheus');
    const log = (message: string) => void process.stdout.write(`      … ${message}\n`);
    const folders = await ensureControlPlane({ versions: ['1.36'], log });
    kubectlPath = join(folders['1.36'] ?? '', 'kubectl');
    mixed = await startMixedPlane({
      servers: [
        { name: 'old-1', version: '1.36', emulatedVersion: '1.33' },
        { name: 'new-1', version: '1.36' },
      ],
      home: 'old-1',
      log,
      spec: { polling: { interval: '2s' }, staleAfter: '20s' },
    });
    operator = await startScrapedOperator(mixed, must, operatorMetrics);
    mixed.startProxy(['--metrics-bind-address', proxyMetrics, '--max-long-running-requests', '3']);
    ({ query, firing } = startPrometheus(mixed.plane, {
      program: prometheus,
      folder,
      targets: [
        { job: 'operator', address: operatorMetrics, serverName: 'operator-metrics' },
        { job: 'proxy', address: proxyMetrics, serverName: 'localhost' },
      ],
    }));
    await waitUntil('Prometheus', async () => (await curl('http://127.0.0.1:9090/-/ready')) === '200');
  });

  after(async () => {
    await mixed?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  async function must(args: readonly string[], input?: string): Promise<void> {
    const { code, stderr } = await mixed.kubectl('old-1', args, input);
    if (code !== 0) throw new Error(stderr);
  }

  const waitFor = (alert: string, wanted: boolean) =>
    waitUntil(`${alert} to ${wanted ? 'fire' : 'resolve'}`, async () => (await firing()).includes(alert) === wanted, {
      everyMs: 500,
    });

  async function curl(url: string, ...args: readonly string[]): Promise<string> {
    const flags = ['-sk', '--max-time', '10', '-o', '/dev/null', '-w', '%{http_code}', ...args];
    return (await mixed.plane.exec('curl', [...flags, url])).stdout;
  }

  const bearer = (token: string) => ['-H', `Authorization: Bearer ${token}`];

  it('scrapes both over TLS, and admits no other client', async () => {
    await waitUntil('both targets', async () => (await query('up == 1')).length === 2, {
      seen: () => mixed.plane.logTails(3),
    });
    for (const address of [operatorMetrics, proxyMetrics]) {
      const url = `https://${address}/metrics`;
      expect(await curl(url)).to.equal('401');
      expect(await curl(url, ...bearer('stranger'))).to.equal('401');
      expect(await curl(url, ...bearer(mixed.plane.tokens.proxy))).to.equal('403');
      expect(await curl(url, ...bearer(mixed.plane.tokens.reader))).to.equal('200');
    }
    expect(await curl('http://127.0.0.1:8080/metrics')).to.equal('404');
    expect(await curl('http://127.0.0.1:8080/readyz')).to.equal('200');
  });

  it('is quiet about a healthy control plane, except for its versions', async () => {
    await waitFor('PeerDiscoveryDiverged', true);
    await waitUntil('the peers', async () => (await query('peerdiscovery_peer_state{state="Ready"}')).length === 2);
    await waitUntil('quiet', async () => (await firing()).every((alert) => alert === 'PeerDiscoveryDiverged'));
  });

  it('fires while a server is dead, and resolves when it is back', async () => {
    await mixed.plane.server('new-1').kill();
    const asking = setInterval(() => {
      void curl(`${mixed.proxyUrl}${claims}`, ...bearer(mixed.plane.tokens.admin)).catch(() => {});
    }, 500);
    try {
      await waitFor('PeerDiscoveryPeerUnreachable', true);
      await waitFor('PeerDiscoveryUnavailable', true);
      await waitFor('PeerDiscoveryPeerStale', true);
      expect((await query('peerdiscovery_proxy_unavailable_total{reason="no_capable_server"} > 0')).length).to.equal(1);
    } finally {
      clearInterval(asking);
    }
    await mixed.plane.server('new-1').start();
    await waitFor('PeerDiscoveryPeerStale', false);
    await waitFor('PeerDiscoveryPeerUnreachable', false);
    await waitFor('PeerDiscoveryUnavailable', false);
  });

  it('matches Events that users can read, one for each change', async () => {
    const ownEvents = async () => {
      const { stdout } = await mixed.kubectl('old-1', ['get', 'events.v1.events.k8s.io', '-A', '-o', 'json']);
      const { items } = JSON.parse(stdout) as {
        items: { regarding: { kind: string }; reason: string; note: string; type: string }[];
      };
      return items.filter(({ regarding }) => regarding.kind === 'PeerDiscovery');
    };
    // The operator writes Events in the background.
    const areWritten = async () => {
      const reasons = (await ownEvents()).map(({ reason }) => reason);
      return reasons.includes('PeerUnreachable') && reasons.includes('PeerReady');
    };
    await waitUntil('Events about new-1', areWritten);
    const own = await ownEvents();
    const away = own.filter(({ reason }) => reason === 'PeerUnreachable');
    expect(away).to.have.length(1);
    expect(away[0]).to.include({ type: 'Warning' });
    expect(away[0]?.note).to.match(/^new-1 \(10\.77\.0\.12:6443\): /);
    const back = own.filter(({ reason, note }) => reason === 'PeerReady' && note.startsWith('new-1'));
    expect(back.length).to.be.within(1, 2);
    const described = await mixed.kubectl('old-1', ['describe', 'peerdiscovery', 'cluster']);
    expect(described.stdout).to.match(/Warning +PeerUnreachable .* new-1/);
  });

  it('shows every proxy on the published table', async () => {
    const behind = 'max(peerdiscovery_routing_table_revision) - min(peerdiscovery_proxy_table_revision)';
    await waitUntil('the same revision', async () => (await query(`${behind} == 0`)).length === 1);
  });

  it('has series for every query of the dashboard', async () => {
    const { panels } = JSON.parse(readFileSync(join(monitoring, 'dashboard.json'), 'utf8')) as {
      panels: { title: string; targets?: { expr: string }[] }[];
    };
    const expressions = panels.flatMap(({ targets }) => targets?.map(({ expr }) => expr) ?? []);
    expect(expressions).to.have.length.greaterThan(20);
    const readAll = async () => {
      await curl(`${mixed.proxyUrl}${claims}`, ...bearer(mixed.plane.tokens.admin));
      const empty: string[] = [];
      for (const expr of expressions) if ((await query(expr)).length === 0) empty.push(expr);
      return empty;
    };
    let empty: readonly string[] = expressions;
    const check = async () => {
      empty = await readAll();
      return empty.length === 0;
    };
    await waitUntil('series', check, { seen: () => empty.join('\n') });
  });

  it('fires when the operator may no longer write the table', async () => {
    const role = await mixed.kubectl('old-1', [
      'get',
      'role',
      'peerdiscovery-operator',
      '-n',
      'peerdiscovery-system',
      '-o',
      'json',
    ]);
    const stored = JSON.parse(role.stdout) as { rules: { resources: string[] }[]; metadata: object };
    const rules = stored.rules.filter(({ resources }) => !resources.includes('configmaps'));
    await must([
      'patch',
      'role',
      'peerdiscovery-operator',
      '-n',
      'peerdiscovery-system',
      '--type=merge',
      '-p',
      JSON.stringify({ rules }),
    ]);
    await must(['patch', 'peerdiscovery', 'cluster', '--type=merge', '-p', '{"spec":{"mode":"Observe"}}']);
    await waitFor('PeerDiscoveryReconcileErrors', true);
    await must([
      'patch',
      'role',
      'peerdiscovery-operator',
      '-n',
      'peerdiscovery-system',
      '--type=merge',
      '-p',
      JSON.stringify({ rules: stored.rules }),
    ]);
    await waitFor('PeerDiscoveryReconcileErrors', false);
  });

  it('fires twice when the serving certificate of a proxy is about to expire, and resolves when it is renewed', async () => {
    const renew = (days?: string) => mixed.plane.issueServingCert('proxy', ['localhost'], ['10.77.0.30'], days);
    renew('1');
    await waitFor('PeerDiscoveryCertificateExpiring', true);
    await waitFor('PeerDiscoveryCertificateExpiresNow', true);
    renew();
    await waitFor('PeerDiscoveryCertificateExpiresNow', false);
    await waitFor('PeerDiscoveryCertificateExpiring', false);
  });

  it('fires when clients want more watches than a proxy may hold', async () => {
    const url = `${mixed.proxyUrl}/api/v1/namespaces?watch=true`;
    const asking = setInterval(() => {
      void curl(url, ...bearer(mixed.plane.tokens.admin)).catch(() => {});
    }, 500);
    try {
      await waitFor('PeerDiscoveryProxyLimited', true);
      expect(await query('peerdiscovery_proxy_limited_total{limit="user_long_running_requests"} > 0')).to.have.length(
        1,
      );
    } finally {
      clearInterval(asking);
    }
  });

  it('fires when a flood of handshakes leaves a proxy no CPU time', async () => {
    const flood = ['-connect', '10.77.0.30:6443', '-new', '-time', '60'];
    const clients = [1, 2, 3, 4, 5, 6, 7, 8].map((at) =>
      mixed.plane.spawn('openssl', ['s_time', ...flood], { name: `flood-${at}` }),
    );
    try {
      await waitFor('PeerDiscoveryProxySaturated', true);
    } finally {
      for (const client of clients) client.kill('SIGKILL');
    }
    await waitFor('PeerDiscoveryProxySaturated', false);
  });

  it('fires when no operator leads, and when the table of a proxy grows old', async () => {
    operator.kill('SIGKILL');
    await waitFor('PeerDiscoveryNoLeader', true);
    await waitFor('PeerDiscoveryTableOld', true);
    operator = mixed.startOperator(['--metrics-bind-address', operatorMetrics, '--metrics-secure=false']);
    await waitFor('PeerDiscoveryTableOld', false);
  });

  it('comes with a kustomize component that the control plane accepts', async () => {
    const objects = kustomize('config/overlays/routing', kubectlPath);
    const find = (kind: string, name: string) =>
      objects.find((object) => object.kind === kind && (object.metadata as { name: string }).name === name);
    for (const component of ['operator', 'proxy']) {
      const deployment = JSON.stringify(find('Deployment', `peerdiscovery-${component}`));
      expect(deployment).to.contain('"--metrics-bind-address=:8443"').and.contain('"containerPort":8443');
      expect(find('ServiceMonitor', `peerdiscovery-${component}`)).to.be.an('object');
    }
    expect(find('ConfigMap', 'peerdiscovery-dashboard')).to.be.an('object');
    const known = objects.filter(({ apiVersion }) => apiVersion !== 'monitoring.coreos.com/v1');
    await must(['apply', '--dry-run=server', '-f', '-'], known.map((object) => stringify(object)).join('---\n'));
  });
});
