import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { parseAllDocuments } from 'yaml';
import type { PeerDiscovery, PeerStatus } from '../../src/api/peer-discovery.ts';
import type { GroupDiscovery } from '../../src/domain/discovery-document.ts';
import { encodeDiscoveryList } from '../../src/domain/encode-discovery.ts';
import type { RoutingBundle } from '../../src/domain/routing-table.ts';
import { type AccessQuestion, PluginError } from '../../src/plugin/ports.ts';
import { requiredAccess } from '../../src/plugin/required-access.ts';
import { runPlugin } from '../../src/plugin/run-plugin.ts';
import { buildGroup, buildVersion } from '../support/discovery-builders.ts';
import { fakePlugin } from '../support/fake-cluster.ts';
import { sampleBundle } from '../support/sample-bundle.ts';

const now = Date.parse('2026-11-24T08:00:00Z');
const objectPath = '/apis/peerdiscovery.dev/v1alpha1/peerdiscoveries/cluster';
const leasesPath = '/apis/coordination.k8s.io/v1/namespaces/peerdiscovery-system/leases';
const day = 24 * 60 * 60 * 1_000;
const saved = (...groups: GroupDiscovery[]) => encodeDiscoveryList(groups, { typeMeta: true });

function peer(hostname: string, over: Partial<PeerStatus> = {}): PeerStatus {
  return {
    id: `apiserver-${hostname}`,
    hostname,
    address: `${hostname}.example:6443`,
    addressSource: 'Node',
    trust: 'Medium',
    version: 'v1.36.3',
    state: 'Ready',
    reason: 'Fresh',
    peerAggregated: false,
    ...over,
  };
}

type Verdict = 'True' | 'False' | 'Unknown';

function objectWith(peers: readonly PeerStatus[], ready: Verdict = 'True', converged = ready): PeerDiscovery {
  const condition = (type: string, status: Verdict) => ({
    ...{ type, status, reason: 'Because', message: `${type} is ${status}`, lastTransitionTime: '2026-11-24T07:00:00Z' },
  });
  return {
    apiVersion: 'peerdiscovery.dev/v1alpha1',
    kind: 'PeerDiscovery',
    metadata: { name: 'cluster' },
    spec: { mode: 'Route' },
    status: {
      mode: 'Route',
      revision: 4,
      peers,
      conditions: [condition('Ready', ready), condition('Converged', converged)],
      divergentResources: 1,
      divergent: [
        {
          group: 'apps',
          version: 'v1',
          resource: 'deployments',
          servedBy: ['apiserver-a'],
          missingFrom: ['apiserver-b'],
        },
      ],
    },
  };
}

function bundleWith(complete = true): RoutingBundle {
  const base = sampleBundle();
  const everyone = { subresources: {}, peers: [0, 1] };
  return {
    ...base,
    api: saved(buildGroup('', buildVersion('v1', 'pods'))),
    apis: saved(buildGroup('apps', buildVersion('v1', 'deployments')), buildGroup('old', buildVersion('v1', 'olds'))),
    table: {
      ...base.table,
      complete,
      doubts: complete ? [] : base.table.doubts,
      peers: [
        { id: 'apiserver-a', hostname: 'a', address: 'a.example:6443', state: 'Ready' },
        { id: 'apiserver-b', hostname: 'b', address: 'b.example:6443', state: 'Ready' },
      ],
      groupVersions: [
        ...base.table.groupVersions,
        {
          ...{ group: 'apps', version: 'v1', origin: 'BuiltIn' },
          resources: [{ resource: 'deployments', peers: [0], subresources: {} }],
        },
        { ...{ group: 'old', version: 'v1', origin: 'BuiltIn' }, resources: [{ resource: 'olds', ...everyone }] },
        {
          ...{ group: 'crd', version: 'v1', origin: 'CustomResource' },
          resources: [{ resource: 'mine', ...everyone }],
        },
      ],
    },
  };
}

type Fake = ReturnType<typeof fakePlugin>['fake'];

async function run(
  args: readonly string[],
  change: (fake: Fake) => void = () => {},
  files: Readonly<Record<string, string>> = {},
  columns?: number,
) {
  const { fake, context, written } = fakePlugin(now, files);
  const lease = (seconds: number) => ({
    metadata: { annotations: { 'peerdiscovery.dev/revision': '4' } },
    spec: { holderIdentity: 'pod_1', renewTime: new Date(now - seconds * 1_000).toISOString() },
  });
  fake.objects.set(objectPath, objectWith([peer('a'), peer('b')]));
  fake.objects.set('/version', { gitVersion: 'v1.36.3' });
  fake.objects.set(`${leasesPath}/peerdiscovery-operator`, lease(3));
  fake.objects.set(`${leasesPath}/peerdiscovery-cluster`, lease(5));
  fake.objects.set('/apis/apiextensions.k8s.io/v1/customresourcedefinitions/peerdiscoveries.peerdiscovery.dev', {
    status: { conditions: [{ type: 'Established', status: 'True' }] },
  });
  fake.bundle = bundleWith();
  for (const address of ['a.example:6443', 'b.example:6443'])
    fake.inspections.set(address, { kind: 'verified', notAfter: now + 200 * day, skewMs: 100 });
  for (const address of ['a.example:6443', 'b.example:6443']) fake.metricsOf.set(address, gates({ WatchList: 1 }));
  change(fake);
  const code = await runPlugin(args, { ...context, columns });
  return { code, ...written };
}

/** Feature gates in the format of kube-apiserver's `/metrics`. */
function gates(values: Readonly<Record<string, 0 | 1>>): string {
  const lines = Object.entries(values).map(
    ([name, value]) => `kubernetes_feature_enabled{name="${name}",stage="BETA"} ${value}\n`,
  );
  return `# TYPE kubernetes_feature_enabled gauge\n${lines.join('')}`;
}

