import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { ensureControlPlane } from '../../lab/build/build-control-plane.ts';
import { ensureKrew } from '../../lab/build/build-go-tool.ts';
import type { Outcome } from '../../lab/plane/control-plane.ts';
import { type MixedPlane, startMixedPlane } from '../../lab/plane/mixed-plane.ts';
import { repository } from '../../lab/repository.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import { generateKrew } from '../../scripts/generate-krew.ts';
import { commandBlock } from '../support/guide-commands.ts';

const aggregatedV2 = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList;profile=nopeer';
const claims = 'resourceclaims.v1.resource.k8s.io';

describe('kubectl peerdiscovery on real servers of 1.33 and 1.36', function () {
  this.timeout(300_000);
  const folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-plugin-'));
  const auditLog = join(folder, 'audit.log');
  const shown: string[] = [];
  let krewFolder: string;
  let mixed: MixedPlane;
  let operator: ReturnType<MixedPlane['startOperator']>;

  before(async () => {
    const log = (message: string) => void process.stdout.write(`      … ${message}\n`);
    await ensureControlPlane({ versions: ['1.36'], log });
    krewFolder = await ensureKrew(log);
    const policy = join(folder, 'policy.yaml');
    writeFileSync(policy, 'apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{ level: Metadata }]\n');
    const flags = [`--audit-log-path=${auditLog}`, `--audit-policy-file=${policy}`];
    mixed = await startMixedPlane({
      servers: [
        { name: 'old-1', version: '1.36', emulatedVersion: '1.33', flags },
        { name: 'new-1', version: '1.36' },
      ],
      home: 'old-1',
      log,
    });
    for (const [name, file] of [
      ['kubectl-peerdiscovery', 'kubectl-peerdiscovery.ts'],
      ['kubectl_complete-peerdiscovery', 'kubectl-complete.ts'],
    ] as const) {
      const path = join(folder, name);
      writeFileSync(path, `#!/bin/sh\nexec '${process.execPath}' '${join(repository, 'src/bin', file)}' "$@"\n`);
      chmodSync(path, 0o755);
    }
  });

  after(async () => {
    // `docs/reference/kubectl-plugin.md` shows output of these commands.
    if (process.env.PLUGIN_OUTPUT !== undefined) writeFileSync(process.env.PLUGIN_OUTPUT, shown.join('\n'));
    await mixed?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Runs it through kubectl, which finds the plugin on the PATH. */
  async function plugin(args: readonly string[], kubeconfig = mixed.kubeconfigOf('old-1')): Promise<Outcome> {
    const environment = [`PATH=${folder}:/usr/bin:/bin`, `KUBECONFIG=${kubeconfig}`];
    const kubectl = (await mixed.plane.exec('kubectl', ['--help'])).code === 0 ? await kubectlPath() : '';
    const outcome = await mixed.plane.exec('env', [...environment, kubectl, 'peerdiscovery', ...args]);
    shown.push(
      `$ kubectl peerdiscovery ${args.join(' ')}\n${outcome.stdout}${outcome.stderr}(exit code ${outcome.code})\n`,
    );
    return outcome;
  }

  async function kubectlPath(): Promise<string> {
    const { '1.36': found } = await ensureControlPlane({ versions: ['1.36'], log: () => {} });
    return join(found ?? '', 'kubectl');
  }

  async function save(server: string, path: string, name: string): Promise<string> {
    const auth = ['--cacert', mixed.plane.caFile, '-H', `Authorization: Bearer ${mixed.plane.tokens.admin}`];
    const url = `${mixed.plane.server(server).url}${path}`;
    const { stdout } = await mixed.plane.exec('curl', ['-sS', ...auth, '-H', `Accept: ${aggregatedV2}`, url]);
    const file = join(folder, name);
    writeFileSync(file, stdout);
    return file;
  }

  it('names the missing parts and the cure while no operator has run yet', async () => {
    const doctor = await plugin(['doctor']);
    expect(doctor.code, doctor.stderr).to.equal(1);
    expect(doctor.stdout).to.match(/leader +fail +no operator has ever led/);
    const table = await plugin(['table']);
    expect(table.code).to.equal(3);
    expect(table.stderr).to.match(/error: .*does not exist\n {2}cure: /);
    operator = mixed.startOperator();
    await waitUntil('the operator to be ready', async () => (await plugin(['status'])).code === 0);
    shown.length = 0;
  });

  it('is installed by krew, and runs with only itself on the PATH', async () => {
    await generateKrew(join(folder, 'dist/krew'), 'https://example.com/', ['linux-x64']);
    const programs = join(folder, 'krew');
    mkdirSync(programs);
    symlinkSync(await kubectlPath(), join(programs, 'kubectl'));
    symlinkSync(join(krewFolder, 'krew'), join(programs, 'kubectl-krew'));
    const installed = join(folder, '.krew/bin');
    const run = async (path: string, command: string) => {
      const environment = [`PATH=${path}:/usr/bin:/bin`, `HOME=${folder}`, `KUBECONFIG=${mixed.kubeconfigOf('old-1')}`];
      const { code, stdout, stderr } = await mixed.plane.exec('env', [
        ...[...environment, 'bash', '-euo', 'pipefail', '-c', `cd '${folder}'\n${command}`],
      ]);
      expect(code, `${command}\n${stderr}${stdout}`).to.equal(0);
      return `${stdout}${stderr}`;
    };
    const told = await run(programs, commandBlock('../reference/kubectl-plugin.md', /^kubectl krew install/m));
    expect(await run(installed, `'${programs}/kubectl' peerdiscovery status`)).to.match(/^old-1 +v1\./m);
    const link = commandBlock('../reference/kubectl-plugin.md', /^cd ~\/\.krew/m);
    expect(told).to.contain(link.trim());
    await run(programs, link);
    const completed = await run(installed, `'${programs}/kubectl' __complete peerdiscovery diff old-1 n`);
    expect(completed.split('\n')).to.include('new-1');
  });

  it('prints the versions of both sides', async () => {
    const outcome = await plugin(['version']);
    expect(outcome.stdout, outcome.stderr).to.match(
      /^kubectl-peerdiscovery \d+\.\d+\.\d+\noperator \d+\.\d+\.\d+\nkube-apiserver v1\.36\.\d+\n$/,
    );
  });

  it('shows the peers and their differences, for people and for programs', async () => {
    const { stdout, code } = await waitUntil('both peers', async () => {
      const outcome = await plugin(['status']);
      return outcome.stdout.match(/Ready +10\.77/g)?.length === 2 && outcome;
    });
    expect(code).to.equal(0);
    expect(stdout).to.match(/^old-1 +v1\.\S+ as 1\.33 +Ready +10\.77\.0\.11:6443/m);
    expect(stdout).to.match(/^\S+\.v1\.resource\.k8s\.io +new-1 +old-1$/m);
    expect(stdout).to.match(/Converged +False +Divergent/);
    const wide = await plugin(['status', '-o', 'wide']);
    expect(wide.stdout)
      .to.match(/^new-1 .* Node +Medium +v2 /m)
      .and.contain(claims);
    expect(JSON.parse((await plugin(['status', '-o', 'json'])).stdout)).to.have.nested.property('status.revision');
    expect((await plugin(['status', '-o', 'yaml'])).stdout).to.match(/^kind: PeerDiscovery$/m);
  });

  it('explains where a request goes and why', async () => {
    const forwarded = await plugin(['explain', claims]);
    expect(forwarded.code, forwarded.stderr).to.equal(0);
    expect(forwarded.stdout).to.match(/^old-1 +new-1 +old-1 does not serve it$/m);
    expect(forwarded.stdout).to.match(/^new-1 +new-1 +new-1 serves it$/m);
    const common = await plugin(['explain', 'po']);
    expect(common.stdout)
      .to.contain('GET /api/v1/pods')
      .and.match(/^old-1 +old-1 +old-1 serves it$/m);
    const nobody = await plugin(['explain', '/apis/nope.example/v1/things']);
    expect(nobody.code).to.equal(1);
    expect(nobody.stdout).to.contain('No server serves it, and every live server is known');
    expect((await plugin(['explain', 'gizmos'])).code).to.equal(1);
  });

  it('shows the differences between two peers, or two saved documents', async () => {
    const live = await plugin(['diff', 'old-1', 'new-1']);
    expect(live.code, live.stderr).to.equal(1);
    expect(live.stdout)
      .to.match(/^--- old-1 \(/)
      .and.contain(`+ ${claims}\n`);
    const [old, recent] = [await save('old-1', '/apis', 'old.json'), await save('new-1', '/apis', 'new.json')];
    const saved = await plugin(['diff', `old=${old}`, `new=${recent}`], '/does/not/exist');
    expect(saved.code, saved.stderr).to.equal(1);
    expect(saved.stdout).to.contain(`+ ${claims}\n`);
    const same = await plugin(['diff', `a=${old}`, `b=${old}`], '/does/not/exist');
    expect(same).to.include({ code: 0, stdout: 'a and b serve the same.\n' });
    const merged = await plugin(['merge', '--local', 'old', `old=${old}`, `new=${recent}`], '/does/not/exist');
    expect(merged.code).to.equal(0);
    expect(merged.stdout).to.contain('"resourceclaims"');
    shown.splice(-1);
  });

  it('decodes the routing table', async () => {
    const { stdout, code } = await plugin(['table']);
    expect(code).to.equal(0);
    expect(stdout).to.match(/^resource\.k8s\.io\/v1 +resourceclaims +BuiltIn +new-1 +any$/m);
    expect(stdout).to.match(/^peerdiscovery\.dev\/v1alpha1 +peerdiscoveries +CustomResource +all +any$/m);
    expect(stdout).to.match(/^v1 +pods +BuiltIn +all +new-1; old-1 if away$/m);
    const json = JSON.parse((await plugin(['table', '-o', 'json'])).stdout);
    expect(json).to.include({ kind: 'RoutingTable', complete: true });
  });

  it('shows before an upgrade what changes and whom it affects', async () => {
    const admin = ['create', 'clusterrolebinding', 'somebody', '--clusterrole=view', '--user=somebody'];
    expect((await mixed.kubectl('old-1', admin)).code).to.equal(0);
    const gone = 'endpointslices.v1.discovery.k8s.io';
    await mixed.kubectl('old-1', ['get', gone, '-A', '--as=somebody']);
    // A target that no longer serves a group that everybody serves now.
    const document = JSON.parse(
      (await mixed.plane.exec('cat', [await save('new-1', '/apis', 'target.json')])).stdout,
    ) as { items: { metadata: { name: string } }[] };
    document.items = document.items.filter(({ metadata }) => metadata.name !== 'discovery.k8s.io');
    const target = join(folder, 'target.json');
    writeFileSync(target, JSON.stringify(document));
    const args = ['preflight', '--target', target, '--target-version', 'v1.37.0', '--audit-log', auditLog];
    const hurt = await waitUntil('the audit log', async () => {
      const outcome = await plugin(args);
      return outcome.stdout.includes('somebody') && outcome;
    });
    expect(hurt.code).to.equal(1);
    expect(hurt.stdout).to.match(/^- endpointslices\.v1\.discovery\.k8s\.io +- +.*/m);
    expect(hurt.stdout).to.match(/somebody \(kubectl\S* .*; list; \d+ requests, last 20/);
    expect(hurt.stdout)
      .to.match(/version step +(ok|fail)/)
      .and.match(/converged +fail/)
      .and.match(/metrics +ok/);
    const harmless = await plugin(['preflight', '--target', join(folder, 'new.json'), '-o', 'json']);
    const names = (JSON.parse(harmless.stdout) as { disappear: { resource: string }[] }).disappear;
    expect(names.map(({ resource }) => resource)).not.to.include(gone);
  });

  it('finds nothing in a healthy control plane, and the fault in a broken one', async () => {
    const well = await plugin(['doctor']);
    expect(well.code, well.stdout).to.equal(0);
    expect(well.stdout)
      .to.match(/RBAC of the operator +ok/)
      .and.match(/RBAC of the proxy +ok/);
    expect(well.stdout)
      .to.match(/certificate new-1 +(ok|warn|fail) +verified/)
      .and.match(/clocks +ok/);
    expect(well.stdout).to.match(/Kubernetes' own peer proxy +ok +no server runs it/);
    await mixed.kubectl('old-1', ['delete', 'rolebinding', 'peerdiscovery-proxy', '-n', 'peerdiscovery-system']);
    const broken = await waitUntil('the missing role to be seen', async () => {
      const outcome = await plugin(['doctor']);
      return outcome.code === 1 && outcome;
    });
    expect(broken.stdout).to.match(/RBAC of the proxy +fail .* may not: list configmaps in peerdiscovery-system/);
    await mixed.kubectl('old-1', ['apply', '-k', join(repository, 'config')]);
  });

  it('shows changes as they happen', async () => {
    const program = join(repository, 'src/bin/kubectl-peerdiscovery.ts');
    const watching = spawn(process.execPath, [program, 'status', '-w', '--kubeconfig', mixed.kubeconfigOf('old-1')]);
    let seen = '';
    watching.stdout.setEncoding('utf8').on('data', (text: string) => {
      seen += text;
    });
    await waitUntil('the first state', async () => /^new-1 .* Ready /m.test(seen), { seen: () => seen });
    await mixed.plane.server('new-1').kill();
    await waitUntil('the change', async () => /^\S+Z {2}peer new-1: Ready -> Unreachable /m.test(seen), {
      seen: () => seen,
    });
    const ended = new Promise((resolve) => watching.once('exit', resolve));
    watching.kill('SIGINT');
    expect(await ended).to.equal(0);
    const doubt = await plugin(['explain', claims]);
    expect(doubt.code).to.equal(3);
    expect(doubt.stdout).to.match(/old-1 +nobody +503: no kube-apiserver that serves resourceclaims/);
    expect((await plugin(['preflight'])).stdout).to.match(/peers ready +fail +new-1 is Unreachable/);
  });

  it('completes commands, flags, peers and resources for kubectl', async () => {
    const environment = [`PATH=${folder}:/usr/bin:/bin`, `KUBECONFIG=${mixed.kubeconfigOf('old-1')}`];
    const complete = async (...words: string[]) =>
      (
        await mixed.plane.exec('env', [...environment, await kubectlPath(), '__complete', 'peerdiscovery', ...words])
      ).stdout.split('\n');
    expect((await complete('st'))[0]).to.match(/^status/);
    expect(await complete('diff', 'old-1', 'n')).to.include('new-1');
    expect(await complete('explain', 'resourcecl')).to.include(claims);
    expect(await complete('status', '--na')).to.include.members(['--name', '--namespace']);
    expect(await complete('status', '-o', 'w')).to.include('wide');
  });

  it('names the cure of every error', async () => {
    for (const [args, code, wanted] of [
      [['nope'], 2, /unknown command "nope"\n {2}cure: /],
      [['status', '--nope'], 2, /unknown flag --nope; it takes/],
      [['diff', 'old-1', 'nobody'], 3, /no peer is called "nobody"\n {2}cure: .*old-1/],
      [['status', '--name', 'other'], 3, /there is no PeerDiscovery "other" .*\n {2}cure: /],
      [['status', '--context', 'other'], 3, /cure: give --kubeconfig/],
    ] as const) {
      const outcome = await plugin(args);
      expect(outcome.code, outcome.stderr).to.equal(code);
      expect(outcome.stderr).to.match(wanted);
    }
    const reader = mixed.plane.kubeconfig({
      server: mixed.plane.server('old-1').url,
      token: mixed.plane.tokens.reader,
      name: 'reader',
    });
    const forbidden = await plugin(['status'], reader);
    expect(forbidden.code).to.equal(3);
    expect(forbidden.stderr).to.match(/forbidden.*\n {2}cure: ask for a role/);
    operator.kill();
  });
});
