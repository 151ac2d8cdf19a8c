import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect } from 'chai';
import { parseAllDocuments } from 'yaml';
import { ensureHelm } from '../../lab/build-go-tool.ts';
import { repository } from '../../lab/deploy-plane.ts';

interface RenderedObject {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
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

  /** The objects of a release; throws with Helm's message where it refuses. */
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
          const values = [...proxy, `certificates.issuer=${issuer}`, 'monitoring.enabled=true'];
          const names = render(namespace, ...values).map(
            ({ kind, metadata }) => `${kind} ${metadata.namespace ?? ''}/${metadata.name}`,
          );
          expect(
            names.filter((name, index) => names.indexOf(name) !== index),
            values.join(),
          ).to.deep.equal([]);
        }
    });

  it('does not go into the namespace that it makes for the front proxies', () => {
    const namespace = 'peerdiscovery-front-proxy';
    expect(() => render(namespace, 'proxy.kind=ControlPlaneNodes')).to.throw(/install the release into another one/);
    expect(render(namespace)).to.have.length.greaterThan(10);
  });
});