describe('kubectl peerdiscovery table', () => {
  const withWriters = (over: Partial<RoutingBundle['table']> = {}): RoutingBundle => {
    const bundle = bundleWith();
    return {
      ...bundle,
      table: {
        ...bundle.table,
        fieldSkew: 'Preserve',
        groupVersions: [
          {
            ...{ group: '', version: 'v1', origin: 'BuiltIn' },
            resources: [
              { resource: 'events', peers: [0, 1], subresources: {} },
              {
                ...{ resource: 'pods', peers: [0, 1], writers: [1], standIns: [0] },
                subresources: { exec: [0, 1], resize: [1] },
              },
              { resource: 'services', peers: [0, 1], writers: [1], standIns: [], subresources: {} },
            ],
          },
        ],
        ...over,
      },
    };
  };

  it('lists the writers of resources with different fields, their stand-ins, and the peers in doubt', async () => {
    const table = withWriters();
    const { stdout } = await run(['table'], (fake) => {
      fake.bundle = table;
    });
    expect(stdout).to.contain('mode Route, fieldSkew Preserve, ');
    expect(stdout).to.match(/^GROUP\/VERSION .* SERVED BY +WRITES GO TO$/m);
    expect(stdout).to.match(/^v1 +events +BuiltIn +all +any$/m);
    expect(stdout).to.match(/^v1 +pods +BuiltIn +all +b; a if away$/m);
    expect(stdout).to.match(/^v1 +pods\/resize +BuiltIn +b +any$/m);
    expect(stdout).to.match(/^v1 +services +BuiltIn +all +b$/m);
    const doubtful = table.table.peers.map((peer, at) => ({ ...peer, ...(at === 1 && { inDoubt: true }) }));
    const later = await run(['table', '-o', 'wide'], (fake) => {
      fake.bundle = withWriters({ peers: doubtful });
    });
    expect(later.stdout).to.match(/^1 +b .* Ready, in doubt +b\.example:6443/m);
    expect(later.stdout).to.match(/^v1 +services +BuiltIn +all +b \(in doubt\)$/m);
    expect(later.stdout).to.match(/^v1 +pods\/exec +BuiltIn +all +any$/m);
  });

  it('fits the terminal, uses its full width elsewhere, and wraps nothing with -o wide', async () => {
    const withBundle = (fake: Fake) => {
      fake.bundle = withWriters();
    };
    const widest = async (columns: number | undefined, ...args: string[]) => {
      const { stdout } = await run(['table', ...args], withBundle, {}, columns);
      return Math.max(...stdout.split('\n').map(({ length }) => length));
    };
    expect(await widest(60)).to.be.at.most(60);
    expect(await widest(undefined)).to.be.greaterThan(80);
    expect(await widest(60, '-o', 'wide')).to.be.greaterThan(80);
  });

  it('says that what is not listed is in doubt while a server is away, and so does `explain`', async () => {
    const change = (fake: Fake) => {
      const { peers } = bundleWith().table;
      fake.bundle = withWriters({ peers: peers.map((peer, at) => ({ ...peer, ...(at === 1 && { inDoubt: true }) })) });
    };
    const table = await run(['table'], change);
    expect(table.code).to.equal(3);
    expect(table.stdout).to.match(
      /^Not complete: .* get 503, not 404\.\n {2}apiserver-b: Away: it has been away, and may have another version/m,
    );
    const explained = await run(['explain', '/apis/nope.example/v1/things'], change);
    expect(explained.code).to.equal(3);
    expect(explained.stdout).to.contain('some live servers are not known well enough');
  });

  it('gives programs the same data, and has no such column if all servers know the same fields', async () => {
    const { stdout } = await run(['table', '-o', 'json'], (fake) => {
      fake.bundle = withWriters();
    });
    expect(JSON.parse(stdout)).to.have.nested.property('groupVersions[0].resources[1].standIns[0]', 0);
    expect((await run(['table'])).stdout).not.to.contain('WRITES GO TO');
  });
});

describe('kubectl peerdiscovery doctor, on feature gates', () => {
  const doctor = (peers: readonly PeerStatus[], change: Parameters<typeof run>[1] = () => {}) =>
    run(['doctor'], (fake) => {
      fake.objects.set(objectPath, objectWith(peers));
      change(fake);
    });

  it('warns of gates that are on at one server and off at another of its version, and names both', async () => {
    const { code, stdout } = await doctor([peer('a'), peer('b')], ({ metricsOf }) => {
      metricsOf.set('a.example:6443', gates({ Alike: 1, HostnameOverride: 0, OnlyHere: 1 }));
      metricsOf.set('b.example:6443', gates({ Alike: 1, HostnameOverride: 1 }));
    });
    expect(stdout).to.match(
      /^feature gates +warn +1 differ between .*: HostnameOverride is on at b and off at a \(v1\.36\.3\)$/m,
    );
    expect(stdout).to.match(/-> give all servers of one version the same --feature-gates/);
    expect(code).to.equal(0);
  });

  it('lists some of many, and gives the number of the others', async () => {
    const many = (value: 0 | 1) =>
      gates(Object.fromEntries(Array.from({ length: 40 }, (_, at) => [`Gate${at + 10}`, value])));
    const { stdout } = await doctor([peer('a'), peer('b')], ({ metricsOf }) => {
      metricsOf.set('a.example:6443', many(0));
      metricsOf.set('b.example:6443', many(1));
    });
    expect(stdout).to.match(/feature gates +warn +40 differ .* and 32 more$/m);
    expect(stdout.match(/Gate\d+/g)).to.have.length(8);
  });

  it('does not compare servers of different versions, because gates graduate', async () => {
    const { stdout } = await doctor(
      [peer('a'), peer('b', { version: 'v1.35.4' }), peer('c', { emulatedVersion: '1.35' })],
      (fake) => {
        fake.metricsOf.set('b.example:6443', gates({ WatchList: 0 }));
        fake.refuses = (path) => path.endsWith('/metrics');
      },
    );
    expect(stdout).to.match(/^feature gates +ok +no two servers of one version could be compared$/m);
  });

  it('skips servers that it may not read or cannot reach, and reports that', async () => {
    const refused = await doctor([peer('a'), peer('b')], (fake) => {
      fake.refuses = (path) => path.endsWith('/metrics');
    });
    expect(refused.stdout).to.match(/^feature gates +skip +a: a\.example:6443\/metrics is forbidden; b: /m);
    expect(refused.code).to.equal(0);
    const away = await doctor([peer('a'), peer('b')], ({ inspections }) => inspections.delete('b.example:6443'));
    expect(away.stdout)
      .to.match(/^feature gates +skip +b: connect ECONNREFUSED$/m)
      .and.match(/^feature gates +ok /m);
    const none = await doctor([peer('a'), peer('b')], ({ metricsOf }) => metricsOf.clear());
    expect(none.stdout).to.match(/^feature gates +skip +a: its metrics name no feature gates; b: /m);
  });

  it('sends no credential to a server whose certificate or address was refused', async () => {
    const asked: string[] = [];
    await doctor([peer('a', { state: 'Refused' }), peer('b')], (fake) => {
      fake.inspections.set('b.example:6443', { kind: 'refused', message: 'self-signed' });
      fake.refuses = (path) => path.endsWith('/metrics') && asked.push(path) > 0;
    });
    expect(asked).to.deep.equal([]);
  });
});

