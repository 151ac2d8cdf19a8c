import { readFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { expect } from 'chai';
import { parse } from 'yaml';
import { buildClients, clientMinors } from '../../lab/build/build-clients.ts';
import { ensureControlPlane } from '../../lab/build/build-control-plane.ts';
import { ensureHelm } from '../../lab/build/build-go-tool.ts';
import { type MixedPlane, startMixedPlane } from '../../lab/plane/mixed-plane.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import { acceptHeaders, aggregatedV2 } from '../support/discovery-requests.ts';

const servers = [
  { name: 'old-1', version: '1.36', emulatedVersion: '1.33' },
  { name: 'mid-1', version: '1.35' },
  { name: 'new-1', version: '1.36', peerCa: true },
] as const;
const names = servers.map(({ name }) => name);

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

interface LegacyResource {
  readonly name: string;
  readonly verbs: readonly string[];
  readonly storageVersionHash?: string;
}

interface LegacyList {
  readonly groupVersion: string;
  readonly resources: readonly LegacyResource[];
}

interface LegacyGroups {
  readonly groups: readonly {
    readonly name: string;
    readonly versions: readonly { readonly groupVersion: string }[];
    readonly preferredVersion: { readonly version: string };
  }[];
}

describe('discovery over 1.33, 1.35 and 1.36', function () {
  this.timeout(300_000);
  let mixed: MixedPlane;

  before(async () => {
    const log = (message: string) => void process.stdout.write(`      … ${message}\n`);
    await ensureControlPlane({ versions: ['1.36', '1.35'], log });
    mixed = await startMixedPlane({ servers, home: 'old-1', log });
    mixed.startOperator();
    mixed.startProxy();
    await waitUntil('the proxy to serve what only new servers have', async () => {
      // The home server's own legacy list contains what any server of the control plane has registered.
      const { status } = await ask('proxy', '/apis/resource.k8s.io/v1').catch(() => ({ status: 0 }));
      return status === 200;
    });
  });

  after(async () => {
    await mixed?.stop();
  });

  function ask(
    target: string,
    path: string,
    accept: string | undefined = 'application/json',
    { method = 'GET', headers = {}, token = mixed.plane.tokens.admin as string | null } = {},
  ): Promise<Answer> {
    const url = target === 'proxy' ? mixed.proxyUrl : mixed.plane.server(target).url;
    return new Promise((resolve, reject) => {
      const request = httpsRequest(
        `${url}${path}`,
        {
          method,
          agent: false,
          ca: readFileSync(mixed.plane.caFile),
          headers: {
            ...(token !== null && { authorization: `Bearer ${token}` }),
            ...(accept !== undefined && { accept }),
            ...headers,
          },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.once('error', reject);
          response.once('end', () =>
            resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }),
          );
        },
      );
      request.once('error', reject);
      request.end();
    });
  }

  /**
   * The proxy's answer once it is no longer in doubt. A new proxy is in doubt at first, and so is one with slow
   * servers.
   */
  async function askUntilSure(path: string): Promise<Answer> {
    return waitUntil('certainty', async () => {
      const answer = await ask('proxy', path);
      if (answer.status !== 503) return answer;
      expect(answer.headers).to.have.property('retry-after');
      return false;
    });
  }

  async function askNone(target: string, path: string, method = 'GET') {
    return ask(target, path, undefined, { method });
  }

  async function read<T>(target: string, path: string): Promise<T | undefined> {
    const { status, body } = await ask(target, path);
    return status === 200 ? (JSON.parse(body.toString()) as T) : undefined;
  }

  /** All resources of all servers, from the servers' own legacy lists alone. */
  async function listGroupVersions(): Promise<Map<string, string[]>> {
    const union = new Map<string, string[]>([['v1', [...names]]]);
    for (const name of names)
      for (const { versions } of (await read<LegacyGroups>(name, '/apis'))?.groups ?? [])
        for (const { groupVersion } of versions) union.set(groupVersion, [...(union.get(groupVersion) ?? []), name]);
    return union;
  }

  const pathOf = (groupVersion: string) => (groupVersion === 'v1' ? '/api/v1' : `/apis/${groupVersion}`);

  it('answers an invalid timeout as a server does, on every path of discovery', async () => {
    for (const path of ['/apis', '/api', '/api/v1', '/apis/apps', '/apis/apps/v1', '/openapi/v3', '/openapi/v2'])
      for (const query of ['timeout=abc', 't%69meout=1', 'timeout=32s', 'timeout='])
        for (const token of [mixed.plane.tokens.admin ?? '', 'nobody'])
          expect(
            (await ask('proxy', `${path}?${query}`, undefined, { token })).status,
            `${path}?${query} as ${token}`,
          ).to.equal((await ask('new-1', `${path}?${query}`, undefined, { token })).status);
  });

  for (const path of ['/apis', '/api', '/apis/apps', '/apis/apps/v1', '/api/v1', '/apis/peerdiscovery.dev/v1alpha1'])
    it(`negotiates ${path} as servers do`, async () => {
      const differences: string[] = [];
      for (const accept of acceptHeaders) {
        const [ours, ...theirs] = await Promise.all(
          ['proxy', 'old-1', 'new-1'].map(async (target) => {
            const { status, headers, body } =
              accept === undefined ? await askNone(target, path) : await ask(target, path, accept);
            return JSON.stringify([status, headers['content-type'], headers.vary, status >= 400 && body.toString()]);
          }),
        );
        for (const their of theirs)
          if (their !== ours) differences.push(`${accept}: a server says ${their}, the proxy ${ours}`);
      }
      expect(differences).to.deep.equal([]);
    });

  it('answers other methods as servers do', async () => {
    const differences: string[] = [];
    for (const method of ['HEAD', 'OPTIONS', 'POST', 'PUT', 'DELETE'])
      for (const path of [
        '/apis',
        '/apis/',
        '/api',
        '/api/',
        '/apis/apps',
        '/apis/apps/',
        '/apis/apps/v1',
        '/api/v1/',
      ]) {
        const [ours, theirs] = await Promise.all(
          ['proxy', 'new-1'].map(async (target) => {
            const { status, headers, body } = await ask(target, path, 'application/json', { method });
            return JSON.stringify([status, headers['content-type'], status >= 400 && body.toString()]);
          }),
        );
        if (ours !== theirs) differences.push(`${method} ${path}: a server says ${theirs}, the proxy ${ours}`);
      }
    expect(differences).to.deep.equal([]);
  });

  it('lists every group-version of any server in /apis and /apis/<group>', async () => {
    const union = await listGroupVersions();
    const legacy = await read<LegacyGroups>('proxy', '/apis');
    const listed = legacy?.groups.flatMap(({ versions }) => versions.map(({ groupVersion }) => groupVersion)) ?? [];
    expect([...listed, 'v1']).to.have.members([...union.keys()]);
    expect((await ask('old-1', '/apis/resource.k8s.io/v1')).status).to.equal(404);
    expect((await ask('proxy', '/apis/resource.k8s.io/v1')).status).to.equal(200);
    for (const { name, ...group } of legacy?.groups ?? [])
      expect(await read('proxy', `/apis/${name}`)).to.deep.equal({
        kind: 'APIGroup',
        apiVersion: 'v1',
        name,
        ...group,
      });
  });

  it('serves the union of every group-version, core/v1 included, and 404 for none of them', async () => {
    for (const [groupVersion, serving] of await listGroupVersions()) {
      const path = pathOf(groupVersion);
      const ours = await read<LegacyList>('proxy', path);
      const union = new Map<string, LegacyResource>();
      for (const name of serving)
        for (const { storageVersionHash: _, ...resource } of (await read<LegacyList>(name, path))?.resources ?? []) {
          const before = union.get(resource.name);
          const verbs = [...new Set([...(before?.verbs ?? []), ...resource.verbs])];
          union.set(resource.name, { ...resource, ...before, verbs: before === undefined ? resource.verbs : verbs });
        }
      const byName = (list: readonly LegacyResource[]) =>
        Object.fromEntries(list.map(({ verbs, ...rest }) => [rest.name, { ...rest, verbs: [...verbs].sort() }]));
      expect(byName(ours?.resources ?? []), path).to.deep.equal(byName([...union.values()]));
    }
  });

  it("writes each form like a server with the same document, byte for byte if the server's is the union", async () => {
    // `new-1` merges /apis itself. For these group-versions, all servers agree.
    for (const accept of [
      aggregatedV2,
      aggregatedV2.replace('json', 'yaml'),
      `${aggregatedV2};pretty=1`,
      aggregatedV2.replace('json', 'vnd.kubernetes.protobuf'),
    ]) {
      const [ours, theirs] = await Promise.all([ask('proxy', '/apis', accept), ask('new-1', '/apis', accept)]);
      expect(ours.body.equals(theirs.body), accept).to.equal(true);
      expect(ours.headers.etag).to.equal(theirs.headers.etag);
    }
    for (const accept of [
      'application/json',
      'application/yaml',
      'application/json;pretty=1',
      'application/vnd.kubernetes.protobuf',
    ])
      for (const path of [
        '/apis/apps',
        '/apis/policy',
        '/apis/authorization.k8s.io/v1',
        '/apis/authentication.k8s.io',
      ]) {
        const [ours, theirs] = await Promise.all([ask('proxy', path, accept), ask('new-1', path, accept)]);
        expect(ours.body.toString('latin1'), `${path} ${accept}`).to.equal(theirs.body.toString('latin1'));
      }
    const yaml = await ask('proxy', '/apis/apps/v1', 'application/yaml');
    const json = await read<object>('proxy', '/apis/apps/v1');
    expect(parse(yaml.body.toString())).to.deep.equal(json);
  });

  it('answers 304 to the ETag of every form, and answers pretty requests', async () => {
    for (const path of [
      '/apis',
      '/api',
      '/apis/apps',
      '/apis/resource.k8s.io/v1',
      '/api/v1',
      '/openapi/v3',
      '/openapi/v2',
    ])
      for (const accept of path.startsWith('/openapi')
        ? ['application/json']
        : ['application/json', 'application/yaml']) {
        const { headers } = await ask('proxy', path, accept);
        expect(headers.etag, `${path} ${accept}`).to.match(/^"[0-9A-F]{128}"$/);
        const again = await ask('proxy', path, accept, { headers: { 'if-none-match': headers.etag } });
        expect(again.status, `${path} ${accept}`).to.equal(304);
        expect(again.body).to.have.length(0);
      }
    const pretty = await ask('proxy', '/apis/apps', '*/*', { headers: { 'user-agent': 'curl/8' } });
    const theirs = await ask('new-1', '/apis/apps', '*/*', { headers: { 'user-agent': 'curl/8' } });
    expect(pretty.body.toString()).to.equal(theirs.body.toString());
    expect((await ask('proxy', '/apis/apps?pretty=true')).body.toString()).to.equal(theirs.body.toString());
  });

  it('shows no user more than the server would show', async () => {
    for (const path of [
      '/apis',
      '/api/v1',
      '/apis/resource.k8s.io/v1',
      '/openapi/v3',
      '/openapi/v2',
      '/openapi/v3/apis/apps/v1',
    ]) {
      const anonymous = await ask('proxy', path, '*/*', { token: null });
      expect(anonymous.status, path).to.equal(403);
      expect((await ask('proxy', path, '*/*', { token: 'wrong' })).status, path).to.equal(401);
      expect((await ask('proxy', path, '*/*', { token: mixed.plane.tokens.reader })).status, path).to.equal(200);
      const nobody = { 'impersonate-user': 'system:anonymous', 'impersonate-group': 'system:unauthenticated' };
      expect((await ask('proxy', path, '*/*', { headers: nobody })).status, path).to.equal(403);
    }
  });

  it('has every schema of any server in /openapi/v3, and gets each document from a server that has it', async () => {
    interface Index {
      readonly paths: Readonly<Record<string, { readonly serverRelativeURL: string }>>;
    }
    const union = new Set<string>();
    for (const name of names)
      for (const key of Object.keys((await read<Index>(name, '/openapi/v3'))?.paths ?? {})) union.add(key);
    const index = await read<Index>('proxy', '/openapi/v3');
    expect(Object.keys(index?.paths ?? {})).to.have.members([...union]);
    const url = index?.paths['apis/resource.k8s.io/v1']?.serverRelativeURL ?? '';
    expect((await ask('old-1', url)).status).to.equal(404);
    const document = await ask('proxy', url);
    expect(document.status).to.equal(200);
    expect(document.headers['cache-control']).to.equal('public, immutable');
    expect(url).to.contain(String(document.headers.etag).replaceAll('"', ''));
    const moved = await ask('proxy', `${url.split('?')[0]}?hash=wrong`);
    expect(moved).to.deep.include({ status: 301 });
    expect(moved.headers.location).to.equal(url);
    for (const name of names) {
      const own = (await read<Index>(name, '/openapi/v3'))?.paths['api/v1']?.serverRelativeURL ?? '';
      const answer = await ask('proxy', own, 'application/com.github.proto-openapi.spec.v3@v1.0+protobuf');
      expect(answer.status, own).to.equal(200);
    }
    expect((await askUntilSure('/openapi/v3/apis/nope.example/v1')).status).to.equal(404);
  });

  it('merges /openapi/v2, as JSON and as protobuf', async () => {
    interface Swagger {
      readonly paths: object;
      readonly definitions: object;
    }
    const documents = await Promise.all([...names, 'proxy'].map((name) => read<Swagger>(name, '/openapi/v2')));
    const ours = documents.pop();
    for (const part of ['paths', 'definitions'] as const) {
      const union = new Set(documents.flatMap((document) => Object.keys(document?.[part] ?? {})));
      expect(Object.keys(ours?.[part] ?? {})).to.have.members([...union]);
    }
    const protobuf = 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf';
    const binary = await ask('proxy', '/openapi/v2', protobuf, { headers: { 'accept-encoding': 'gzip' } });
    expect(binary.headers).to.include({
      'content-encoding': 'gzip',
      'content-type': 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf',
    });
    const bytes = gunzipSync(binary.body);
    for (const path of Object.keys(ours?.paths ?? {})) expect(bytes.includes(path), path).to.equal(true);
  });

  it('shows kubectl every resource', async () => {
    const run = async (...args: string[]) => {
      const { code, stdout, stderr } = await mixed.kubectl('proxy', args);
      expect(code, `kubectl ${args.join(' ')}: ${stderr}`).to.equal(0);
      return stdout;
    };
    const union = await listGroupVersions();
    expect((await run('api-versions')).trim().split('\n')).to.have.members([...union.keys()]);
    const resources = new Set<string>();
    for (const [groupVersion, serving] of union)
      for (const name of serving)
        for (const resource of (await read<LegacyList>(name, pathOf(groupVersion)))?.resources ?? [])
          if (!resource.name.includes('/')) resources.add(resource.name);
    const listed = (await run('api-resources', '--no-headers'))
      .trim()
      .split('\n')
      .map((line) => line.split(/\s+/)[0]);
    expect(new Set(listed)).to.deep.equal(resources);
    expect(await run('explain', 'resourceclaims.spec.devices', '--api-version=resource.k8s.io/v1')).to.contain(
      'requests',
    );
    for (const path of ['/apis', '/api/v1', '/apis/resource.k8s.io/v1', '/openapi/v3', '/openapi/v2', '/version'])
      JSON.parse(await run('get', '--raw', path));
    const claim = {
      apiVersion: 'resource.k8s.io/v1',
      kind: 'DeviceClass',
      metadata: { name: 'discovered.example.com' },
      spec: {},
    };
    const applied = await mixed.kubectl('proxy', ['apply', '--server-side', '-f', '-'], JSON.stringify(claim));
    expect(applied.code, applied.stderr).to.equal(0);
    const clientSide = await mixed.kubectl(
      'proxy',
      ['apply', '-f', '-'],
      JSON.stringify({ ...claim, metadata: { name: 'second.example.com' } }),
    );
    expect(clientSide.code, clientSide.stderr).to.equal(0);
    expect(
      (await mixed.kubectl('old-1', ['apply', '--server-side', '-f', '-'], JSON.stringify(claim))).code,
    ).not.to.equal(0);
  });

  for (const minor of clientMinors)
    it(`looks like an all-new control plane to kubectl and client-go ${minor}`, async function () {
      // The first build takes a minute or two.
      this.timeout(900_000);
      const folder = await buildClients(minor, (message) => void process.stdout.write(`      … ${message}\n`));
      const run = async (program: string, args: readonly string[], input?: string) => {
        const outcome = await mixed.plane.exec(join(folder, program), args, input === undefined ? {} : { input });
        return { ...outcome, what: `${program} ${minor} ${args.join(' ')}: ${outcome.stderr}` };
      };
      const both = async (args: readonly string[], input?: string) => {
        const [ours, theirs] = await Promise.all(
          ['proxy', 'new-1'].map((target) =>
            run('kubectl', ['--kubeconfig', mixed.kubeconfigOf(target), ...args], input),
          ),
        );
        expect(theirs?.code, theirs?.what).to.equal(0);
        expect(ours?.code, ours?.what).to.equal(0);
        expect(ours?.stdout, ours?.what).to.equal(theirs?.stdout);
        return ours?.stdout ?? '';
      };
      const found = await run('discovery-client', [mixed.kubeconfigOf('proxy')]);
      const wanted = await run('discovery-client', [mixed.kubeconfigOf('new-1')]);
      expect(found.code, found.what).to.equal(0);
      expect(JSON.parse(found.stdout)).to.deep.equal(JSON.parse(wanted.stdout));
      expect(found.stdout).to.contain('resource.k8s.io/v1, Kind=ResourceClaim is');
      // The old server alone is a separate case.
      expect((await run('discovery-client', [mixed.kubeconfigOf('old-1')])).stdout).not.to.contain(
        'Kind=ResourceClaim is',
      );
      expect(await both(['api-resources', '--sort-by=name'])).to.contain('resourceclaims');
      expect(await both(['api-versions'])).to.contain('resource.k8s.io/v1');
      expect(await both(['explain', 'resourceclaims', '--api-version=resource.k8s.io/v1'])).to.contain('ResourceClaim');
      const claim = JSON.stringify({
        apiVersion: 'resource.k8s.io/v1',
        kind: 'ResourceClaim',
        metadata: { name: `claim-${minor.replace('.', '-')}`, namespace: 'default' },
        spec: {},
      });
      // What `helm template --validate` does: maps every kind, and validates the manifest against the schema.
      await both(['create', '--dry-run=client', '--validate=true', '-o', 'name', '-f', '-'], claim);
      for (const args of [
        ['apply', '--server-side', '-f', '-'],
        ['apply', '--force-conflicts', '--server-side', '-f', '-'],
        ['delete', '-f', '-'],
        ['apply', '-f', '-'],
        ['apply', '-f', '-'],
        ['delete', '-f', '-'],
      ]) {
        const { code, what } = await run('kubectl', ['--kubeconfig', mixed.kubeconfigOf('proxy'), ...args], claim);
        expect(code, what).to.equal(0);
      }
    });

  it('looks like an all-new server to Helm, for charts, validation and installation', async function () {
    // The first build takes some minutes.
    this.timeout(900_000);
    const folder = await ensureHelm((message) => void process.stdout.write(`      … ${message}\n`));
    const chart = fileURLToPath(new URL('claims-chart', import.meta.url));
    const run = (target: string, ...args: string[]) =>
      mixed.plane.exec(join(folder, 'helm'), ['--kubeconfig', mixed.kubeconfigOf(target), ...args]);
    const helm = async (target: string, ...args: string[]) => {
      const { code, stdout, stderr } = await run(target, ...args);
      expect(code, `helm ${args.join(' ')} at ${target}: ${stderr}${stdout}`).to.equal(0);
      return stdout;
    };
    const newest = 'kind: MutatingAdmissionPolicy';
    const rendered = await helm('proxy', 'template', 'claims', chart, '--validate');
    expect(rendered).to.equal(await helm('new-1', 'template', 'claims', chart, '--validate'));
    expect(rendered).to.contain(newest).and.to.contain('kind: ResourceClaim');
    // The servers that lack one are a separate case.
    expect(await helm('old-1', 'template', 'claims', chart, '--validate')).not.to.contain('kind: ResourceClaim');
    expect(await helm('mid-1', 'template', 'claims', chart, '--validate')).not.to.contain(newest);

    const objects = ['configmap/claims-apis', 'resourceclaim/claims', 'mutatingadmissionpolicy/claims.example.com'];
    const installed: string[] = [];
    for (const target of ['proxy', 'new-1']) {
      await helm(target, 'install', 'claims', chart, '--namespace', 'default', '--wait');
      await helm(target, 'upgrade', 'claims', chart, '--namespace', 'default', '--wait');
      installed.push(await helm(target, 'get', 'manifest', 'claims', '--namespace', 'default'));
      const { code, stderr } = await mixed.kubectl('new-1', ['get', '-n', 'default', ...objects]);
      expect(code, stderr).to.equal(0);
      await helm(target, 'uninstall', 'claims', '--namespace', 'default', '--wait');
      const left = await mixed.kubectl('new-1', [
        'get',
        '-n',
        'default',
        '--ignore-not-found',
        '-o',
        'name',
        ...objects,
      ]);
      expect(left.stdout).to.equal('');
    }
    expect(installed[0]).to.equal(installed[1]).and.to.contain(newest);
  });

  it('routes a new CRD at once, and forgets a deleted one everywhere at once', async () => {
    const name = 'widgets.discovery.example.com';
    const crd = {
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name },
      spec: {
        group: 'discovery.example.com',
        scope: 'Namespaced',
        names: { plural: 'widgets', singular: 'widget', kind: 'Widget', listKind: 'WidgetList' },
        versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object' } } }],
      },
    };
    const created = await mixed.kubectl('new-1', ['apply', '-f', '-'], JSON.stringify(crd));
    expect(created.code, created.stderr).to.equal(0);
    const path = '/apis/discovery.example.com/v1';
    await waitUntil('its legacy list', async () => (await ask('proxy', path)).status === 200);
    // A server answers 429 for a moment before it serves a new resource.
    await waitUntil('its resource', async () => (await ask('proxy', `${path}/widgets`)).status === 200);
    await mixed.kubectl('new-1', ['delete', 'crd', name]);
    const gone = async (accept: string, where: string) =>
      !(await ask('proxy', where, accept)).body.includes('discovery.example.com');
    await waitUntil(
      'its end',
      async () => (await gone('application/json', '/apis')) && (await gone(aggregatedV2, '/apis')),
    );
    await waitUntil('404 for its list', async () => (await ask('proxy', path)).status === 404);
  });

  it('passes on that an aggregated API is dead', async () => {
    const apiService = {
      apiVersion: 'apiregistration.k8s.io/v1',
      kind: 'APIService',
      metadata: { name: 'v1.dead.example.com' },
      spec: {
        group: 'dead.example.com',
        version: 'v1',
        groupPriorityMinimum: 1000,
        versionPriority: 15,
        insecureSkipTLSVerify: true,
        service: { name: 'none', namespace: 'default' },
      },
    };
    await mixed.kubectl('new-1', ['apply', '-f', '-'], JSON.stringify(apiService));
    const stale = '{"version":"v1","freshness":"Stale"}';
    await waitUntil('it as Stale', async () => {
      const { body } = await ask('proxy', '/apis', aggregatedV2);
      return (
        body.includes(`{"metadata":{"name":"dead.example.com","creationTimestamp":null},"versions":[${stale}]}`) ||
        body.includes(`{"metadata":{"name":"dead.example.com"},"versions":[${stale}]}`)
      );
    });
    expect((await ask('proxy', '/apis')).body.includes('dead.example.com/v1')).to.equal(true);
    for (const target of ['old-1', 'proxy'])
      expect((await ask(target, '/apis/dead.example.com/v1')).status, target).to.equal(503);
    await mixed.kubectl('new-1', ['delete', 'apiservice', 'v1.dead.example.com']);
    await waitUntil(
      'its end',
      async () => !(await ask('proxy', '/apis', aggregatedV2)).body.includes('dead.example.com'),
    );
  });

  it('keeps resources of lost servers in every form, and answers 503 for them', async () => {
    await Promise.all(['mid-1', 'new-1'].map((name) => mixed.plane.server(name).kill()));
    await waitUntil('503', async () => (await ask('proxy', '/apis/resource.k8s.io/v1/resourceclaims')).status === 503);
    for (const [path, accept] of [
      ['/apis', 'application/json'],
      ['/apis', aggregatedV2],
      ['/apis/resource.k8s.io', 'application/json'],
      ['/apis/resource.k8s.io/v1', 'application/json'],
    ] as const)
      expect((await ask('proxy', path, accept)).body.toString(), path).to.contain('resource.k8s.io');
    expect((await ask('proxy', '/openapi/v3/apis/resource.k8s.io/v1')).status).to.equal(503);
    const states = ['get', 'peerdiscovery', 'cluster', '-o', 'jsonpath={.status.peers[*].state}'];
    let seen = '';
    await waitUntil(
      'both shown as lost',
      async () => {
        seen = (await mixed.kubectl('old-1', states)).stdout.split(' ').sort().join(' ');
        return seen === 'Ready Unreachable Unreachable';
      },
      { seen: () => seen },
    );
  });
});
