import { expect } from 'chai';
import { waitUntil } from '../../lab/wait-until.ts';
import { claims, startThreeServers, type ThreeServers } from '../support/three-servers.ts';
import { createWireClient, type WireAnswer, type WireClient, type WireRequest } from '../support/wire-client.ts';

const webConsole = 'https://console.example';
const flags = [
  '--cors-allowed-origins=^https://console\\.example$,^https://.*\\.internal$',
  '--strict-transport-security-directives=max-age=31536000,includeSubDomains',
];
/** Fields whose values differ from one answer to the next. */
const ofMessage = ['date', 'audit-id'];
/** Fields that differ for a merged document: its length, its type, and its ETag. */
const ofDocument = [
  'accept-ranges',
  'content-length',
  'content-type',
  'etag',
  'last-modified',
  'transfer-encoding',
  'vary',
];

describe('the header fields of answers that the proxy writes itself', function () {
  this.timeout(300_000);
  let servers: ThreeServers;
  let direct: WireClient;

  before(async () => {
    servers = await startThreeServers(flags);
    const { mixed, ca } = servers;
    direct = createWireClient({ url: mixed.plane.server('old-1').url, ca, token: mixed.plane.tokens.admin });
  });

  after(async () => {
    direct?.close();
    await servers?.stop();
  });

  const fieldsOf = ({ rawHeaders }: WireAnswer) => {
    const fields: [string, string][] = [];
    for (let at = 0; at < rawHeaders.length; at += 2)
      fields.push([(rawHeaders[at] ?? '').toLowerCase(), rawHeaders[at + 1] ?? '']);
    return fields;
  };
  const fieldOf = (answer: WireAnswer, name: string) => fieldsOf(answer).find(([field]) => field === name)?.[1];
  /** Everything that must be equal, and the names of the fields whose values may differ. */
  const comparable = (answer: WireAnswer) =>
    fieldsOf(answer)
      .filter(([name]) => !ofDocument.includes(name))
      .map(([name, value]) => (ofMessage.includes(name) ? name : `${name}: ${value}`))
      .sort();

  const v2 = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';
  const documents: readonly (readonly [string, string])[] = [
    ['/apis', v2],
    ['/api', v2],
    ['/apis', 'application/json'],
    ['/apis', 'application/yaml'],
    ['/api', 'application/vnd.kubernetes.protobuf'],
    ['/apis/apps', 'application/json'],
    ['/apis/apps/v1', 'application/json'],
    ['/api/v1', '*/*'],
    ['/openapi/v3', 'application/json'],
    ['/openapi/v2', 'application/json'],
  ];

  for (const [title, extra] of [
    ['an origin that is allowed', ['Origin', webConsole, 'Audit-ID', 'one-of-mine']],
    ['an origin of a pattern', ['Origin', 'https://a.internal']],
    ['an origin that is not allowed', ['Origin', 'https://evil.example']],
    ['no origin', []],
  ] as const)
    it(`are those of home for ${title}`, async () => {
      for (const [path, accept] of documents)
        for (const [version, method] of [
          ['http1', 'GET'],
          ['http2', 'GET'],
        ] as const) {
          const request: WireRequest = { method, path, headers: ['Accept', accept, ...extra] };
          const [expected, actual] = [await direct[version](request), await servers.client[version](request)];
          const what = `${version} ${method} ${path} as ${accept}`;
          expect(actual.status, what).to.equal(expected.status);
          expect(comparable(actual), what).to.deep.equal(comparable(expected));
          const given = extra[2] === undefined ? undefined : extra[3];
          if (given === undefined) expect(fieldOf(actual, 'audit-id'), what).to.match(/^[0-9a-f-]{36}$/);
          else expect(fieldOf(actual, 'audit-id'), what).to.equal(given);
          expect(Math.abs(Date.parse(fieldOf(actual, 'date') ?? '') - Date.now()), what).to.be.lessThan(60_000);
        }
    });

  it('are also in a 304', async () => {
    const headers = ['Accept', v2, 'Origin', webConsole];
    const { rawHeaders } = await servers.client.http2({ path: '/apis', headers });
    const etag = rawHeaders[rawHeaders.findIndex((name) => name.toLowerCase() === 'etag') + 1] ?? '';
    const own = await direct.http2({ path: '/apis', headers });
    const ownEtag = own.rawHeaders[own.rawHeaders.findIndex((name) => name.toLowerCase() === 'etag') + 1] ?? '';
    const expected = await direct.http2({ path: '/apis', headers: [...headers, 'If-None-Match', ownEtag] });
    const actual = await servers.client.http2({ path: '/apis', headers: [...headers, 'If-None-Match', etag] });
    expect([actual.status, comparable(actual)]).to.deep.equal([304, comparable(expected)]);
  });

  it("answer a browser's preflight request, for any path and any client", async () => {
    const asked = ['Access-Control-Request-Method', 'GET', 'Access-Control-Request-Headers', 'authorization'];
    const anonymous = createWireClient({ url: servers.mixed.proxyUrl, ca: servers.ca, token: '' });
    for (const path of ['/apis', '/api', '/openapi/v2', '/openapi/v3', '/apis/apps', claims, '/apis/none.example/v1/x'])
      for (const version of ['http1', 'http2'] as const) {
        const request = { method: 'OPTIONS', path, headers: ['Origin', webConsole, ...asked] };
        const expected = await direct[version](request);
        for (const client of [servers.client, anonymous]) {
          const actual = await client[version](request);
          expect([actual.status, comparable(actual)], path).to.deep.equal([204, comparable(expected)]);
        }
      }
    anonymous.close();
    const evil = { method: 'OPTIONS', path: '/apis/apps', headers: ['Origin', 'https://evil.example', ...asked] };
    expect((await servers.client.http2(evil)).status).to.equal((await direct.http2(evil)).status);
  });

  it('are in every Status', async () => {
    const headers = ['Origin', webConsole, 'Audit-ID', 'mine'];
    const expected = comparable(await direct.http2({ path: '/api/v1/namespaces/none', headers })).filter(
      (field) => !/^(?:x-kubernetes-pf|content-)/.test(field),
    );
    const expectStatus = (answer: WireAnswer, code: number) => {
      expect(answer.status, answer.body.toString()).to.equal(code);
      expect(comparable(answer)).to.include.members(expected);
      expect(fieldOf(answer, 'audit-id')).to.equal('mine');
    };
    for (const version of ['http1', 'http2'] as const)
      expectStatus(await servers.client[version]({ path: '/api/v1/%zz', headers }), 400);
    await Promise.all(['new-1', 'new-2'].map((name) => servers.mixed.plane.server(name).kill()));
    const refused = await waitUntil('a 503 of the proxy', async () => {
      const answer = await servers.client.http2({ path: claims, headers });
      return answer.status === 503 && answer;
    });
    expectStatus(refused, 503);
  });
});