describe('kubectl peerdiscovery doctor, on missing parts', () => {
  it('is healthy after an installation that only observes, whose proxies have no rights', async () => {
    const { code, stdout } = await run(['doctor'], (fake) => {
      fake.objects.set(objectPath, { ...objectWith([peer('a')]), spec: { mode: 'Observe' } });
      fake.denies = ({ serviceAccount }: AccessQuestion) => serviceAccount?.endsWith('peerdiscovery-proxy') === true;
    });
    expect(stdout).to.match(/RBAC of the proxy +skip +mode Observe needs no proxy/);
    expect(code).to.equal(0);
  });

  it('names the object that it judges, and never advises itself', async () => {
    const path = objectPath.replace('cluster', 'blue');
    const { stdout } = await run(['doctor', '--name', 'blue'], (fake) => {
      fake.objects.set(path, { ...objectWith([peer('a')], 'False'), metadata: { name: 'blue' } });
      fake.objects.delete(`${leasesPath}/peerdiscovery-operator`);
    });
    expect(stdout).to.match(/wait --for=condition=Ready peerdiscovery\/blue/);
    expect(stdout).not.to.match(/peerdiscovery\/cluster|peerdiscovery doctor/);
  });

  it('says that a CA bundle of "hello" is invalid, and blames no server for it', async () => {
    const { code, stdout } = await run(['doctor'], (fake) => {
      const spec = { mode: 'Route' as const, tls: { caBundle: 'aGVsbG8=' } };
      fake.objects.set(objectPath, { ...objectWith([peer('a')]), spec });
    });
    expect(stdout).to.match(/CA bundle +fail +spec\.tls\.caBundle: it holds no PEM certificate/);
    expect(stdout).not.to.match(/certificate a/);
    expect(code).to.equal(1);
  });
});

describe('kubectl peerdiscovery doctor, for a user with few rights', () => {
  it('skips what it may not read, reports that, and checks the rest', async () => {
    for (const [forbidden, names] of [
      ['/version', ['API server']],
      [objectPath, ['PeerDiscovery']],
      ['/apis/apiextensions.k8s.io', ['CustomResourceDefinition']],
      [leasesPath, ['leader', 'table confirmed']],
      ['bundle', ['routing table']],
      ['review', ['RBAC of the operator', 'RBAC of the proxy']],
    ] as const) {
      const { code, stdout } = await run(['doctor'], (fake) => {
        fake.refuses = (path) => path.startsWith(forbidden);
      });
      for (const name of names) expect(stdout, forbidden).to.match(new RegExp(`^${name} +skip +.* is forbidden$`, 'm'));
      expect(stdout.match(/ skip /g), stdout).to.have.length(names.length);
      expect(stdout.match(/ ok /g)?.length, forbidden).to.be.greaterThan(3);
      expect(code, forbidden).to.equal(0);
    }
  });

  it('finds broken parts around an object that it may not read', async () => {
    const { code, stdout } = await run(['doctor'], (fake) => {
      fake.refuses = (path) => path === objectPath;
      fake.objects.delete(`${leasesPath}/peerdiscovery-operator`);
    });
    expect(stdout).to.match(/leader +fail/);
    expect(code).to.equal(1);
  });

  it('says that it cannot tell anything if it may read nothing', async () => {
    const { code, stdout } = await run(['doctor', '-o', 'json'], (fake) => {
      fake.refuses = () => true;
    });
    expect(code).to.equal(3);
    expect(JSON.parse(stdout)).to.include({ healthy: null });
  });
});

