import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { expect } from 'chai';
import { parseAllDocuments } from 'yaml';
import { ensureControlPlane } from '../../lab/build/build-control-plane.ts';
import { ensureHelm } from '../../lab/build/build-go-tool.ts';
import { ensureModuleFiles, openApiOf, releases } from '../../lab/others/module-files.ts';
import { type ApiObject, createValidator } from '../../lab/others/validate-object.ts';
import { repository } from '../../lab/repository.ts';

const overlays = ['observe-only', 'routing', 'high-availability', 'control-plane'] as const;
const issuers = ['self-issued', 'cert-manager'] as const;
/** Third-party objects, whose CustomResourceDefinitions are not Kubernetes' own. */
const foreign = /^(cert-manager\.io|monitoring\.coreos\.com|peerdiscovery\.dev)\//;

const everything = [
  ...['image.repository=localhost/peerdiscovery', 'monitoring.enabled=true', 'peerDiscovery.spec.mode=Route'],
  ...['certificates.issuer=CertManager', 'highAvailability=true', 'operator.replicas=3', 'proxy.replicas=3'],
];
const valuesOf: Readonly<Record<string, readonly string[]>> = {
  'with the defaults': ['image.repository=localhost/peerdiscovery'],
  'with proxies behind a Service': [...everything, 'proxy.kind=Deployment', 'proxy.impersonation=true'],
  'with proxies on the nodes': [
    ...everything,
    ...['proxy.kind=ControlPlaneNodes', 'certificates.controlPlaneAddresses={10.0.0.1,cp.example.com}'],
  ],
};

describe('the manifests, for each supported version of Kubernetes', function () {
  this.timeout(240_000);
  const log = (message: string) => void process.stdout.write(`      … ${message}\n`);
  let folder: string;
  let kubectl: string;
  let helm: string;
  /** Every object that the overlays with their components, and the chart with its values, render, by its origin. */
  const rendered = new Map<string, readonly ApiObject[]>();

  function run(command: string, args: readonly string[]): { code: number; stdout: string; stderr: string } {
    const { status, stdout, stderr } = spawnSync(command, args, { cwd: repository, encoding: 'utf8' });
    return { code: status ?? 1, stdout, stderr };
  }

  function must(command: string, args: readonly string[]): string {
    const { code, stdout, stderr } = run(command, args);
    if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}: ${stderr}`);
    return stdout;
  }

  const objectsOf = (text: string) =>
    parseAllDocuments(text).flatMap((document) => (document.toJS() as ApiObject | null) ?? []);
  const sets = (values: readonly string[]) => values.flatMap((value) => ['--set', value]);

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-manifests-'));
    kubectl = join((await ensureControlPlane({ versions: ['1.36'], log }))['1.36'] ?? '', 'kubectl');
    helm = join(await ensureHelm(log), 'helm');
    const from = (path: string) => relative(folder, join(repository, 'config', path));
    for (const overlay of overlays)
      for (const issuer of issuers) {
        const front = overlay === 'control-plane';
        const also = (path: string) => (front ? [path, `${path}/front-proxy`] : [path]);
        const impersonation = overlay === 'routing' ? ['components/impersonation'] : [];
        const components = [...also('monitoring'), ...also(`components/${issuer}`), ...impersonation].map(from);
        const kustomization = { resources: [from(`overlays/${overlay}`)], components };
        writeFileSync(join(folder, 'kustomization.yaml'), JSON.stringify(kustomization));
        rendered.set(`overlay ${overlay}, ${issuer}`, objectsOf(must(kubectl, ['kustomize', folder])));
      }
    for (const [name, values] of Object.entries(valuesOf)) {
      const args = ['template', 'pd', 'charts/peerdiscovery', '-n', 'peerdiscovery-system', '--include-crds'];
      rendered.set(`chart ${name}`, objectsOf(must(helm, [...args, ...sets(values)])));
    }
  });

  after(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  for (const release of releases)
    it(`have no field and no kind that Kubernetes ${release} does not know`, async () => {
      const validate = createValidator(await ensureModuleFiles(openApiOf(release), log));
      const problems = [...rendered].flatMap(([name, objects]) =>
        objects
          .filter(({ apiVersion }) => !foreign.test(apiVersion))
          .flatMap((object) =>
            validate(object).map((problem) => `${name}: ${object.kind}/${object.metadata.name}${problem}`),
          ),
      );
      expect([...rendered.values()].flat().length).to.be.greaterThan(200);
      expect(problems).to.deep.equal([]);
    });

  it('would fail with a field of a later version, or a misspelt field', async () => {
    const validate = createValidator(await ensureModuleFiles(openApiOf('1.27.16'), log));
    const [first] = rendered.values();
    const deployment = JSON.parse(JSON.stringify(first?.find(({ kind }) => kind === 'Deployment')));
    deployment.spec.template.spec.containers[0].restartPolicyRules = [];
    deployment.spec.replica = 1;
    expect(validate(deployment)).to.deep.equal([
      '.spec.template.spec.containers[0].restartPolicyRules: is not known',
      '.spec.replica: is not known',
    ]);
  });

  for (const [name, values] of Object.entries(valuesOf))
    it(`pass helm lint --strict ${name}`, () => {
      const { code, stdout, stderr } = run(helm, ['lint', '--strict', 'charts/peerdiscovery', ...sets(values)]);
      expect(code, stdout + stderr).to.equal(0);
      expect(stdout).to.contain('0 chart(s) failed');
    });

  for (const [what, value, field] of [
    ['a value of another type', 'operator.replicas=many', '/operator/replicas'],
    ['a value that is not known', 'proxy.replica=3', "'replica'"],
    ['a kind of proxy that does not exist', 'proxy.kind=Sidecar', '/proxy/kind'],
    ['an issuer that does not exist', 'certificates.issuer=Nobody', '/certificates/issuer'],
    ['a mode that does not exist', 'peerDiscovery.spec.mode=Guess', '/peerDiscovery/spec/mode'],
    ['a list where text belongs', 'image.repository={a,b}', '/image/repository'],
  ] as const)
    it(`refuse ${what} by the chart's schema`, () => {
      const args = ['template', 'pd', 'charts/peerdiscovery', '--set', 'image.repository=x', '--set', value];
      const { code, stderr } = run(helm, args);
      expect(code).not.to.equal(0);
      expect(stderr).to.contain(field);
    });
});
