import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import type { Browser, Page } from 'playwright-core';
import { parse } from 'yaml';
import { ensureControlPlane } from '../../lab/build/build-control-plane.ts';
import { type MixedPlane, startMixedPlane } from '../../lab/plane/mixed-plane.ts';
import { repository } from '../../lab/repository.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import { openBrowser, requireBrowser } from '../support/open-browser.ts';

const system = 'peerdiscovery-system';

describe('the status page of a real operator, opened by kubectl peerdiscovery dashboard', function () {
  this.timeout(300_000);
  let mixed: MixedPlane;
  let browser: Browser;
  let page: Page;
  const complaints: string[] = [];

  before(async function () {
    const executable = await requireBrowser(this);
    const log = (message: string) => void process.stdout.write(`      … ${message}\n`);
    await ensureControlPlane({ versions: ['1.35', '1.36'], log });
    mixed = await startMixedPlane({
      servers: [
        { name: 'old-1', version: '1.36', emulatedVersion: '1.33' },
        { name: 'mid-1', version: '1.35' },
        { name: 'new-1', version: '1.36' },
      ],
      home: 'old-1',
      log,
    });
    mixed.startOperator(['--metrics-bind-address', '10.77.0.11:9443']);
    await registerPod('10.77.0.11', 9443);
    browser = await openBrowser(executable);
  });

  after(async () => {
    await browser?.close();
    await mixed?.stop();
  });

  /**
   * Makes the operator a Pod behind its Service, as its Deployment and the controllers do. The API server proxies only
   * to Pods.
   */
  async function registerPod(ip: string, port: number): Promise<void> {
    const read = (file: string) => parse(readFileSync(`${repository}/config/operator/${file}`, 'utf8'));
    const { metadata, spec } = read('deployment.yaml').spec.template;
    const name = 'peerdiscovery-operator-0';
    const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { ...metadata, name, namespace: system }, spec };
    await must(['create', '-f', '-'], JSON.stringify(pod));
    const status = { status: { podIP: ip, podIPs: [{ ip }], phase: 'Running' } };
    const place = ['-n', system, '--subresource=status', '--type=merge'];
    await must(['patch', 'pod', name, ...place, '-p', JSON.stringify(status)]);
    const service = read('service.yaml');
    await must(['create', '-f', '-'], JSON.stringify(service));
    const ports = [{ name: 'metrics', port, protocol: 'TCP' }];
    const targetRef = { kind: 'Pod', namespace: system, name };
    const where = { name: service.metadata.name, namespace: system };
    const labels = { 'kubernetes.io/service-name': where.name };
    // The version decides which of the two is read.
    for (const object of [
      { apiVersion: 'v1', kind: 'Endpoints', metadata: where, subsets: [{ addresses: [{ ip, targetRef }], ports }] },
      {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { ...where, labels },
        addressType: 'IPv4',
        endpoints: [{ addresses: [ip], targetRef, conditions: { ready: true } }],
        ports,
      },
    ])
      await must(['create', '-f', '-'], JSON.stringify(object));
  }

  async function must(args: readonly string[], input?: string): Promise<void> {
    const { code, stderr } = await mixed.kubectl('old-1', args, input);
    if (code !== 0) throw new Error(stderr);
  }

  const plugin = `${repository}/src/bin/kubectl-peerdiscovery.ts`;
  const dashboardOf = (kubeconfig: string) => [plugin, 'dashboard', '--kubeconfig', kubeconfig];

  it('refuses a user without rights before it serves anything', async () => {
    const kubeconfig = mixed.plane.kubeconfig({
      server: mixed.plane.server('old-1').url,
      token: mixed.plane.tokens.reader,
      name: 'reader',
    });
    const { code, stderr } = await mixed.plane.exec(process.execPath, dashboardOf(kubeconfig));
    expect(code).to.equal(3);
    expect(stderr).to.contain('serviceaccounts "peerdiscovery-status-viewer" is forbidden').and.contain('cure: ');
  });

  it('shows the servers and resources to a user with only the role peerdiscovery-dashboard', async () => {
    await must(['create', 'rolebinding', 'reader', '-n', system, '--role=peerdiscovery-dashboard', '--user=reader']);
    const kubeconfig = mixed.plane.kubeconfig({
      server: mixed.plane.server('old-1').url,
      token: mixed.plane.tokens.reader,
      name: 'reader',
    });
    // The API servers see the binding one after the other.
    const token = ['create', 'token', 'peerdiscovery-status-viewer', '-n', system, '--kubeconfig', kubeconfig];
    await waitUntil('the right', async () => (await mixed.plane.exec('kubectl', token)).code === 0);
    mixed.plane.spawn(process.execPath, dashboardOf(kubeconfig), { name: 'dashboard' });
    const [url] = await waitUntil(
      'the address of the dashboard',
      async () => /http:\/\/127\.0\.0\.1:\d+\/[0-9a-f]+\//.exec(mixed.plane.readLog('dashboard')) ?? undefined,
    );
    page = await browser.newPage();
    page.setDefaultTimeout(90_000);
    page.on('console', (message) => {
      if (message.type() === 'error') complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(error.message));
    await page.goto(url);
    const servers = page.getByRole('table', { name: 'Kube-apiservers of cluster' });
    await servers.getByRole('row', { name: /^old-1.*Ready v1\.36\./ }).waitFor();
    await servers.getByRole('row', { name: /^mid-1.*Ready v1\.35\./ }).waitFor();
    await servers
      .getByRole('row', { name: /^new-1.*Ready v1\.36\..*10\.77\.0\.13:6443 from Node, trust Medium/ })
      .waitFor();
    await page.getByRole('heading', { level: 2, name: /Complete; the servers differ in \d+ resources/ }).waitFor();
    await page
      .getByText(
        /An upgrade is under way.* of 3 servers, 1 on v1\.36\.\d+ as 1\.33, 1 on v1\.36\.\d+, 1 on v1\.35\.\d+/,
      )
      .waitFor();
    await page.getByRole('searchbox').fill('resourceclaims.v1.resource');
    const claims = page.getByRole('row', { name: /^resourceclaims\.v1\.resource\.k8s\.io/ });
    await page.getByText('1 resource fits the search.').waitFor();
    expect(await claims.getByRole('cell').allInnerTexts()).to.deep.equal(['mid-1, new-1', 'old-1']);
  });

  it('updates itself when a server is killed, and again when it is back', async () => {
    await mixed.plane.server('new-1').kill();
    const servers = page.getByRole('table', { name: 'Kube-apiservers of cluster' });
    await servers.getByRole('row', { name: /^new-1.*Unreachable/ }).waitFor();
    await page.getByRole('heading', { level: 2, name: 'Complete, with 1 of 3 servers not ready' }).waitFor();
    expect(await page.locator('#announce').textContent()).to.contain('1 of 3 servers not ready');
    expect(await page.getByRole('searchbox').inputValue()).to.equal('resourceclaims.v1.resource');
    await mixed.plane.server('new-1').start();
    await servers.getByRole('row', { name: /^new-1.*Ready v1\.36\./ }).waitFor();
    await page.getByRole('img', { name: /^Ready: .*then 2, then 3$/ }).waitFor();
    // Neither a policy nor anything else refused the connection of the page to the operator.
    expect(complaints).to.deep.equal([]);
  });

  it('shows nothing to a user without a token, or with one for an API server alone', async () => {
    const ask = async (headers: readonly string[]) => {
      const args = ['-sk', '-o', '/dev/null', '-w', '%{http_code}', ...headers.flatMap((header) => ['-H', header])];
      return (await mixed.plane.exec('curl', [...args, 'https://10.77.0.11:9443/status'])).stdout;
    };
    expect(await ask([])).to.equal('401');
    expect(await ask([`Authorization: Bearer ${mixed.plane.tokens.reader}`])).to.equal('403');
    expect(await ask([`Authorization: Bearer ${mixed.plane.tokens.admin}`])).to.equal('200');
    expect(await ask([`X-PeerDiscovery-Token: ${mixed.plane.tokens.admin}`])).to.equal('401');
    const token = async (...flags: string[]) => {
      const account = ['create', 'token', 'peerdiscovery-status-viewer', '-n', system, ...flags];
      return (await mixed.kubectl('old-1', account)).stdout.trim();
    };
    expect(await ask([`X-PeerDiscovery-Token: ${await token('--audience=peerdiscovery')}`])).to.equal('200');
    expect(await ask([`X-PeerDiscovery-Token: ${await token()}`])).to.equal('401');
    // The token that goes over an unverified connection is worthless at an API server.
    const { stdout } = await mixed.plane.exec('curl', [
      ...['-sk', '-o', '/dev/null', '-w', '%{http_code}'],
      ...[
        '-H',
        `Authorization: Bearer ${await token('--audience=peerdiscovery')}`,
        `${mixed.plane.server('new-1').url}/api`,
      ],
    ]);
    expect(stdout).to.equal('401');
  });
});