describe('kubectl peerdiscovery doctor, on service accounts', () => {
  const pod = (namespace: string, component: string, serviceAccountName: string) => ({
    metadata: {
      namespace,
      labels: { 'app.kubernetes.io/name': 'peerdiscovery', 'app.kubernetes.io/component': component },
    },
    spec: { serviceAccountName },
  });

  it('judges the accounts of the Pods, wherever the proxies are', async () => {
    const { code, stdout } = await run(['doctor', '-n', 'mine'], (fake) => {
      fake.objects.set('/api/v1/namespaces/mine/pods/a', pod('mine', 'operator', 'my-operator'));
      fake.objects.set('/api/v1/pods/b', pod('mine', 'proxy', 'my-proxy'));
      fake.objects.set('/api/v1/pods/c', pod('edge', 'front-proxy', 'peerdiscovery-front-proxy'));
      for (const name of ['operator', 'cluster'])
        fake.objects.set(
          `/apis/coordination.k8s.io/v1/namespaces/mine/leases/peerdiscovery-${name}`,
          fake.objects.get(`${leasesPath}/peerdiscovery-${name}`),
        );
      fake.denies = ({ serviceAccount }) => serviceAccount === 'mine:peerdiscovery-proxy';
    });
    expect(stdout).to.match(/RBAC of the operator +ok +\d+ permissions of mine:my-operator$/m);
    expect(stdout).to.match(/RBAC of the proxy +ok +\d+ permissions of mine:my-proxy$/m);
    expect(stdout).to.match(/RBAC of the proxy +ok +\d+ permissions of edge:peerdiscovery-front-proxy$/m);
    expect(code, stdout).to.equal(0);
  });

  it('looks for the operator in the namespace where it publishes; the README installs it into default', async () => {
    const { code, stdout } = await run(['doctor'], (fake) => {
      const object = objectWith([peer('a')]);
      const routingTable = { namespace: 'default', name: 'peerdiscovery-cluster' };
      fake.objects.set(objectPath, { ...object, status: { ...object.status, routingTable } });
      for (const name of ['operator', 'cluster']) {
        const lease = fake.objects.get(`${leasesPath}/peerdiscovery-${name}`);
        fake.objects.delete(`${leasesPath}/peerdiscovery-${name}`);
        fake.objects.set(`/apis/coordination.k8s.io/v1/namespaces/default/leases/peerdiscovery-${name}`, lease);
      }
    });
    expect(stdout)
      .to.match(/^leader +ok /m)
      .and.match(/permissions of default:peerdiscovery-operator$/m);
    expect(code, stdout).to.equal(0);
  });

  it("assumes the manifests' accounts if no Pod is found or may be listed, and says so", async () => {
    const { stdout } = await run(['doctor'], (fake) => {
      fake.refuses = (path) => path.endsWith('/pods');
      fake.denies = () => true;
    });
    expect(stdout).to.match(/RBAC of the proxy +fail +peerdiscovery-system:peerdiscovery-proxy may not: /);
    expect(stdout).to.contain('no Pod of it was found');
  });
});

