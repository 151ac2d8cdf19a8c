import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { ensureControlPlane } from '../../lab/build/build-control-plane.ts';
import type { KeyPair } from '../../lab/plane/certificates.ts';
import { startFakePod } from '../../lab/plane/fake-pod.ts';
import { type MixedPlane, startMixedPlane } from '../../lab/plane/mixed-plane.ts';
import { repository } from '../../lab/repository.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import { createWireClient } from '../support/wire-client.ts';

const account = { kind: 'ServiceAccount', name: 'peerdiscovery-proxy', namespace: 'peerdiscovery-system' };
const rbac = 'rbac.authorization.k8s.io';

/** The rights that the guide tells an administrator to grant in each mode, for the users of this test. */
const grants = {
  apiVersion: 'v1',
  kind: 'List',
  items: [
    {
      apiVersion: `${rbac}/v1`,
      kind: 'RoleBinding',
      metadata: { name: 'peerdiscovery-proxy-authentication-reader', namespace: 'kube-system' },
      roleRef: { apiGroup: rbac, kind: 'Role', name: 'extension-apiserver-authentication-reader' },
      subjects: [account],
    },
    {
      apiVersion: `${rbac}/v1`,
      kind: 'ClusterRole',
      metadata: { name: 'peerdiscovery-proxy-impersonator' },
      rules: [
        { apiGroups: [''], resources: ['users'], resourceNames: ['jane', 'root'], verbs: ['impersonate'] },
        {
          apiGroups: [''],
          resources: ['groups'],
          resourceNames: ['dev', 'a, b', 'system:authenticated'],
          verbs: ['impersonate'],
        },
        {
          apiGroups: ['authentication.k8s.io'],
          resources: ['userextras/authentication.kubernetes.io/credential-id', 'uids'],
          verbs: ['impersonate'],
        },
      ],
    },
    {
      apiVersion: `${rbac}/v1`,
      kind: 'ClusterRoleBinding',
      metadata: { name: 'peerdiscovery-proxy-impersonator' },
      roleRef: { apiGroup: rbac, kind: 'ClusterRole', name: 'peerdiscovery-proxy-impersonator' },
      subjects: [account],
    },
    {
      apiVersion: `${rbac}/v1`,
      kind: 'ClusterRoleBinding',
      metadata: { name: 'dev-reads-claims' },
      roleRef: { apiGroup: rbac, kind: 'ClusterRole', name: 'claim-reader' },
      subjects: [{ apiGroup: rbac, kind: 'Group', name: 'dev' }],
    },
    {
      apiVersion: `${rbac}/v1`,
      kind: 'ClusterRole',
      metadata: { name: 'claim-reader' },
      rules: [
        { apiGroups: ['resource.k8s.io'], resources: ['resourceclaims'], verbs: ['list'] },
        { apiGroups: [''], resources: ['pods', 'pods/exec'], verbs: ['get', 'create'] },
      ],
    },
  ],
};

