import { X509Certificate } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { V1Pod } from '@kubernetes/client-node';
import { expect } from 'chai';
import { ensureHelm } from '../../lab/build/build-go-tool.ts';
import { certManagerDefinitions, ensureModuleFiles } from '../../lab/others/module-files.ts';
import { ensureCertManager } from '../../lab/others/programs.ts';
import { type DeployPlane, startDeployPlane } from '../../lab/plane/deploy-plane.ts';
import { waitForDefinitions } from '../../lab/plane/wait-for-definitions.ts';
import { repository } from '../../lab/repository.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import { commandBlock } from '../support/guide-commands.ts';

const system = 'peerdiscovery-system';
const front = 'peerdiscovery-front-proxy';
const webhookPort = 10_250;

/** The certificate that a TLS server presents. */
interface Served {
  readonly serial: string;
  readonly names: string;
}

describe('cert-manager with its own controllers and webhook', function () {
  this.timeout(300_000);
  let lab: DeployPlane;

  before(async () => {
    const log = (message: string) => void process.stdout.write(`      … ${message}\n`);
    const folder = await ensureCertManager(log);
    lab = await startDeployPlane(log);
    await startCertManager(folder, await ensureModuleFiles(certManagerDefinitions, log));
  });

  after(async () => {
    await lab?.stop();
  });

  afterEach(async function () {
    if (this.currentTest?.state !== 'failed' || lab === undefined) return;
    const { stdout } = await lab.kubectl(['get', 'pods,issuers,certificates,certificaterequests', '-A', '-o', 'wide']);
    process.stdout.write(`${stdout}\n${lab.plane.readLog('cert-manager').split('\n').slice(-30).join('\n')}\n`);
  });

  /** As its chart installs it: CRDs, both webhooks with `failurePolicy: Fail`, and then the program. */
  async function startCertManager(folder: string, definitions: string): Promise<void> {
    await lab.must(['apply', '--server-side', '-f', definitions]);
    await waitForDefinitions(lab.kubectl);
    const serving = lab.plane.issueServingCert('cert-manager-webhook', ['localhost'], ['127.0.0.1']);
    const admin = { server: lab.plane.server('old-1').url, token: lab.plane.tokens.admin, name: 'cert-manager' };
    lab.plane.spawn(
      join(folder, 'cert-manager'),
      [
        `--kubeconfig=${lab.plane.kubeconfig(admin)}`,
        `--webhook-port=${webhookPort}`,
        `--webhook-cert=${serving.cert}`,
        `--webhook-key=${serving.key}`,
      ],
      { name: 'cert-manager' },
    );
    const webhook = (path: string, rule: object) => ({
      name: 'webhook.cert-manager.io',
      rules: [{ apiVersions: ['v1'], ...rule }],
      admissionReviewVersions: ['v1'],
      failurePolicy: 'Fail',
      sideEffects: 'None',
      clientConfig: {
        url: `https://127.0.0.1:${webhookPort}${path}`,
        caBundle: readFileSync(lab.plane.caFile).toString('base64'),
      },
    });
    const groups = ['cert-manager.io', 'acme.cert-manager.io'];
    const validate = { apiGroups: groups, operations: ['CREATE', 'UPDATE'], resources: ['*/*'] };
    const mutate = { apiGroups: ['cert-manager.io'], operations: ['CREATE'], resources: ['certificaterequests'] };
    for (const [kind, hook] of [
      ['ValidatingWebhookConfiguration', webhook('/validate', validate)],
      ['MutatingWebhookConfiguration', webhook('/mutate', mutate)],
    ] as const) {
      const metadata = { name: 'cert-manager-webhook' };
      const object = { apiVersion: 'admissionregistration.k8s.io/v1', kind, metadata, webhooks: [hook] };
      await lab.must(['apply', '-f', '-'], JSON.stringify(object));
    }
  }

  /** A folder with a kustomization of an overlay and components of this repository. */
  function kustomization(name: string, overlay: string, components: readonly string[]): string {
    const folder = join(lab.folder, name);
    mkdirSync(folder);
    const from = (path: string) => relative(folder, join(repository, 'config', path));
    const text = JSON.stringify({ resources: [from(`overlays/${overlay}`)], components: components.map(from) });
    writeFileSync(join(folder, 'kustomization.yaml'), text);
    return folder;
  }

  /** Applies once the webhook answers, as after a new installation of cert-manager. */
  const apply = (folder: string) => {
    let problem = '';
    return waitUntil(
      `kubectl apply -k ${folder}`,
      async () => {
        const { code, stderr } = await lab.kubectl(['apply', '--server-side', '-k', folder]);
        problem = stderr;
        return code === 0;
      },
      { everyMs: 1_000, seen: () => problem },
    );
  };

  const isReady = (namespace: string, certificate: string) =>
    lab.must(['wait', '--for=condition=Ready', '--timeout=60s', '-n', namespace, `certificate/${certificate}`]);

  const podIps = async (component: string): Promise<string[]> => {
    const selector = ['get', 'pods', '-A', '-l', `app.kubernetes.io/component=${component}`, '-o', 'json'];
    const { items } = JSON.parse(await lab.must(selector)) as { items: V1Pod[] };
    return items.flatMap(({ metadata, status }) =>
      metadata?.deletionTimestamp === undefined && status?.podIP !== undefined ? [status.podIP] : [],
    );
  };

  async function served(address: string): Promise<Served | undefined> {
    const probe = `openssl s_client -connect ${address} </dev/null 2>/dev/null | openssl x509`;
    const { code, stdout } = await lab.plane.exec('bash', ['-o', 'pipefail', '-c', probe]);
    if (code !== 0) return undefined;
    const { serialNumber, subjectAltName = '' } = new X509Certificate(stdout);
    return { serial: serialNumber, names: subjectAltName };
  }

  /** kubectl with its own kubeconfig, which has the CA that clients get. */
  const through = (address: string, caFile: string, serverName: readonly string[], args: readonly string[]) =>
    lab.plane.exec('kubectl', [
      ...[`--server=https://${address}`, ...serverName, `--certificate-authority=${caFile}`],
      ...[`--token=${lab.plane.tokens.admin}`, '--kubeconfig=/dev/null', ...args],
    ]);
  const byService = [`--tls-server-name=peerdiscovery-proxy.${system}.svc`];

  /** The same as `cmctl renew`. */
  const renew = (namespace: string, certificate: string) => {
    const now = new Date().toISOString().replace(/\.\d+/, '');
    const condition = {
      type: 'Issuing',
      status: 'True',
      reason: 'ManuallyTriggered',
      message: 'Certificate re-issuance',
    };
    const status = { conditions: [{ ...condition, lastTransitionTime: now }] };
    const where = ['-n', namespace, '--subresource=status', '--type=merge'];
    return lab.must(['patch', 'certificate', certificate, ...where, '-p', JSON.stringify({ status })]);
  };

  const serialsOf = async (addresses: readonly string[]) =>
    (await Promise.all(addresses.map(served))).map((each) => each?.serial);

  let caFile: string;
  let proxies: readonly string[];

  it('issues the certificates of the component; clients get their CA with the command of the guide', async () => {
    await apply(kustomization('routing', 'routing', ['components/cert-manager']));
    for (const certificate of ['peerdiscovery-ca', 'peerdiscovery-proxy', 'peerdiscovery-operator'])
      await isReady(system, certificate);
    await lab.must(['rollout', 'status', '-n', system, 'deployment/peerdiscovery-proxy', '--timeout=120s']);
    await lab.must(['wait', '--for=condition=Ready', 'peerdiscovery/cluster', '--timeout=60s']);
    const publish = await lab.shell(commandBlock('certificates.md', /get secret peerdiscovery-ca/));
    expect(publish.code, publish.stderr).to.equal(0);
    caFile = join(lab.folder, 'ca.crt');
    const read = commandBlock('certificates.md', /get configmap peerdiscovery-ca/).replace('> ca.crt', `> ${caFile}`);
    expect((await lab.shell(read)).code).to.equal(0);
    proxies = (await podIps('proxy')).map((ip) => `${ip}:6443`);
    expect(proxies).to.have.length(2);
    for (const address of proxies)
      await waitUntil('kubectl to trust the proxy', async () => {
        const { code } = await through(address, caFile, byService, ['get', 'resourceclaims', '-A']);
        return code === 0;
      });
    const [first = ''] = proxies;
    expect((await served(first))?.names).to.contain(`DNS:peerdiscovery-proxy-metrics.${system}.svc`);
  });

  it('renews a certificate, which every proxy serves without a restart and without ending a watch', async () => {
    const [first = ''] = proxies;
    const watch = ['get', 'configmaps', '-n', 'default', '--watch-only', '-o', 'name', '--request-timeout=60s'];
    const watching = through(first, caFile, byService, watch);
    const pids = [...lab.agent.pids().values()];
    const before = await serialsOf(proxies);
    await renew(system, 'peerdiscovery-proxy');
    await waitUntil('the renewed certificate at every proxy', async () => {
      const serials = await serialsOf(proxies);
      return serials.every((serial, index) => serial !== undefined && serial !== before[index]);
    });
    await lab.must(['create', 'configmap', 'after-the-renewal', '-n', 'default']);
    expect((await watching).stdout).to.contain('after-the-renewal');
    expect([...lab.agent.pids().values()], 'no container was started anew').to.deep.equal(pids);
  });

  it('renews its CA so that clients with the old CA continue to work', async () => {
    const secret = ['get', 'secret', 'peerdiscovery-ca', '-n', system, '-o', 'jsonpath={.data.tls\\.crt}'];
    const ca = await lab.must(secret);
    await renew(system, 'peerdiscovery-ca');
    await waitUntil('another CA', async () => (await lab.must(secret)) !== ca);
    await isReady(system, 'peerdiscovery-ca');
    const before = await serialsOf(proxies);
    await renew(system, 'peerdiscovery-proxy');
    await waitUntil('a certificate of the new CA at every proxy', async () => {
      const serials = await serialsOf(proxies);
      return serials.every((serial, index) => serial !== undefined && serial !== before[index]);
    });
    const { code, stderr } = await through(proxies[0] ?? '', caFile, byService, ['get', 'namespaces']);
    expect(code, stderr).to.equal(0);
  });

  it('does not change the applied objects', async () => {
    const { code, stdout } = await lab.kubectl(['diff', '--server-side', '-k', join(lab.folder, 'routing')]);
    expect(code, stdout).to.equal(0);
  });

  it('leaves nothing behind when it is deleted', async () => {
    await lab.must(['delete', '-k', join(lab.folder, 'routing'), '--ignore-not-found', '--wait']);
    const { stdout } = await lab.kubectl(['get', 'namespaces,certificates,issuers,secrets', '-A', '-o', 'name']);
    expect(stdout).not.to.contain('peerdiscovery');
  });

  it('renews before the end, from the chart, for the addresses of the control-plane nodes', async () => {
    const ips = lab.plane.servers.map(({ address }) => address.split(':')[0] ?? '');
    const { cert, key } = lab.plane.frontProxyClient;
    const values = [
      ...['image.repository=localhost/peerdiscovery', 'peerDiscovery.spec.mode=Route', 'proxy.kind=ControlPlaneNodes'],
      ...['certificates.issuer=CertManager', `certificates.controlPlaneAddresses={${ips.join(',')},cp.example.com}`],
    ].map((value) => `--set '${value}'`);
    const helm = await ensureHelm(() => {});
    const script = [
      `kubectl create namespace ${system}`,
      `helm install peerdiscovery charts/peerdiscovery -n ${system} ${values.join(' ')}`,
      `kubectl create secret tls peerdiscovery-front-proxy-client -n ${front} --cert=${cert} --key=${key}`,
      `kubectl rollout status -n ${front} daemonset/peerdiscovery-front-proxy --timeout=120s`,
    ].join('\n');
    const { code, stdout, stderr } = await lab.shell(script, [helm]);
    expect(code, `${stderr}${stdout}`).to.equal(0);
    await isReady(front, 'peerdiscovery-front-proxy');
    const secret = ['get', 'secret', 'peerdiscovery-ca', '-n', front, '-o', 'jsonpath={.data.tls\\.crt}'];
    const frontCa = join(lab.folder, 'front-ca.crt');
    writeFileSync(frontCa, Buffer.from(await lab.must(secret), 'base64'));
    const addresses = ips.map((ip) => `${ip}:7443`);
    for (const address of addresses)
      await waitUntil('kubectl to trust the proxy by its address', async () => {
        const { code: status } = await through(address, frontCa, [], ['get', 'namespaces']);
        return status === 0;
      });
    const [first = ''] = addresses;
    expect((await served(first))?.names).to.contain('DNS:cp.example.com');
    // The shortest times that cert-manager accepts: valid for an hour, renewed half a minute after issue.
    const spec = { duration: '1h', renewBefore: '59m30s' };
    const patch = ['patch', 'certificate', 'peerdiscovery-front-proxy', '-n', front, '--type=merge'];
    await lab.must([...patch, '-p', JSON.stringify({ spec })]);
    await renew(front, 'peerdiscovery-front-proxy');
    const seen = new Set<string>();
    await waitUntil(
      'two renewals',
      async () => {
        const one = await served(first);
        if (one !== undefined) seen.add(one.serial);
        return seen.size >= 4;
      },
      { boundMs: 180_000, everyMs: 1_000 },
    );
  });

  it('refuses by its webhook what it cannot issue, so that the objects above are valid', async () => {
    const spec = { secretName: 'nobody', dnsNames: ['a'], duration: '30m', issuerRef: { name: 'peerdiscovery-ca' } };
    const wrong = { apiVersion: 'cert-manager.io/v1', kind: 'Certificate', metadata: { name: 'wrong' }, spec };
    const { stderr } = await lab.kubectl(['apply', '-n', 'default', '-f', '-'], JSON.stringify(wrong));
    expect(stderr).to.contain('webhook.cert-manager.io').and.to.contain('spec.duration');
  });
});
