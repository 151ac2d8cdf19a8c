import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { ensureHelm } from '../../lab/build/build-go-tool.ts';
import { type ControlPlane, startControlPlane } from '../../lab/plane/control-plane.ts';
import { waitForDefinitions } from '../../lab/plane/wait-for-definitions.ts';
import { buildRelease } from '../../scripts/build-release.ts';

const image = 'registry.example.com/mine/peerdiscovery:1.2.3';
const images = 'jsonpath={.items[*].spec.template.spec.containers[*].image}';
const log = (message: string) => void process.stdout.write(`      … ${message}\n`);

describe('the files of a release, on a real kube-apiserver', function () {
  this.timeout(1_200_000);
  const folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-release-'));
  const release = join(folder, 'release');
  let plane: ControlPlane;
  let kubeconfig: string;

  before(async () => {
    const addresses = { downloads: 'https://example.com/', docs: 'https://example.com/docs/' };
    const options = { version: '0.1.0', image, ...addresses, date: '2026-01-01T00:00:00Z', log };
    await buildRelease(release, { ...options, platforms: ['darwin'] });
    plane = await startControlPlane({ servers: [{ name: 'one', version: '1.36' }], log });
    kubeconfig = plane.kubeconfig({ server: plane.server('one').url, token: plane.tokens.admin, name: 'one' });
  });

  after(async () => {
    await plane?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  async function must(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await plane.exec('kubectl', ['--kubeconfig', kubeconfig, ...args]);
    expect(code, `kubectl ${args.join(' ')}: ${stderr}${stdout}`).to.equal(0);
    return stdout;
  }

  const read = (name: string) => readFileSync(join(release, name));

  it('are complete, each with its checksum', () => {
    const sums = read('SHA256SUMS').toString().trimEnd().split('\n');
    const names = readdirSync(release).filter((name) => name !== 'SHA256SUMS');
    expect(sums).to.have.members(
      names.map((name) => `${createHash('sha256').update(read(name)).digest('hex')}  ${name}`),
    );
    expect(names).to.include.members([
      ...['install.yaml', 'observe.yaml', 'routing.yaml', 'high-availability.yaml', 'control-plane.yaml'],
      ...['peerdiscovery-chart-0.1.0.tgz', 'peerdiscovery-npm-0.1.0.tgz', 'peerdiscovery.yaml'],
      ...['kubectl-peerdiscovery-darwin.tar.gz', 'sbom.cdx.json', 'sbom.spdx.json', 'NOTES.md'],
    ]);
    expect(names.filter((name) => /^peerdiscovery-0\.1\.0-linux-\w+\.oci\.tar$/.test(name))).to.have.length(1);
    expect(read('NOTES.md').toString()).to.match(/^# PeerDiscovery 0\.1\.0\n/);
  });

  it('install the described objects from the chart with helm', async () => {
    const helm = join(await ensureHelm(log), 'helm');
    const chart = join(release, 'peerdiscovery-chart-0.1.0.tgz');
    const flags = ['--kubeconfig', kubeconfig, '--namespace', 'default'];
    const run = async (...args: readonly string[]) => {
      const { code, stdout, stderr } = await plane.exec(helm, [...args, ...flags]);
      expect(code, `helm ${args.join(' ')}: ${stderr}`).to.equal(0);
      return stdout;
    };
    await run('install', 'peerdiscovery', chart);
    expect(await imageIn('default')).to.equal(image);
    const rules = await run('template', 'peerdiscovery', chart, '--set', 'monitoring.enabled=true');
    expect(rules).to.contain('runbook_url: https://example.com/docs/runbooks/peer-stale.md');
    expect(rules).not.to.contain('runbook: ');
    await run('uninstall', 'peerdiscovery');
    await must('delete', 'crd', 'peerdiscoveries.peerdiscovery.dev');
  });

  it('install the described objects with kubectl', async () => {
    await must('apply', '-f', join(release, 'install.yaml'));
    await waitForDefinitions((args) => plane.exec('kubectl', ['--kubeconfig', kubeconfig, ...args]));
    await must('apply', '-f', join(release, 'observe.yaml'));
    expect(await imageIn('peerdiscovery-system')).to.equal(image);
    expect(await must('get', 'peerdiscovery', 'cluster', '-o', 'jsonpath={.spec.mode}')).to.equal('Observe');
    for (const overlay of ['routing', 'high-availability', 'control-plane'])
      expect(await must('apply', '-f', join(release, `${overlay}.yaml`))).to.contain('/peerdiscovery-operator ');
    expect(await must('get', 'daemonset,deployment', '-A', '-o', images)).to.equal(Array(3).fill(image).join(' '));
  });

  const imageIn = (namespace: string) =>
    must(
      ...['get', 'deployment', 'peerdiscovery-operator', '-n', namespace],
      ...['-o', 'jsonpath={.spec.template.spec.containers[0].image}'],
    );
});