describe('the cures of doctor', () => {
  it('never refer to doctor itself, and name no flag of Node', () => {
    for (const file of ['doctor.ts', 'server-checks.ts', 'checks.ts', 'feature-gates.ts']) {
      const text = readFileSync(join(import.meta.dirname, '../../src/plugin', file), 'utf8');
      const cures = [...text.matchAll(/cure:?\s[^,]*?(['"`])(.*?)\1/gs)].map(([, , cure = '']) => cure);
      expect(cures.length).to.be.greaterThan({ 'checks.ts': -1, 'feature-gates.ts': 1 }[file] ?? 5);
      for (const cure of cures) expect(cure).not.to.match(/doctor|run (this|it)\b|--use-|node_modules/i);
    }
  });
});

describe('kubectl peerdiscovery', () => {
  it('exits with 0 from status if Ready, else with 1', async () => {
    const well = await run(['status']);
    expect(well.code).to.equal(0);
    expect(well.stdout)
      .to.match(/^a +v1\.36\.3 +Ready +a\.example:6443/m)
      .and.match(/deployments\.v1\.apps +a +b/);
    const ill = await run(['status'], ({ objects }) => objects.set(objectPath, objectWith([peer('a')], 'False')));
    expect(ill.code).to.equal(1);
    const unknown = await run(['status'], ({ objects }) => objects.set(objectPath, objectWith([peer('a')], 'Unknown')));
    expect(unknown.code).to.equal(3);
  });

  it('never passes control characters of a status on to the terminal', async () => {
    const { stdout } = await run(['status', '-o', 'wide'], ({ objects }) =>
      objects.set(objectPath, objectWith([peer('a', { message: 'bad\u001b[2Jthing\nnext' })])),
    );
    expect(stdout).to.contain('bad [2Jthing next');
  });

  it('prints the status once, and then every change with its time', async () => {
    const later = (change: Partial<PeerStatus>, ready: 'True' | 'False' = 'True') =>
      objectWith([peer('a'), peer('b', change)], ready);
    const watch = async (watched: readonly (PeerDiscovery | undefined)[]) =>
      (
        await run(['status', '-w'], (fake) => {
          fake.watched = watched;
        })
      ).stdout;
    const text = await watch([
      later({}),
      later({}),
      later({ state: 'Unreachable', reason: 'ConnectionFailed', message: 'refused' }, 'False'),
      objectWith([peer('a'), peer('c')]),
      undefined,
    ]);
    const [first, ...changes] = text.split(/^(?=2026-11-24T08:00:00Z {2})/m);
    expect(first).to.contain('PeerDiscovery cluster, mode Route').and.contain('CONDITION');
    expect(changes.map((change) => change.slice(22).replaceAll(/\n +/g, ' ').trimEnd())).to.deep.equal([
      'peer b: Ready -> Unreachable (ConnectionFailed: refused)',
      'Ready: True -> False, Because: Ready is False',
      'Converged: True -> False, Because: Converged is False',
      'peer c appeared: Ready (Fresh), v1.36.3, c.example:6443',
      'peer b was removed',
      'Ready: False -> True, Because: Ready is True',
      'Converged: False -> True, Because: Converged is True',
      'deployments.v1.apps: served by a, missing from apiserver-b',
      'PeerDiscovery cluster was deleted',
    ]);
    expect(await watch([undefined, later({})])).to.match(
      /^there is no PeerDiscovery cluster yet\nPeerDiscovery cluster, mode/,
    );
  });

  it('prints a watched object again only if it has changed, for programs', async () => {
    const { stdout } = await run(['status', '-w', '-o', 'json'], (fake) => {
      const object = objectWith([peer('a')]);
      fake.watched = [object, object, objectWith([])];
    });
    expect(stdout.trimEnd().split('\n')).to.have.length(2);
  });

  it('fits the status into 80 columns or the terminal, and wraps nothing with -o wide', async () => {
    const long = {
      hostname: 'ip-10-0-12-34.eu-central-1.compute.internal',
      address: '[2001:db8:1234:5678:9abc:def0:1234:5678]:6443',
      state: 'Unreachable',
      reason: 'ConnectionFailed',
      message: 'connect ECONNREFUSED [2001:db8:1234:5678:9abc:def0:1234:5678]:6443 after 3 attempts in 5 s',
    } as const;
    const object = objectWith([peer('a'), peer('b', long)]);
    const widest = async (columns: number | undefined, ...args: string[]) => {
      const { stdout } = await run(['status', ...args], ({ objects }) => objects.set(objectPath, object), {}, columns);
      return Math.max(...stdout.split('\n').map((line) => line.length));
    };
    expect(await widest(undefined)).to.be.at.most(80);
    expect(await widest(100))
      .to.be.at.most(100)
      .and.at.least(81);
    expect(await widest(80, '-o', 'wide')).to.be.at.least(150);
  });

  it('takes flags before the command, too', async () => {
    expect((await run(['--name', 'cluster', 'status'])).code).to.equal(0);
    expect((await run(['--name', 'cluster', '-o', 'json', 'status'])).stdout).to.contain('"name": "cluster"');
  });

  it('prints the versions of both sides, or why one is not known', async () => {
    const annotated = (fake: Fake) =>
      fake.objects.set(`${leasesPath}/peerdiscovery-cluster`, {
        metadata: { annotations: { 'peerdiscovery.dev/operator-version': '0.2.0' } },
      });
    expect((await run(['version'], annotated)).stdout).to.equal(
      'kubectl-peerdiscovery 0.1.0\noperator 0.2.0\nkube-apiserver v1.36.3\n',
    );
    expect(JSON.parse((await run(['version', '-o', 'json'], annotated)).stdout)).to.deep.equal({
      clientVersion: { version: '0.1.0' },
      operatorVersion: { version: '0.2.0' },
      serverVersion: { gitVersion: 'v1.36.3' },
    });
    const unknown = await run(['version']);
    expect(unknown).to.include({ code: 0 });
    expect(unknown.stdout).to.contain('operator unknown');
    expect(unknown.stderr).to.contain('does not say it').and.contain('cure: ');
    expect(await run(['version', '--client'])).to.deep.equal({
      code: 0,
      stdout: 'kubectl-peerdiscovery 0.1.0\n',
      stderr: '',
    });
  });

  it('suggests other names of objects, peers, resources, paths and methods', async () => {
    const stderr = async (...args: string[]) => {
      const { code, stderr: text } = await run(args);
      return `${code} ${text}`;
    };
    expect(await stderr('status', '--name', 'clster')).to.match(
      /^3 .*there is no PeerDiscovery "clster".*; did you mean cluster\?/,
    );
    expect(await stderr('diff', 'a', 'apiserver-B')).not.to.match(/^0/);
    expect(await stderr('explain', 'deploymets')).to.match(/^1 [\s\S]*\nDid you mean deployments\?\n/);
    expect(await stderr('explain', 'deploymets.apps/scale')).to.contain('Did you mean deployments.apps/scale?');
    expect(await stderr('explain', 'deployments.ap')).to.contain('Did you mean deployments.apps?');
    expect(await stderr('explain', 'something')).not.to.contain('Did you mean');
    expect(await stderr('explain', 'pods', '--method', 'GTE')).to.match(
      /^2 .*GTE is no HTTP method; did you mean GET\?/,
    );
    const meant = async (path: string) => /Did you mean (.*)\?/.exec((await run(['explain', path])).stdout)?.[1];
    expect(await meant('/apis/apps/v1/deployment')).to.equal('/apis/apps/v1/deployments');
    expect(await meant('/apis/app/v1/namespaces/x/deployments/y')).to.equal('/apis/apps/v1/namespaces/x/deployments/y');
    expect(await meant('/api/v1/namespaces/x/pod')).to.equal('/api/v1/namespaces/x/pods');
    expect(await meant('/apis/apps/v1/namespaces/x/deployments/y/scal')).to.equal(undefined);
    expect(await meant('/apis/somewhere.example/v1/things')).to.equal(undefined);
    expect(await meant('/apis/apps/v1/deployments')).to.equal(undefined);
  });

  it("explains with the proxy's own decisions", async () => {
    const { stdout, code } = await run(['explain', 'deployments.apps', '-o', 'json']);
    expect(code).to.equal(0);
    const { outcomes } = JSON.parse(stdout);
    expect(outcomes).to.deep.equal([
      { home: 'a', goes: 'home', to: ['a'], why: 'a serves it', verdict: 'served' },
      { home: 'b', goes: 'peer', to: ['a'], why: 'b does not serve it', verdict: 'served' },
    ]);
  });

  it('says of a poorly known peer that its resources are unknown, and never no', async () => {
    const doubted = (fake: Fake) => {
      const bundle = bundleWith(false);
      const doubts = [{ peer: 'apiserver-b', reason: 'NoAddress', message: 'no source gives its address' }];
      fake.bundle = { ...bundle, table: { ...bundle.table, doubts } };
    };
    const explained = await run(['explain', 'deployments.apps', '-o', 'json'], doubted);
    expect(JSON.parse(explained.stdout)).to.deep.include({ servedBy: ['a'], missingFrom: [], unknownOf: ['b'] });
    expect(explained.code, 'another serves it').to.equal(3);
    const { stdout } = await run(['explain', 'deployments.apps'], doubted);
    expect(stdout)
      .to.match(/^b +unknown /m)
      .and.contain('Whether b serves it is unknown: no source gives its address.\n');
    expect((await run(['explain', 'olds'], doubted)).code, 'every peer serves it').to.equal(0);
    const differing = await run(['diff', 'a', 'b'], doubted);
    expect([differing.code, differing.stderr]).to.deep.equal([
      3,
      'warning: it is not known well what a peer serves: b: no source gives its address\n',
    ]);
  });

  it('says of a peer that is away that its present resources are unknown', async () => {
    for (const state of ['Unreachable', 'Refused', 'Unresolved'] as const) {
      const away = (fake: Fake) => {
        const bundle = bundleWith();
        const peers = bundle.table.peers.map((each, at) => (at === 1 ? { ...each, state } : each));
        fake.bundle = { ...bundle, table: { ...bundle.table, complete: false, peers } };
      };
      const { code, stdout } = await run(['explain', 'deployments.apps'], away);
      expect(stdout, state).to.match(/^b +unknown /m);
      expect(code, state).to.equal(3);
    }
  });

  it('knows paths outside the table: those of every server, of proxies, and those that cannot be known', async () => {
    for (const [path, code] of [
      ['/version', 0],
      ['/readyz/etcd', 0],
      ['/', 0],
      ['/api/v1', 0],
      ['/apis', 0],
      ['/openapi/v3', 0],
      ['/apis/apps/v1', 0],
      ['/apis/nope/v1', 1],
      ['/nonsense', 3],
    ] as const)
      expect((await run(['explain', path])).code, path).to.equal(code);
    expect((await run(['explain', '/openapi/v2'])).stdout).to.contain('the unified document of all servers');
    expect((await run(['explain', '/nonsense'])).stdout).to.contain('the table knows only APIs');
  });

  it('matches a method to its path: changes go to objects in a namespace', async () => {
    const scoped = (fake: Fake) => {
      const bundle = bundleWith();
      fake.bundle = {
        ...bundle,
        table: {
          ...bundle.table,
          groupVersions: bundle.table.groupVersions.map((each) => ({
            ...each,
            resources: each.resources.map((row) => ({ ...row, scope: 'Namespaced' as const })),
          })),
        },
      };
    };
    const paths = { GET: '', DELETE: '/namespaces/NAMESPACE', POST: '/namespaces/NAMESPACE' };
    for (const [method, namespace] of Object.entries(paths)) {
      const { code, stdout } = await run(['explain', 'deployments', '--method', method], scoped);
      expect(stdout).to.contain(`${method} /apis/apps/v1${namespace}/deployments\n`).and.contain('SERVES IT');
      expect(code, method).to.equal(0);
    }
    expect((await run(['explain', 'deployments', '--method', 'PATCH'], scoped)).stdout).to.contain(
      'PATCH /apis/apps/v1/namespaces/NAMESPACE/deployments/NAME\n',
    );
    const misplaced = await run(['explain', '/apis/apps/v1/deployments', '--method', 'DELETE'], scoped);
    expect(misplaced.code).to.equal(1);
    expect(misplaced.stdout).to.contain(
      'No server has this path: a deletecollection of deployments is for /apis/apps/v1/namespaces/NAMESPACE/deployments.',
    );
    expect(misplaced.stdout).not.to.contain('SERVES IT');
  });

  it('explains a missing resource as 404 only if the table is complete and confirmed', async () => {
    const path = '/apis/nope/v1/things';
    expect((await run(['explain', path])).code).to.equal(1);
    const incomplete = await run(['explain', path], (fake) => {
      fake.bundle = bundleWith(false);
    });
    expect(incomplete.code).to.equal(3);
    const forgotten = await run(['explain', path], ({ objects }) =>
      objects.delete(`${leasesPath}/peerdiscovery-cluster`),
    );
    expect(forgotten.code).to.equal(3);
    expect(forgotten.stdout).to.contain('a 404 of a becomes 503');
    const byName = await run(['explain', 'things'], (fake) => {
      fake.bundle = bundleWith(false);
    });
    expect(byName).to.include({ code: 3 });
    expect(byName.stderr).to.contain('cure: ');
  });

  it('compares peers by table and status, and documents in every detail', async () => {
    const live = await run(['diff', 'a', 'apiserver-b']);
    expect(live.code).to.equal(1);
    expect(live.stdout).to.contain('- deployments.v1.apps\n').and.contain('- pods.v1/resize\n');
    const difference = (field: 'verbs' | 'kind', a: string, b: string, peers: [string, string]) => ({
      field,
      values: [
        { value: a, peers: [peers[0]], count: 1 },
        { value: b, peers: [peers[1]], count: 1 },
      ],
    });
    const both: [string, string] = ['apiserver-a', 'apiserver-b'];
    const row = { group: 'old', version: 'v1', resource: 'olds', servedBy: both, missingFrom: [] };
    const described = (omitted: number) => (fake: { objects: Map<string, unknown> }) => {
      const object = objectWith([peer('a'), peer('b')]);
      const divergent = [
        { ...row, differences: [difference('verbs', 'get', 'get,watch', both)] },
        { ...row, group: 'crd', resource: 'mine', differences: [difference('kind', 'M', 'N', ['apiserver-a', 'c'])] },
      ];
      const status = { ...object.status, divergent, omitted: { peers: 0, divergent: omitted } };
      fake.objects.set(objectPath, { ...object, status });
    };
    const told = await run(['diff', 'a', 'b'], described(0));
    expect(told.stdout).to.contain('~ olds.v1.old\n    verbs: get -> get,watch\n').and.not.to.contain('mine');
    expect(told.stderr).to.equal('');
    const fieldDifferences = [
      {
        ...{ group: 'apps', resource: 'deployments', basis: 'Schemas' as const, writers: ['apiserver-b'] },
        appearing: { paths: ['spec.colour'], count: 3 },
        disappearing: { paths: ['spec.name'], count: 1 },
        described: { paths: ['spec.size'], count: 1 },
      },
    ];
    const fields = (fake: { objects: Map<string, unknown> }) => {
      const object = objectWith([peer('a'), peer('b')]);
      fake.objects.set(objectPath, { ...object, status: { ...object.status, fieldDifferences } });
    };
    const between = await run(['diff', 'a', 'b'], fields);
    expect(between.stdout).to.contain(
      '~ fields of deployments.apps\n    - spec.name\n    + spec.colour\n    + (2 more)\n    ~ spec.size\n',
    );
    expect(JSON.parse((await run(['diff', 'b', 'a', '-o', 'json'], fields)).stdout).fields[0]).to.deep.include({
      onlyLeft: ['spec.colour', '(2 more)'],
      onlyRight: ['spec.name'],
    });
    expect((await run(['diff', 'a', 'b'], described(1))).stderr).to.contain('does not list every difference');
    const served = (change: (fake: { objects: Map<string, unknown> }) => void) => (fake: Fake) => {
      change(fake);
      const bundle = bundleWith();
      const groupVersions = bundle.table.groupVersions.filter(({ group }) => group === 'old' || group === 'crd');
      fake.bundle = { ...bundle, table: { ...bundle.table, groupVersions } };
    };
    const nothing = (fake: { objects: Map<string, unknown> }) =>
      fake.objects.set(objectPath, { ...objectWith([peer('a'), peer('b')]), status: { divergent: [] } });
    const cut = (fake: { objects: Map<string, unknown> }) =>
      fake.objects.set(objectPath, {
        ...objectWith([peer('a'), peer('b')]),
        status: { divergent: [], omitted: { peers: 0, divergent: 1 } },
      });
    expect((await run(['diff', 'a', 'b'], served(nothing))).code, 'the same').to.equal(0);
    expect((await run(['diff', 'a', 'b'], served(fields))).code, 'other fields').to.equal(1);
    expect((await run(['diff', 'a', 'b'], served(cut))).code, 'not all differences are known').to.equal(3);
    const group = buildGroup('apps', buildVersion('v1', 'deployments'));
    const text = saved(group);
    const files = { x: text, y: text.replace('"verbs":["', '"verbs":["extra","') };
    expect(await run(['diff', 'x=x', 'y=x'], undefined, files)).to.include({ code: 0 });
    const changed = await run(['diff', 'x=x', 'y=y'], undefined, files);
    expect(changed.code).to.equal(1);
    expect(changed.stdout).to.match(/~ deployments\.v1\.apps\n {4}verbs: \S+ -> \S*extra/);
  });

  const event = (user: string, stage = 'ResponseComplete') =>
    JSON.stringify({
      ...{ kind: 'Event', stage, verb: 'list', user: { username: user }, userAgent: 'app/1' },
      ...{ stageTimestamp: '2026-11-24T06:00:00Z', objectRef: { apiGroup: 'old', apiVersion: 'v1', resource: 'olds' } },
    });
  const targetFiles = {
    target: saved(
      buildGroup('apps', buildVersion('v1', 'deployments', 'news')),
      buildGroup('old', buildVersion('v2', 'olds')),
    ),
    audit: `${event('alice')}\n${event('alice')}\n${event('bob', 'RequestReceived')}\nnot json\n`,
    quiet: `${event('alice').replace('"old"', '"apps"')}\n`,
  };

  it('shows before an upgrade what appears, what disappears, and who still uses it', async () => {
    const { code, stdout } = await run(
      ['preflight', '--target', 'target', '--audit-log', 'audit', '-o', 'json'],
      undefined,
      targetFiles,
    );
    const result = JSON.parse(stdout);
    expect(code).to.equal(1);
    expect(result.appear).to.deep.equal(['news.v1.apps', 'olds.v2.old']);
    expect(result.disappear).to.have.length(1);
    expect(result.disappear[0]).to.include({ resource: 'olds.v1.old', servedInsteadAs: 'olds.v2.old' });
    expect(result.disappear[0].usedBy).to.deep.equal([
      {
        ...{ source: 'audit', user: 'alice', userAgent: 'app/1', verbs: ['list'], requests: 2 },
        last: '2026-11-24T06:00:00Z',
      },
    ]);
  });

  it('passes an upgrade if no removed API is used, and counts the metrics as a use', async () => {
    const args = ['preflight', '--target', 'target', '--audit-log', 'quiet', '--target-version', '1.37'];
    expect((await run(args, undefined, targetFiles)).code).to.equal(0);
    const used = await run(
      args,
      (fake) => {
        fake.metrics =
          'apiserver_requested_deprecated_apis{group="old",removed_release="1.37",resource="olds",subresource="",version="v1"} 1\n';
      },
      targetFiles,
    );
    expect(used.code).to.equal(1);
    expect(used.stdout).to.contain('somebody, according to the metrics');
  });

  for (const [what, version, message] of [
    ['a step over a minor version', '1.38', 'skips a minor version'],
    ['a downgrade', 'v1.35.0', 'is a downgrade'],
    ['something that is no version', 'latest', 'is no version'],
  ] as const)
    it(`refuses ${what}`, async () => {
      const { code, stdout } = await run(['preflight', '--target-version', version]);
      expect(code).to.equal(1);
      expect(stdout).to.contain(message);
    });

  it('refuses an upgrade while a peer is away, versions are mixed, or nothing is routed', async () => {
    const object = objectWith([peer('a'), peer('b', { state: 'Unreachable' })], 'True', 'False');
    const { code, stdout } = await run(['preflight'], ({ objects }) =>
      objects.set(objectPath, { ...object, status: { ...object.status, mode: 'Observe' } }),
    );
    expect(code).to.equal(1);
    for (const name of ['peers ready', 'converged', 'mode']) expect(stdout).to.match(new RegExp(`${name} +fail`));
  });

  it('finds no fault in a healthy control plane', async () => {
    const { code, stdout } = await run(['doctor']);
    expect(code, stdout).to.equal(0);
    expect(stdout).not.to.match(/ (warn|fail|skip) /);
  });

  const faults: readonly [string, (fake: Fake) => void, RegExp, number][] = [
    [
      'no CRD',
      ({ objects }) =>
        void objects.delete(
          '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/peerdiscoveries.peerdiscovery.dev',
        ),
      /CustomResourceDefinition +fail/,
      1,
    ],
    [
      'a leader that is gone',
      ({ objects }) => objects.delete(`${leasesPath}/peerdiscovery-operator`),
      /leader +fail/,
      1,
    ],
    [
      'a table that cannot be read',
      (fake) => {
        fake.bundle = undefined;
      },
      /routing table +fail/,
      1,
    ],
    [
      'a missing permission',
      (fake) => {
        fake.denies = ({ resource }) => resource === 'nodes';
      },
      /may not: list nodes; watch nodes/,
      1,
    ],
    [
      'a certificate about to expire',
      ({ inspections }) => inspections.set('a.example:6443', { kind: 'verified', notAfter: now + 3 * day, skewMs: 0 }),
      /certificate a +fail +verified, valid for 3d/,
      1,
    ],
    [
      'a certificate that does not verify',
      ({ inspections }) => inspections.set('a.example:6443', { kind: 'refused', message: 'self-signed' }),
      /certificate a +fail +self-signed/,
      1,
    ],
    ['servers out of reach from here', ({ inspections }) => inspections.clear(), /certificate a +skip/, 0],
    [
      'clocks that are apart',
      ({ inspections }) =>
        inspections.set('a.example:6443', { kind: 'verified', notAfter: now + 200 * day, skewMs: -15_000 }),
      /clocks +fail +servers are within 15\.1 s/,
      1,
    ],
    [
      'an address of low trust',
      ({ objects }) => objects.set(objectPath, objectWith([peer('a', { trust: 'Low' })])),
      /address a +warn/,
      0,
    ],
    [
      "Kubernetes' own peer proxy everywhere",
      ({ objects }) => objects.set(objectPath, objectWith([peer('a', { peerAggregated: true })])),
      /own peer proxy +warn +every server runs it/,
      0,
    ],
  ];
  for (const [what, change, wanted, code] of faults)
    it(`finds ${what}`, async () => {
      const found = await run(['doctor'], change);
      expect(found.stdout).to.match(wanted);
      expect(found.code).to.equal(code);
    });

  it('reports every problem of a command line at once, and exits with 2', async () => {
    const { code, stderr } = await run(['diff', 'a', '--watch', '-o', 'wide']);
    expect(code).to.equal(2);
    expect(stderr).to.contain('unknown flag --watch').and.contain('-o wide').and.contain('give two peers');
  });

  it("completes kubectl's requests", async () => {
    const complete = async (...words: string[]) => (await run(['__complete', ...words])).stdout.trimEnd().split('\n');
    expect(await complete('do')).to.deep.equal([
      'doctor\tLook for what keeps PeerDiscovery from working: RBAC, certificates, addresses, clocks',
      ':4',
    ]);
    expect(await complete('diff', '')).to.deep.equal(['a', 'b', ':4']);
    expect(await complete('explain', 'dep')).to.deep.equal(['deployments.v1.apps', ':4']);
    expect(await complete('preflight', '--target', '')).to.deep.equal([':0']);
    expect(await complete('status', '--name', '')).to.deep.equal(['cluster', ':4']);
    expect(await complete('nonsense', '')).to.deep.equal([':4']);
  });

  it('shows the status page until it is stopped, or its obstacle', async () => {
    const { fake, context, written } = fakePlugin(now);
    expect(await runPlugin(['dashboard'], { ...context, signal: AbortSignal.abort() })).to.equal(0);
    expect(written.stdout).to.contain('The status page is at http://127.0.0.1:1/secret/\n');
    fake.page = () => {
      throw new PluginError('nobody leads', 'wait');
    };
    expect(await runPlugin(['dashboard'], context)).to.equal(3);
    expect(written.stderr).to.equal('error: nobody leads\n  cure: wait\n');
    for (const port of ['http', '65536', '-1'])
      expect(await runPlugin(['dashboard', `--port=${port}`], context), port).to.equal(2);
  });

  for (const component of ['operator', 'proxy'] as const) {
    const namespaces = {
      own: 'peerdiscovery-system',
      leases: 'kube-system',
      table: { namespace: 'peerdiscovery-system', name: 'peerdiscovery-cluster' },
    };
    const needed = requiredAccess(component, namespaces);
    const rules = grantedRules(component);

    it(`asks for no permission that config/rbac does not grant the ${component}`, () => {
      const missing = needed.filter((question) => !rules.some((rule) => grants(rule, question)));
      expect(missing).to.deep.equal([]);
    });

    it(`asks for every permission that config/rbac grants the ${component}`, () => {
      const unasked = rules.flatMap(splitRule).filter((rule) => !needed.some((question) => grants(rule, question)));
      expect(unasked).to.deep.equal([]);
    });
  }
});

interface Rule {
  readonly namespace: string | undefined;
  readonly apiGroups?: readonly string[];
  readonly resources?: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly nonResourceURLs?: readonly string[];
  readonly verbs: readonly string[];
}

interface RbacObject {
  readonly kind: string;
  readonly metadata?: { readonly name: string; readonly namespace?: string };
  readonly rules?: readonly Rule[];
  readonly roleRef?: { readonly kind: string; readonly name: string };
  readonly subjects?: readonly { readonly kind: string; readonly name: string }[];
}

/** The rules of all roles in `config/rbac` that are bound to the component's ServiceAccount. */
function grantedRules(component: string): readonly Rule[] {
  const root = join(import.meta.dirname, '../../config/rbac');
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.yaml'));
  const objects = files.flatMap((file) =>
    parseAllDocuments(readFileSync(join(root, file), 'utf8')).map((document): RbacObject => document.toJS()),
  );
  const roles = objects
    .filter(({ subjects }) => subjects?.some(({ name }) => name === `peerdiscovery-${component}`))
    .map(({ roleRef, metadata }) => ({ ...roleRef, namespace: metadata?.namespace }));
  return objects.flatMap(({ kind, metadata, rules = [] }) =>
    roles.some((role) => role.kind === kind && role.name === metadata?.name && role.namespace === metadata?.namespace)
      ? rules.map((rule) => ({ ...rule, namespace: metadata?.namespace }))
      : [],
  );
}

/** One rule for each verb on each resource or path. */
function splitRule(rule: Rule): readonly Rule[] {
  return rule.verbs.flatMap((verb) => [
    ...(rule.resources ?? []).map((resource) => ({ ...rule, verbs: [verb], resources: [resource] })),
    ...(rule.nonResourceURLs ?? []).map((url) => ({ ...rule, verbs: [verb], nonResourceURLs: [url] })),
  ]);
}

function grants(rule: Rule, question: AccessQuestion): boolean {
  if (!rule.verbs.includes(question.verb)) return false;
  if (question.nonResourcePath !== undefined) return rule.nonResourceURLs?.includes(question.nonResourcePath) === true;
  const resource =
    question.subresource === undefined ? question.resource : `${question.resource}/${question.subresource}`;
  return (
    (rule.namespace === undefined || rule.namespace === question.namespace) &&
    (rule.resourceNames === undefined || rule.resourceNames.includes(question.name ?? '')) &&
    rule.apiGroups?.includes(question.group ?? '') === true &&
    rule.resources?.includes(resource ?? '') === true
  );
}
