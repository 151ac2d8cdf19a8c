import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { expect } from 'chai';
import { parseAllDocuments } from 'yaml';
import { ensureModuleFiles, foreignDefinitions } from '../../lab/others/module-files.ts';
import type { ApiObject } from '../../lab/others/validate-object.ts';
import { type ControlPlane, type Outcome, startControlPlane } from '../../lab/plane/control-plane.ts';
import { waitForDefinitions } from '../../lab/plane/wait-for-definitions.ts';
import { repository } from '../../lab/repository.ts';

/** The fields of Flux's Kustomization and Argo CD's Application that say what is built. */
interface GitOpsObject extends ApiObject {
  readonly spec: {
    readonly path?: string;
    readonly components?: readonly string[];
    readonly images?: readonly object[];
    readonly source?: {
      readonly path: string;
      readonly kustomize: { readonly components: readonly string[]; readonly images: readonly string[] };
    };
  };
}

const examples = join(repository, 'examples/gitops');
const documentsOf = <T>(text: string) => parseAllDocuments(text).map((document) => document.toJS() as T);
const readExample = (name: string) => documentsOf<GitOpsObject>(readFileSync(join(examples, name), 'utf8'));
const nameOf = ({ kind, metadata }: ApiObject & { metadata: { readonly namespace?: string } }) =>
  `${kind} ${metadata.namespace ?? ''}/${metadata.name}`;

describe('shipped objects of third-party kinds, on a real API server with their definitions', function () {
  this.timeout(240_000);
  let plane: ControlPlane;
  let folder: string;
  let kubeconfig: string;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-foreign-'));
    const log = (message: string) => void process.stdout.write(`      … ${message}\n`);
    plane = await startControlPlane({ servers: [{ name: 'one', version: '1.36' }], log });
    kubeconfig = plane.kubeconfig({ server: plane.server('one').url, token: plane.tokens.admin, name: 'admin' });
    for (const files of foreignDefinitions) {
      const definitions = await ensureModuleFiles(files, log);
      // Argo CD's definitions are in a kustomization with nothing else.
      const how = files.module.includes('argo-cd') ? '-k' : '-f';
      await must(['apply', '--server-side', how, definitions]);
    }
    await must(['apply', '--server-side', '-k', join(repository, 'config/base')]);
    await waitForDefinitions(kubectl);
    for (const namespace of ['flux-system', 'argocd', 'peerdiscovery-front-proxy'])
      await must(['create', 'namespace', namespace]);
  });

  after(async () => {
    await plane?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const kubectl = (args: readonly string[], input?: string): Promise<Outcome> =>
    plane.exec('kubectl', ['--kubeconfig', kubeconfig, ...args], input === undefined ? {} : { input });

  async function must(args: readonly string[], input?: string): Promise<string> {
    const { code, stdout, stderr } = await kubectl(args, input);
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')} ended with ${code}: ${stderr}${stdout}`);
    return stdout;
  }

  /** The object has no unknown field, no value out of range, breaks no rule, and causes no warning. */
  async function expectAccepted(objects: readonly ApiObject[]): Promise<void> {
    expect(objects).not.to.deep.equal([]);
    const strict = ['apply', '--dry-run=server', '--validate=strict', '--warnings-as-errors', '-f', '-'];
    const { code, stderr } = await kubectl(strict, objects.map((object) => JSON.stringify(object)).join('\n---\n'));
    expect(code, stderr).to.equal(0);
  }

  async function build(path: string, components: readonly string[], images: readonly object[]): Promise<ApiObject[]> {
    const from = (absolute: string) => relative(folder, absolute);
    const kustomization = {
      resources: [from(join(repository, path))],
      components: components.map((component) => from(join(repository, path, component))),
      images,
    };
    writeFileSync(join(folder, 'kustomization.yaml'), JSON.stringify(kustomization));
    return documentsOf<ApiObject>(await must(['kustomize', folder]));
  }

  for (const [who, overlay, components, group] of [
    ['cert-manager', 'routing', ['components/cert-manager'], /^cert-manager\.io\//],
    [
      'cert-manager, for the nodes',
      'control-plane',
      ['components/cert-manager', 'components/cert-manager/front-proxy'],
      /^cert-manager\.io\//,
    ],
    ['the Prometheus Operator', 'routing', ['monitoring'], /^monitoring\.coreos\.com\//],
    [
      'the Prometheus Operator, for the nodes',
      'control-plane',
      ['monitoring', 'monitoring/front-proxy'],
      /^monitoring\.coreos\.com\//,
    ],
  ] as const)
    it(`are accepted by ${who}`, async () => {
      const built = await build(
        `config/overlays/${overlay}`,
        components.map((component) => `../../${component}`),
        [],
      );
      await expectAccepted(built.filter(({ apiVersion }) => group.test(apiVersion)));
    });

  for (const example of ['flux-kustomization.yaml', 'flux-helm-release.yaml'])
    it(`are accepted by Flux: ${example}`, () => expectAccepted(readExample(example)));

  it('are accepted by Argo CD', () => expectAccepted(readExample('argocd-application.yaml')));

  it('are refused if a field is misspelt, so that the tests above mean something', async () => {
    const [application] = readExample('argocd-application.yaml');
    const wrong = { ...application, spec: { ...application?.spec, destinatoin: {} } };
    const { stderr } = await kubectl(
      ['apply', '--dry-run=server', '--validate=strict', '-f', '-'],
      JSON.stringify(wrong),
    );
    expect(stderr).to.contain('spec.destinatoin');
  });

  it('have Flux build objects that the API server accepts, each by one Kustomization alone', async () => {
    const kustomizations = readExample('flux-kustomization.yaml').filter(({ kind }) => kind === 'Kustomization');
    const owners = new Map<string, string>();
    for (const { metadata, spec } of kustomizations) {
      // Objects that need a new API are the user's own.
      if (spec.path === undefined || spec.path.startsWith('./apps/')) continue;
      const built = await build(spec.path, spec.components ?? [], spec.images ?? []);
      await expectAccepted(built.filter(({ apiVersion }) => !apiVersion.startsWith('apiextensions')));
      for (const object of built) {
        expect(owners.get(nameOf(object)), `${nameOf(object)} is applied twice`).to.equal(undefined);
        owners.set(nameOf(object), metadata.name);
      }
    }
    expect([...new Set(owners.values())]).to.deep.equal(['peerdiscovery', 'peerdiscovery-converged']);
  });

  it('have Argo CD build the same objects as Flux', async () => {
    const [application] = readExample('argocd-application.yaml');
    const flux = readExample('flux-kustomization.yaml').find(({ metadata }) => metadata.name === 'peerdiscovery');
    const { path = '', kustomize } = application?.spec.source ?? {};
    const images = (kustomize?.images ?? []).map((image) => {
      const [, name, newName, newTag] = /^(.+)=(.+):(.+)$/.exec(image) ?? [];
      return { name, newName, newTag };
    });
    const byArgo = await build(path, kustomize?.components ?? [], images);
    const byFlux = await build(flux?.spec.path ?? '', flux?.spec.components ?? [], flux?.spec.images ?? []);
    expect(byArgo).to.deep.equal(byFlux);
    expect(JSON.stringify(byArgo)).to.contain('registry.example.com/peerdiscovery:0.1.0').and.not.contain('localhost/');
  });
});
