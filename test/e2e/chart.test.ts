import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import type { V1PodSpec } from '@kubernetes/client-node';
import { expect } from 'chai';
import { parseAllDocuments } from 'yaml';
import { ensureHelm } from '../../lab/build/build-go-tool.ts';
import { repository } from '../../lab/repository.ts';

interface Metadata {
  readonly name: string;
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

interface RenderedObject {
  readonly kind: string;
  readonly metadata: Metadata;
  readonly spec?: {
    readonly type?: string;
    readonly template?: { readonly metadata: Metadata; readonly spec: V1PodSpec };
  };
}

describe('what the chart renders', function () {
  this.timeout(600_000);
  let helm: string;

  before(async () => {
    helm = join(await ensureHelm((message) => void process.stdout.write(`      … ${message}\n`)), 'helm');
  });

  const image = 'image.repository=localhost/peerdiscovery';

  function template(namespace: string, ...values: readonly string[]) {
    const sets = values.flatMap((value) => ['--set', value]);
    const args = ['template', 'pd', join(repository, 'charts/peerdiscovery'), '--namespace', namespace, ...sets];
    return spawnSync(helm, args, { encoding: 'utf8' });
  }

  /** The objects of a release. Throws with Helm's message if Helm refuses. */
  function render(namespace: string, ...values: readonly string[]): readonly RenderedObject[] {
    const { status, stdout, stderr } = template(namespace, image, ...values);
    if (status !== 0) throw new Error(stderr);
    return parseAllDocuments(stdout, { version: '1.1' }).flatMap((document) => document.toJS() ?? []);
  }

  it('is refused without an image, with the two cures', () => {
    const { status, stderr } = template('default');
    expect(status).to.equal(1);
    expect(stderr).to.contain('image.repository is not set').and.to.contain('make image load');
    expect(stderr).to.contain('--set image.repository=localhost/peerdiscovery').and.to.contain('registry');
  });

  it('is refused with an image or a name that no cluster can have, and the error names the value', () => {
    const wrong = [
      ...['https://registry.example.com/x', 'registry.example.com/X', 'a b/c', 'registry.example.com/', '-/x'].map(
        (repository) => ['/image/repository', `image.repository=${repository}`],
      ),
      ['/proxy/tlsSecretName', image, 'proxy.tlsSecretName=A_B'],
      ['/proxy/routingTable', image, 'proxy.routingTable=-a'],
    ];
    for (const [value = '', ...values] of wrong) {
      const { status, stderr } = template('default', ...values);
      expect(status, values.join()).to.equal(1);
      expect(stderr, values.join()).to.contain(`at '${value}'`);
    }
    for (const repository of [
      'x',
      'localhost/x',
      'registry.example.com:5000/a/b-c__d.e',
      '[fd00::1]:5000/a',
      '10.0.0.1/a',
    ])
      expect(render('default', `image.repository=${repository}`), repository).not.to.have.length(0);
  });

  const proxies = [
    ['proxy.kind=None'],
    ['proxy.kind=Deployment'],
    ['proxy.kind=Deployment', 'proxy.impersonation=true'],
    ['proxy.kind=ControlPlaneNodes'],
  ];
  for (const namespace of ['default', 'kube-system', 'kube-public', 'elsewhere'])
    it(`has no two objects of one name in the namespace ${namespace}`, () => {
      for (const proxy of proxies)
        for (const issuer of ['Secret', 'Operator', 'CertManager']) {
          const addresses = 'certificates.controlPlaneAddresses={10.0.0.11}';
          const values = [...proxy, `certificates.issuer=${issuer}`, 'monitoring.enabled=true', addresses];
          const names = render(namespace, ...values).map(
            ({ kind, metadata }) => `${kind} ${metadata.namespace ?? ''}/${metadata.name}`,
          );
          expect(
            names.filter((name, index) => names.indexOf(name) !== index),
            values.join(),
          ).to.deep.equal([]);
        }
    });

  it('has a certificate in the namespace of the proxies, whoever issues it', () => {
    const front = ['proxy.kind=ControlPlaneNodes', 'certificates.issuer=CertManager'];
    expect(() => render('default', ...front)).to.throw(/certificates.controlPlaneAddresses/);
    const objects = render('default', ...front, 'certificates.controlPlaneAddresses={10.0.0.11,fd00::11,cp-1}');
    const certificates = objects.filter(
      ({ kind, metadata }) => kind === 'Certificate' && metadata.namespace === 'peerdiscovery-front-proxy',
    );
    const [own] = certificates.filter(({ metadata }) => metadata.name === 'peerdiscovery-front-proxy');
    expect(own?.spec).to.deep.include({
      secretName: 'peerdiscovery-proxy-tls',
      dnsNames: ['cp-1'],
      ipAddresses: ['10.0.0.11', 'fd00::11'],
    });
    const issuers = objects.filter(
      ({ kind, metadata }) => kind === 'Issuer' && metadata.namespace === 'peerdiscovery-front-proxy',
    );
    expect(issuers.map(({ metadata }) => metadata.name)).to.have.members([
      'peerdiscovery-ca',
      'peerdiscovery-self-signed',
    ]);
  });

  const digest = `sha256:${'a'.repeat(64)}`;
  const images: readonly (readonly [values: readonly string[], image: string])[] = [
    [[], 'localhost/peerdiscovery:0.1.0'],
    [['image.tag=v2'], 'localhost/peerdiscovery:v2'],
    [[`image.digest=${digest}`], `localhost/peerdiscovery@${digest}`],
    [[`image.digest=${digest}`, 'image.tag=v2'], `localhost/peerdiscovery@${digest}`],
    [['image.repository=registry:5000/pd'], 'registry:5000/pd:0.1.0'],
    [[`image.repository=registry:5000/pd@${digest}`], `registry:5000/pd@${digest}`],
  ];
  for (const [values, expected] of images)
    it(`names the image ${expected} with ${values.join(', ') || 'the defaults'}`, () => {
      const [operator] = render('default', ...values).filter(({ kind }) => kind === 'Deployment');
      expect(operator?.spec?.template?.spec.containers[0]?.image).to.equal(expected);
    });

  for (const part of ['operator', 'proxy'])
    it(`merges the Pod values over ${part}, and keeps the selectors`, () => {
      const settings = [
        ...['nodeSelector.disk=ssd', 'tolerations[0].operator=Exists', 'priorityClassName=high', 'podLabels.team=a'],
        ...['podLabels.app\\.kubernetes\\.io/name=other', 'podAnnotations.note=b', 'extraEnv[0].name=NO_COLOR'],
        ...['extraEnv[0].value=yes', 'affinity.nodeAffinity.a=b'],
      ];
      const values = ['proxy.kind=Deployment', ...settings.map((setting) => `${part}.${setting}`)];
      const deployments = render('default', ...values).filter(({ kind }) => kind === 'Deployment');
      const template = deployments.find(({ metadata }) => metadata.name === `peerdiscovery-${part}`)?.spec?.template;
      expect(template?.metadata.labels).to.deep.include({ team: 'a', 'app.kubernetes.io/name': 'peerdiscovery' });
      expect(template?.metadata.annotations).to.include({ note: 'b', 'kubectl.kubernetes.io/default-container': part });
      expect(template?.spec).to.deep.include({
        nodeSelector: { disk: 'ssd' },
        tolerations: [{ operator: 'Exists' }],
        priorityClassName: 'high',
        affinity: { nodeAffinity: { a: 'b' } },
      });
      expect(template?.spec.containers[0]?.env).to.deep.include({ name: 'NO_COLOR', value: 'yes' });
    });

  it('keeps proxies of control-plane nodes on these nodes, whatever other labels a node must have', () => {
    const values = ['proxy.kind=ControlPlaneNodes', 'proxy.nodeSelector.disk=ssd'];
    const [daemonSet] = render('default', ...values).filter(({ kind }) => kind === 'DaemonSet');
    expect(daemonSet?.spec?.template?.spec.nodeSelector).to.deep.equal({
      disk: 'ssd',
      'node-role.kubernetes.io/control-plane': '',
    });
  });

  it('gives the Service of the proxies its type and annotations', () => {
    const values = ['proxy.kind=Deployment', 'proxy.service.type=LoadBalancer', 'proxy.service.annotations.a=b'];
    const service = render('default', ...values).find(
      ({ kind, metadata }) => kind === 'Service' && metadata.name === 'peerdiscovery-proxy',
    );
    expect(service?.spec?.type).to.equal('LoadBalancer');
    expect(service?.metadata.annotations).to.deep.equal({ a: 'b' });
  });

  const nonsense = [
    ...['image.tag=a@b', 'image.digest=abc', 'image.repository=a/b:1', 'image.other=1', 'proxy.service.type=Sidecar'],
    ...['proxy.tolerations[0].effect=Never', 'operator.podLabels.a.b=c', 'operator.extraEnv[0].value=x'],
    ...['proxy.affinity.nodes.a=b', 'operator.replicas=0', 'operator.nodeSelector.a=1', 'certificates.issuer=Me'],
    ...['proxy.kind=Sidecar', 'operator.service.type=ClusterIP'],
  ];
  for (const value of nonsense)
    it(`refuses ${value}, and names it`, () => {
      const name = value.split(/[.=[]/)[1] ?? '';
      expect(() => render('default', value)).to.throw(name);
    });

  it('lets users who may view the cluster view PeerDiscovery, and permits changes only on request', () => {
    const roles = render('default').filter(({ metadata }) => /^peerdiscovery-(view|edit)$/.test(metadata.name));
    expect(Object.fromEntries(roles.map(({ metadata }) => [metadata.name, metadata.labels ?? {}]))).to.deep.equal({
      'peerdiscovery-view': { 'rbac.authorization.k8s.io/aggregate-to-view': 'true' },
      'peerdiscovery-edit': {},
    });
  });

  it('does not install into the namespace that it creates for the front proxies', () => {
    const namespace = 'peerdiscovery-front-proxy';
    expect(() => render(namespace, 'proxy.kind=ControlPlaneNodes')).to.throw(/install the release into another one/);
    expect(render(namespace)).to.have.length.greaterThan(10);
  });
});
