import { expect } from 'chai';
import { parseAllDocuments } from 'yaml';
import { ensureHelm } from '../../lab/build/build-go-tool.ts';
import { ensureHelm3 } from '../../lab/others/programs.ts';
import type { Outcome } from '../../lab/plane/control-plane.ts';
import { type DeployPlane, startDeployPlane } from '../../lab/plane/deploy-plane.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import { commandBlock } from '../support/guide-commands.ts';

const system = 'peerdiscovery-system';
const chart = 'charts/peerdiscovery';
const image = 'image.repository=localhost/peerdiscovery';

/** Values that the guides mention. */
const installations = [
  [image],
  [image, 'peerDiscovery.spec.mode=Route', 'proxy.kind=Deployment', 'certificates.issuer=Operator'],
  [image, 'peerDiscovery.spec.mode=Route', 'proxy.kind=ControlPlaneNodes', 'monitoring.enabled=true'],
  [
    image,
    'proxy.kind=Deployment',
    'highAvailability=true',
    'certificates.issuer=CertManager',
    'monitoring.enabled=true',
  ],
] as const;

/** Values that the schema must refuse, with the path in Helm's message. */
const nonsense = [
  ['proxy.kind=Sidecar', '/proxy/kind'],
  ['proxy.replicas=many', '/proxy/replicas'],
  ['peerDiscovery.spec.mode=Sometimes', '/peerDiscovery/spec/mode'],
  ['image.repository=https://registry.example.com/x', '/image/repository'],
  ['certificates.issuer=Nobody', '/certificates/issuer'],
  ['proxi.kind=Deployment', 'proxi'],
] as const;

/** The objects that a Helm version has rendered, in its order. */
const objectsOf = (text: string): readonly unknown[] =>
  parseAllDocuments(text, { version: '1.1' }).flatMap((document) => document.toJS() ?? []);

describe('Helm 3, compared with Helm 4', function () {
  this.timeout(300_000);
  let lab: DeployPlane;
  let helm3: string;
  let helm4: string;

  before(async () => {
    const log = (message: string) => void process.stdout.write(`      … ${message}\n`);
    helm3 = await ensureHelm3(log);
    helm4 = await ensureHelm(log);
    lab = await startDeployPlane(log);
  });

  after(async () => {
    await lab?.stop();
  });

  const sets = (values: readonly string[]) => values.map((value) => `--set '${value}'`).join(' ');
  const by = (folder: string, command: string): Promise<Outcome> => lab.shell(`helm ${command}`, [folder]);

  async function must(script: string): Promise<string> {
    const { code, stdout, stderr } = await lab.shell(script, [helm3]);
    expect(code, `${script}\n${stderr}${stdout}`).to.equal(0);
    return stdout;
  }

  it('is not the Helm that the other tests run', async () => {
    expect((await by(helm3, 'version --template "{{.Version}}"')).stdout).to.match(/^v3\./);
    expect((await by(helm4, 'version --template "{{.Version}}"')).stdout).to.match(/^v4\./);
  });

  for (const values of installations) {
    it(`lints without a warning, and renders as Helm 4 does: ${values.slice(1).join(', ') || 'the defaults'}`, async () => {
      for (const folder of [helm3, helm4]) {
        const { code, stdout, stderr } = await by(folder, `lint --strict ${chart} ${sets(values)}`);
        expect(code, `${stdout}${stderr}`).to.equal(0);
        expect(stdout).not.to.match(/\[(WARNING|ERROR)\]/);
      }
      const template = `template pd ${chart} -n ${system} --include-crds --kube-version 1.36.0 ${sets(values)}`;
      const [three, four] = await Promise.all([by(helm3, template), by(helm4, template)]);
      expect(three.code, three.stderr).to.equal(0);
      expect(objectsOf(three.stdout)).to.deep.equal(objectsOf(four.stdout));
    });
  }

  for (const [value, path] of nonsense)
    it(`refuses ${value}, as Helm 4 does, and names it`, async () => {
      for (const folder of [helm3, helm4])
        for (const command of [`lint --strict ${chart}`, `install pd ${chart}`]) {
          const { code, stdout, stderr } = await by(folder, `${command} ${sets([image, value])}`);
          expect(code, command).not.to.equal(0);
          expect(`${stdout}${stderr}`, command).to.contain(path);
        }
      expect((await by(helm3, 'list --all --short')).stdout).to.equal('');
    });

  const mode = () => lab.must(['get', 'pd', 'cluster', '-o', 'jsonpath={.spec.mode}']);
  const revisions = async (): Promise<readonly { status: string; description: string }[]> =>
    JSON.parse(await must(`helm history peerdiscovery -n ${system} -o json`));

  it('installs with the exact commands of the guide', async () => {
    await must(commandBlock('install.md', /^helm install/m));
    await must(commandBlock('install.md', /--for=condition=Ready/));
    expect(await mode()).to.equal('Observe');
  });

  it('upgrades to proxies, and again with the command of the guide, which keeps the values', async () => {
    const [, route] = installations;
    await must(`helm upgrade peerdiscovery ${chart} -n ${system} --wait --timeout 120s ${sets(route)}`);
    expect(await mode()).to.equal('Route');
    await must(commandBlock('crd-upgrade.md', /helm show crds/));
    await must(commandBlock('upgrade.md', /helm upgrade/));
    await lab.must(['rollout', 'status', '-n', system, 'deployment/peerdiscovery-proxy', '--timeout=120s']);
    await lab.must(['wait', '--for=condition=Ready', 'peerdiscovery/cluster', '--timeout=60s']);
    expect(await mode()).to.equal('Route');
  });

  it('ignores changes of the status: an upgrade with the same values changes no object', async () => {
    const generations = async () =>
      lab.must([
        ...['get', 'deployments,peerdiscoveries', '-A', '-o'],
        'jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.generation}{"\\n"}{end}',
      ]);
    const before = await generations();
    await must(commandBlock('upgrade.md', /helm upgrade/));
    expect(await generations()).to.equal(before);
  });

  it('rolls back with the command of the guide, without the flag that it does not know, and keeps a patched mode', async () => {
    await must(`helm upgrade peerdiscovery ${chart} -n ${system} --wait --reuse-values --set proxy.replicas=3`);
    await must(commandBlock('rollback-uninstall.md', /"mode":"Observe"/));
    const block = commandBlock('rollback-uninstall.md', /helm rollback/);
    expect(block).to.contain(' --force-conflicts');
    await must(block.replace(' --force-conflicts', ''));
    const replicas = ['get', 'deployment', 'peerdiscovery-proxy', '-n', system, '-o', 'jsonpath={.spec.replicas}'];
    expect(await lab.must(replicas)).to.equal('2');
    const last = (await revisions()).at(-1);
    expect(last).to.include({ status: 'deployed' });
    expect(last?.description).to.contain('Rollback');
    // For a custom resource, Helm 3 compares the manifests of two releases, not the live object.
    expect(await mode()).to.equal('Observe');
  });

  it('uninstalls with the commands of the guide, and leaves nothing', async () => {
    await must(commandBlock('rollback-uninstall.md', /^helm uninstall peerdiscovery -n/m));
    let left = '';
    await waitUntil(
      'nothing to be left',
      async () => {
        const kinds = 'namespaces,crds,clusterroles,clusterrolebindings,deployments,configmaps,secrets,leases';
        left = await lab.must(['get', kinds, '-A', '-o', 'name']);
        return !left.includes('peerdiscovery');
      },
      { seen: () => left },
    );
  });
});