describe('identity at real kube-apiservers of 1.33 and 1.36', function () {
  this.timeout(300_000);
  const folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-identity-'));
  const proxies = { TokenPassthrough: 7443, RequestHeader: 7444, Impersonation: 7445 } as const;
  type Mode = keyof typeof proxies;
  let mixed: MixedPlane;
  let jane: KeyPair;
  let root: KeyPair;
  let pretender: KeyPair;
  /** The proxy that the last test ends. */
  let stopping: ChildProcess;
  const urlOf = (target: 'direct' | Mode) =>
    target === 'direct' ? mixed.plane.server('old-1').url : `https://10.77.0.30:${proxies[target]}`;

  before(async () => {
    const log = (message: string) => void process.stdout.write(`      … ${message}\n`);
    await ensureControlPlane({ versions: ['1.36'], log });
    mixed = await startMixedPlane({
      servers: [
        { name: 'old-1', version: '1.36', emulatedVersion: '1.33' },
        { name: 'new-1', version: '1.36' },
      ],
      home: 'old-1',
      log,
    });
    const { plane } = mixed;
    const { code, stderr } = await mixed.kubectl('old-1', ['apply', '-f', '-'], JSON.stringify(grants));
    if (code !== 0) throw new Error(stderr);
    mixed.startOperator();
    await startFakePod(mixed);
    jane = plane.issueClientCert('jane', '/O=dev/O=a, b/CN=jane');
    root = plane.issueClientCert('root', '/O=system:masters/CN=root');
    pretender = plane.issueClientCert('pretender', '/CN=front-proxy-client');
    const tokenFile = join(folder, 'token');
    writeFileSync(tokenFile, plane.tokens.proxy, { mode: 0o600 });
    const serving = plane.issueServingCert('identity', ['localhost'], ['10.77.0.30']);
    const kubeconfig = plane.kubeconfig({ server: plane.server('old-1').url, token: plane.tokens.proxy, name: 'id' });
    const { cert, key } = plane.frontProxyClient;
    const flagsOf: Record<Mode, string[]> = {
      TokenPassthrough: ['--shutdown-delay-duration', '3s'],
      RequestHeader: ['--proxy-client-cert-file', cert, '--proxy-client-key-file', key],
      Impersonation: ['--impersonation-token-file', tokenFile, '--client-ca-file', plane.caFile],
    };
    for (const [mode, port] of Object.entries(proxies)) {
      const child = plane.spawn(
        process.execPath,
        [
          join(repository, 'src', 'bin', 'peerdiscovery.ts'),
          'proxy',
          ...['--authentication-mode', mode, ...flagsOf[mode as Mode], '--access-log', '--log-format', 'text'],
          ...['--tls-cert-file', serving.cert, '--tls-private-key-file', serving.key, '--peer-ca-file', plane.caFile],
          ...['--kubeconfig', kubeconfig, '--namespace', 'peerdiscovery-system'],
          ...['--bind-address', '10.77.0.30', '--secure-port', String(port), '--home', plane.server('old-1').address],
          ...['--health-bind-address', `127.0.0.1:${port + 1000}`],
        ],
        { name: `proxy-${mode}` },
      );
      if (mode === 'TokenPassthrough') stopping = child;
    }
    for (const [mode, port] of Object.entries(proxies)) {
      let seen = '';
      await waitUntil(
        `the proxy in mode ${mode} to be ready and to know the new server`,
        async () => {
          const ready = await plane.exec('curl', [
            '-sS',
            '-w',
            '%{http_code}',
            `http://127.0.0.1:${port + 1000}/readyz`,
          ]);
          const claims = await curl(mode as Mode, claimsPath, ['-H', `Authorization: Bearer ${plane.tokens.admin}`]);
          seen = `${ready.stdout}${ready.stderr}\n${claims}`;
          return ready.stdout.endsWith('200') && claims === '200';
        },
        { seen: () => seen },
      );
    }
  });

  after(async () => {
    await mixed?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const claimsPath = '/apis/resource.k8s.io/v1/resourceclaims';
  const secretsPath = '/api/v1/secrets';

  /** The status of a GET. */
  async function curl(target: 'direct' | Mode, path: string, args: readonly string[]): Promise<string> {
    const common = ['-sS', '-o', '/dev/null', '-w', '%{http_code}', '--cacert', mixed.plane.caFile];
    const { stdout, stderr } = await mixed.plane.exec('curl', [...common, ...args, `${urlOf(target)}${path}`]);
    return stdout === '000' ? stderr : stdout;
  }

  const withToken = (name: 'admin' | 'reader') => ['--token', mixed.plane.tokens[name]];
  const withCertificate = ({ cert, key }: KeyPair) => ['--client-certificate', cert, '--client-key', key];

  /** The output of `kubectl auth whoami`, or its error. */
  async function whoami(target: 'direct' | Mode, args: readonly string[]): Promise<unknown> {
    const access = [
      '--kubeconfig',
      '/dev/null',
      '--server',
      urlOf(target),
      '--certificate-authority',
      mixed.plane.caFile,
    ];
    const { code, stdout, stderr } = await mixed.plane.exec('kubectl', [
      ...['auth', 'whoami', '-o', 'json', ...access, ...args],
    ]);
    return code === 0 ? (JSON.parse(stdout) as { status: { userInfo: unknown } }).status.userInfo : stderr.trim();
  }

  const impersonation = ['--as=bob', '--as-group=g1', '--as-group=g2', '--as-uid=u-1', '--as-user-extra=acme.com/k=v'];

  for (const mode of Object.keys(proxies) as Mode[])
    describe(`in mode ${mode}`, () => {
      it('is the same user with a token as directly, impersonated or not', async () => {
        for (const args of [withToken('admin'), withToken('reader'), [...withToken('admin'), ...impersonation]]) {
          const direct = await whoami('direct', args);
          expect(await whoami(mode, args)).to.deep.equal(direct);
          expect(direct).to.be.an('object');
        }
        expect(await whoami(mode, [...withToken('admin'), ...impersonation])).to.deep.include({
          username: 'bob',
          uid: 'u-1',
          groups: ['g1', 'g2', 'system:authenticated'],
          extra: { 'acme.com/k': ['v'] },
        });
      });

      it('gives no client an identity for X-Remote-*', async () => {
        const { tokens } = mixed.plane;
        const forged = ['-H', 'X-Remote-User: admin', '-H', 'X-Remote-Group: system:masters'];
        const clients: Record<string, string[]> = {
          nobody: [],
          reader: ['-H', `Authorization: Bearer ${tokens.reader}`],
          jane: ['--cert', jane.cert, '--key', jane.key],
          pretender: ['--cert', pretender.cert, '--key', pretender.key],
        };
        for (const [client, args] of Object.entries(clients))
          for (const extra of [forged, [...forged, '--http1.1'], [...forged, '-H', 'Connection: X-Remote-User']])
            expect(await curl(mode, secretsPath, [...args, ...extra]), client).to.be.oneOf(['401', '403']);
        expect(await curl(mode, secretsPath, ['-H', `Authorization: Bearer ${tokens.admin}`])).to.equal('200');
      });
    });

  for (const mode of ['RequestHeader', 'Impersonation'] as const)
    it(`is the same user with a certificate as directly, in mode ${mode}`, async () => {
      const direct = await whoami('direct', withCertificate(jane));
      expect(direct).to.deep.include({ username: 'jane', groups: ['dev', 'a, b', 'system:authenticated'] });
      expect(direct).to.have.nested.property('extra.authentication\\.kubernetes\\.io/credential-id');
      expect(await whoami(mode, withCertificate(jane))).to.deep.equal(direct);
    });

  it('has the rights of a certificate at the other server, too', async () => {
    const { cert, key } = jane;
    for (const mode of ['RequestHeader', 'Impersonation'] as const) {
      expect(await curl(mode, claimsPath, ['--cert', cert, '--key', key])).to.equal('200');
      expect(await curl(mode, secretsPath, ['--cert', cert, '--key', key])).to.equal('403');
    }
    expect(await curl('direct', claimsPath, ['--cert', cert, '--key', key])).to.equal('404');
  });

  it('has the rights of system:masters, and impersonates, by request headers as directly', async () => {
    const args = [...withCertificate(root), ...impersonation];
    const direct = await whoami('direct', args);
    expect(direct).to.be.an('object');
    expect(await whoami('RequestHeader', args)).to.deep.equal(direct);
    expect(await curl('RequestHeader', secretsPath, ['--cert', root.cert, '--key', root.key])).to.equal('200');
  });

  it('has only the rights that the account of the proxy may pass on by impersonation, and gets an error about it', async () => {
    const read = async ({ cert, key }: KeyPair, ...args: string[]) =>
      (
        await mixed.plane.exec('curl', [
          ...['-sS', '--cacert', mixed.plane.caFile, '--cert', cert, '--key', key, ...args],
          `${urlOf('Impersonation')}${secretsPath}`,
        ])
      ).stdout;
    expect(await read(root)).to.match(/groups.*system:masters.*cannot impersonate/);
    expect(await read(jane, '-H', 'Impersonate-User: bob')).to.match(
      /such a user cannot impersonate others.*Forbidden/s,
    );
  });

  for (const protocol of ['http1', 'http2'] as const)
    for (const count of [200, 1_000, 5_000])
      it(`accepts ${count} groups of a user from a gateway over ${protocol}, as kube-apiserver does`, async () => {
        const { plane } = mixed;
        const ca = readFileSync(plane.caFile, 'utf8');
        const names = Array.from({ length: count }, (_, at) => `group-${at}@directory.example.com`);
        const frontProxy = {
          certificate: {
            cert: readFileSync(plane.frontProxyClient.cert, 'utf8'),
            key: readFileSync(plane.frontProxyClient.key, 'utf8'),
          },
        };
        const gateways = [
          { mode: 'TokenPassthrough', prefix: 'Impersonate', client: { token: plane.tokens.admin } },
          { mode: 'RequestHeader', prefix: 'X-Remote', client: frontProxy },
        ] as const;
        for (const { mode, prefix, client } of gateways)
          for (const target of ['direct', mode] as const) {
            const wire = createWireClient({ url: urlOf(target), ca, ...client });
            const user = [`${prefix}-User`, 'jane', ...names.flatMap((name) => [`${prefix}-Group`, name])];
            try {
              const review = await wire[protocol]({
                method: 'POST',
                path: '/apis/authentication.k8s.io/v1/selfsubjectreviews',
                headers: [...user, 'Content-Type', 'application/json'],
                body: '{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}',
              });
              expect(review.status, `${target}: ${review.body}`).to.equal(201);
              const { groups } = JSON.parse(review.body.toString()).status.userInfo;
              expect(groups).to.deep.equal([...names, 'system:authenticated']);
              const headers = [...user, `${prefix}-Group`, 'system:masters'];
              for (const path of [
                '/apis',
                '/api/v1/namespaces?limit=1',
                '/apis/apps/v1/deployments?watch=1&timeoutSeconds=1',
              ])
                expect((await wire[protocol]({ path, headers })).status, `${target} ${path}`).to.equal(200);
            } finally {
              wire.close();
            }
          }
      });

  for (const protocol of ['WebSocket', 'SPDY'])
    it(`streams with a certificate over ${protocol}, in both modes`, async () => {
      const isWebSocket = String(protocol === 'WebSocket');
      const env = { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: isWebSocket };
      const exec = (mode: Mode, pair: KeyPair) =>
        mixed.plane.exec(
          'kubectl',
          [
            ...['--kubeconfig', '/dev/null', '--server', urlOf(mode), '--certificate-authority', mixed.plane.caFile],
            ...[...withCertificate(pair), 'exec', '-i', 'web', '--', 'sh', '-c', 'cat; exit 7'],
          ],
          { input: 'to-stdin', env },
        );
      for (const mode of ['RequestHeader', 'Impersonation'] as const) {
        const { code, stdout, stderr } = await exec(mode, jane);
        expect([stdout, code], stderr).to.deep.equal(['to-stdin', 7]);
        expect((await exec(mode, pretender)).stderr).to.match(/forbidden|Forbidden/);
      }
    });

  /** Targets that two servers may read in different ways. The proxy must not read any in a third way. */
  const oddTargets = [
    ...['//api/v1/secrets', '/api//v1/secrets', '/api/v1/secrets/', '/api/v1/./secrets', '/api/v1/pods/../secrets'],
    ...[
      '/version/../api/v1/secrets',
      '/api/v1/%73ecrets',
      '/api%2fv1/secrets',
      '/api/v1/secrets%2f',
      '/api/v1/secrets%00',
    ],
    ...[
      '/api/v1/%2e%2e/v1/secrets',
      '/API/v1/secrets',
      '/api/v1/secrets;a=b',
      '/api/v1/secrets%3fwatch=1',
      '/./version',
    ],
    ...[
      '/api/v1/namespaces/default/secrets/..',
      '/api/v1/namespaces//secrets',
      '/api/v1/namespaces/%2f/secrets',
      '/%2e/version',
    ],
    ...['/api/v1/secrets?limit=1&limit=2', '/api/v1/secrets?;', '/version?x=%zz', '/?/api/v1/secrets', '//', '/..'],
    ...['//api', '//apis', '/apis//', '/api//', '/apis/apps//v1', '/%2fapi/v1/secrets', '///apis/apps/v1/deployments'],
    ...['/api/v1/secrets//', '/api/v1%2fsecrets', '/api/v1/namespaces/a%2fb/secrets', '/apis/apps/', '/apis/apps/v1/'],
  ];
  it('answers odd targets as the server does, to users with rights and without', async () => {
    const { tokens } = mixed.plane;
    for (const token of [tokens.admin, tokens.reader])
      for (const target of oddTargets) {
        const args = ['--path-as-is', '-H', `Authorization: Bearer ${token}`, '-w', '%{http_code} %{redirect_url}'];
        const [direct = '', proxied = ''] = await Promise.all(
          (['direct', 'TokenPassthrough'] as const).map(async (server) =>
            (await curl(server, target, args)).replace(urlOf(server), ''),
          ),
        );
        // The proxy answers 503 for a path that only looks like a resource, instead of 404.
        expect(proxied, target).to.be.oneOf(direct.startsWith('404') ? [direct, '503 '] : [direct]);
      }
  });

  it('is anonymous with a forged certificate, or with one without a common name', async () => {
    const nameless = mixed.plane.issueClientCert('nameless', '/O=system:masters');
    for (const { cert, key } of [mixed.plane.frontProxyClient, nameless])
      for (const target of ['direct', 'RequestHeader', 'Impersonation'] as const)
        expect(await curl(target, '/version', ['--cert', cert, '--key', key]), `${cert} at ${target}`).to.equal('401');
  });

  // A separate suite, so that it runs after the others.
  describe('at its end', () => {
    it('a proxy is not ready first, then refuses new connections, ends watches whole, and finishes requests', async () => {
      const { plane } = mixed;
      const port = proxies.TokenPassthrough;
      const watch = ['-sS', '-N', '--cacert', plane.caFile, '-H', `Authorization: Bearer ${plane.tokens.admin}`];
      const watching = plane.spawn('curl', [...watch, `${urlOf('TokenPassthrough')}/api/v1/namespaces?watch=1`], {
        name: 'watch-at-the-end',
      });
      const ended = new Promise<number | null>((resolve) => watching.once('exit', (code) => resolve(code)));
      await waitUntil('an event', async () => plane.readLog('watch-at-the-end').includes('"ADDED"'));
      stopping.kill('SIGTERM');
      await waitUntil('the proxy not to be ready', async () => {
        const { stdout } = await plane.exec('curl', [
          '-sS',
          '-w',
          '%{http_code}',
          `http://127.0.0.1:${port + 1000}/readyz`,
        ]);
        return stdout.includes('[-]shutdown') && stdout.endsWith('500');
      });
      const admin = ['-H', `Authorization: Bearer ${plane.tokens.admin}`];
      expect(await curl('TokenPassthrough', '/version', admin)).to.equal('200');
      await waitUntil('no new connections', async () =>
        (await curl('TokenPassthrough', '/version', admin)).includes("Couldn't connect"),
      );
      // 18 would mean a transfer that was cut.
      expect(await ended).to.equal(0);
      if (stopping.exitCode === null) await once(stopping, 'exit');
      expect(stopping.exitCode).to.equal(0);
    });
  });
});
