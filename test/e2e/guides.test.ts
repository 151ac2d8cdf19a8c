import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { parse, stringify } from 'yaml';
import { ensureControlPlane } from '../../lab/build/build-control-plane.ts';
import { type MixedPlane, startMixedPlane } from '../../lab/plane/mixed-plane.ts';
import { repository } from '../../lab/repository.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import { commandBlock } from '../support/guide-commands.ts';

const readme = '../../README.md';

describe('the commands of the guides that need an API server, but no Pods', function () {
  this.timeout(300_000);
  let mixed: MixedPlane;
  let folder: string;
  let kubectlFolder: string;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-guides-'));
    const log = (message: string) => void process.stdout.write(`      … ${message}\n`);
    kubectlFolder = (await ensureControlPlane({ versions: ['1.36'], log }))['1.36'] ?? '';
    mixed = await startMixedPlane({ servers: [{ name: 'one', version: '1.36' }], home: 'one', log });
    const program = join(folder, 'bin/kubectl-peerdiscovery');
    const source = join(repository, 'src/bin/kubectl-peerdiscovery.ts');
    mkdirSync(dirname(program));
    writeFileSync(program, `#!/bin/sh\nexec '${process.execPath}' '${source}' "$@"\n`);
    chmodSync(program, 0o755);
    mixed.startOperator();
    const table = ['get', 'pd', 'cluster', '-o', 'jsonpath={.status.routingTable.name}'];
    await waitUntil('the operator', async () => (await mixed.kubectl('one', table)).stdout !== '');
  });

  after(async () => {
    await mixed?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Runs a block as an administrator would, in a folder with `files` at the paths of a control-plane node. */
  async function runBlock(
    guide: string,
    pattern: RegExp,
    files: Readonly<Record<string, string>> = {},
  ): Promise<string> {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      writeFileSync(join(folder, name), text);
    }
    const block = commandBlock(guide, pattern).replaceAll(/\/(?=etc\/kubernetes\/|root\/)/g, `${folder}/`);
    const settings = [
      `export KUBECONFIG='${mixed.kubeconfigOf('one')}' HOME='${folder}'`,
      `export PATH='${folder}/bin:${kubectlFolder}':"$PATH"`,
      `cd '${folder}'`,
    ];
    const script = [...settings, block].join('\n');
    const { code, stdout, stderr } = await mixed.plane.exec('bash', ['-euo', 'pipefail', '-c', script]);
    expect(code, `${guide}:\n${block}${stderr}${stdout}`).to.equal(0);
    return stdout;
  }

  async function may(user: string, ...what: readonly string[]): Promise<boolean> {
    const { stdout } = await mixed.kubectl('one', ['auth', 'can-i', ...what, `--as=${user}`]);
    return stdout.trim() === 'yes';
  }

  it('wait until everything is ready and converged', async () => {
    await runBlock('install.md', /--for=condition=Ready/);
    await runBlock(readme, /--for=condition=Converged/);
    await runBlock('../reference/peer-discovery.md', /--for=condition=Converged/);
  });

  it('show the routing table', async () => {
    const shown = await runBlock('../reference/routing-table.md', /kubectl peerdiscovery table/);
    expect(shown)
      .to.contain('Routing table of cluster')
      .and.match(/^peerdiscovery-cluster /m);
  });

  it('issue and export certificates', async () => {
    const pair = mixed.plane.issueServingCert('guide', ['localhost'], ['127.0.0.1']);
    const [cert, key] = [readFileSync(pair.cert, 'utf8'), readFileSync(pair.key, 'utf8')];
    const files = { 'tls.crt': cert, 'tls.key': key, 'ca.crt': cert };
    await runBlock('certificates.md', /create secret tls peerdiscovery-proxy-tls/, files);
    await mixed.kubectl('one', ['create', 'namespace', 'peerdiscovery-front-proxy']);
    await runBlock('install.md', /create secret tls peerdiscovery-front-proxy-client/, {
      'etc/kubernetes/pki/front-proxy-client.crt': cert,
      'etc/kubernetes/pki/front-proxy-client.key': key,
    });
  });

  it('let kube-controller-manager of a kubeadm node use the proxy, trust its certificate, and go back', async () => {
    const ca = readFileSync(mixed.plane.caFile, 'utf8');
    const cluster = {
      server: 'https://10.0.0.11:6443',
      'certificate-authority-data': Buffer.from(ca).toString('base64'),
    };
    const kubeconfig = { apiVersion: 'v1', kind: 'Config', clusters: [{ name: 'kubernetes', cluster }] };
    const path = 'etc/kubernetes/controller-manager.conf';
    const stopped = join(folder, 'stopped');
    // There is no container runtime here. This replacement prints its arguments.
    const crictl = `#!/bin/sh\n[ "$1" = ps ] && echo container-1 || echo "$@" >'${stopped}'\n`;
    writeFileSync(join(folder, 'bin/crictl'), crictl, { mode: 0o755 });
    const files = { [path]: stringify(kubeconfig), 'root/.keep': '', 'etc/kubernetes/pki/ca.crt': ca };
    await runBlock('clients.md', /crictl stop/, files);
    const read = () => parse(readFileSync(join(folder, path), 'utf8')).clusters[0].cluster as typeof cluster;
    expect(read().server).to.match(/^https:\/\/[0-9.]+:7443$/);
    expect(readFileSync(stopped, 'utf8')).to.equal('stop container-1\n');

    const own = readFileSync(mixed.plane.issueServingCert('other', ['localhost'], []).cert, 'utf8');
    await mixed.kubectl('one', ['create', 'namespace', 'peerdiscovery-front-proxy']);
    const map = [
      'create',
      'configmap',
      'peerdiscovery-ca',
      '-n',
      'peerdiscovery-front-proxy',
      `--from-literal=ca.crt=${own}`,
    ];
    expect((await mixed.kubectl('one', map)).code).to.equal(0);
    await runBlock('clients.md', /--certificate-authority=\/root\/both\.crt/);
    const both = Buffer.from(read()['certificate-authority-data'], 'base64').toString();
    expect(both).to.equal(`${ca}${own}`);

    writeFileSync(stopped, '');
    await runBlock('clients.md', /# Back to the kube-apiserver/);
    expect(read().server).to.match(/^https:\/\/[0-9.]+:6443$/);
    expect(Buffer.from(read()['certificate-authority-data'], 'base64').toString()).to.equal(ca);
    expect(readFileSync(stopped, 'utf8')).to.equal('stop container-1\n');
  });

  it('ship objects of a new API once every server has it', async () => {
    symlinkSync(join(repository, 'examples'), join(folder, 'examples'));
    const manifest = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: needs-new-api, namespace: default}\n';
    await runBlock('gitops.md', /ship-when-converged\.sh/, { 'needs-new-api.yaml': manifest });
    expect((await mixed.kubectl('one', ['get', 'configmap', 'needs-new-api', '-n', 'default'])).code).to.equal(0);
  });

  it('grant the rights that the guides describe', async () => {
    const account = 'system:serviceaccount:peerdiscovery-system:peerdiscovery-proxy';
    const authentication = ['get', 'configmaps/extension-apiserver-authentication', '-n', 'kube-system'];
    expect(await may(account, ...authentication)).to.equal(false);
    await runBlock('identity.md', /create rolebinding/);
    expect(await may(account, ...authentication)).to.equal(true);
    await mixed.kubectl('one', ['apply', '-f', join(repository, 'config/monitoring/rbac.yaml')]);
    await runBlock('monitoring.md', /create clusterrolebinding/);
    expect(await may('system:serviceaccount:monitoring:prometheus-k8s', 'get', '/metrics')).to.equal(true);
    const token = ['create', 'serviceaccounts/peerdiscovery-status-viewer', '--subresource=token'];
    await runBlock('status-page.md', /create rolebinding jane/);
    expect(await may('jane', ...token, '-n', 'peerdiscovery-system')).to.equal(true);
  });
});
