import type { WireRequest } from './wire-client.ts';

/** The ConfigMap of the odd requests. The caller creates it first. */
export const oddObject = '/api/v1/namespaces/default/configmaps/odd';
const configMaps = '/api/v1/namespaces/default/configmaps';
const deployments = '/apis/apps/v1/namespaces/default/deployments';
const body = JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'new' }, data: { a: 'b' } });

const targets: readonly string[] = [
  ...[
    '/',
    '/version',
    '/version/',
    '/versions',
    '/healthz',
    '/healthz/',
    '/healthz/ping',
    '/healthz/none',
    '/livez/ping',
  ],
  ...[
    '/logs',
    '/ui',
    '/swagger.json',
    '/openapi/v4',
    '/openapi',
    '/.well-known/openid-configuration',
    '/openid/v1/jwks',
  ],
  ...[
    '/api/v1/',
    '/api/v1//',
    '/api//v1/namespaces',
    '//api/v1/namespaces',
    '/api/v1//namespaces',
    '/api/v2',
    '/api/v2/x',
  ],
  ...[
    '/api/v1/namespaces/default',
    '/api/v1/namespaces/default/',
    '/api/v1/namespaces/default/?',
    '/api/v1/namespaces/DEFAULT',
  ],
  ...[
    '/api/v1/namespaces//configmaps',
    '/api/v1/namespaces/default//configmaps',
    `${configMaps}/`,
    `${configMaps}//odd`,
  ],
  ...[
    '/api/v1/./namespaces',
    '/api/v1/../v1/namespaces/default',
    '/api/v1/%2e/namespaces',
    '/api/v1/%2e%2e/v1/namespaces',
  ],
  ...['/api/v1/namespaces/default/../default', '/api/v1/namespaces/..', '/api/v1/namespaces/.', `${configMaps}/..`],
  ...[
    `${oddObject}/`,
    `${oddObject}//`,
    `${oddObject}%2F`,
    `${oddObject}%2Fx`,
    `${configMaps}/%6fdd`,
    `${configMaps}/%6Fdd`,
  ],
  ...['/api/v1/namespaces/def%61ult/configmaps/odd', '/%61pi/v1/namespaces/default', '/api%2Fv1/namespaces/default'],
  ...[
    `${configMaps}/%E2%9C%93`,
    `${configMaps}/%00`,
    `${configMaps}/%20`,
    `${configMaps}/a+b`,
    `${configMaps}/a;b`,
    `${configMaps}/a:b`,
  ],
  ...[
    `${configMaps}/a@b`,
    `${configMaps}/a,b`,
    `${configMaps}/a=b`,
    `${configMaps}/a&b`,
    `${configMaps}/~`,
    `${configMaps}/a'b`,
    `${configMaps}/*`,
  ],
  ...[
    `${oddObject}/status`,
    `${oddObject}/scale`,
    `${oddObject}/x/y/z`,
    `${configMaps}/none`,
    `${configMaps}/none/status`,
  ],
  ...[
    `${deployments}/none/scale`,
    `${deployments}/none/scale/y`,
    `${deployments}/none/scale/y/z`,
    `${deployments}/none/status/y`,
  ],
  ...[
    '/api/v1/namespaces/default/pods/none/log',
    '/api/v1/namespaces/default/pods/none/log/y',
    '/api/v1/namespaces/default/pods/none/exec',
  ],
  ...[
    '/api/v1/namespaces/default/services/none/proxy',
    '/api/v1/namespaces/default/services/none/proxy/a/b',
    '/api/v1/nodes/none/proxy/',
  ],
  ...['/api/v1/namespaces/default/services/http:none:80/proxy/', '/api/v1/namespaces/default/pods/none:80/proxy/x'],
  ...['/api/v1/namespaces/default/status', '/api/v1/namespaces/default/finalize', '/api/v1/namespaces/default/none/x'],
  ...[
    '/api/v1/proxy/namespaces/default/pods/none',
    '/api/v1/redirect/namespaces/default/pods/none',
    '/api/v1/watch',
    '/api/v1/watch/',
  ],
  ...[
    '/api/v1/watch/namespaces/default/configmaps?timeoutSeconds=1',
    `/api/v1/watch/namespaces/default/configmaps/odd?timeoutSeconds=1`,
  ],
  ...[
    '/api/v1/watch/none',
    '/api/v1/none',
    '/api/v1/none/x',
    '/api/v1/configmaps/odd',
    '/api/v1/namespaces/default/nodes/x',
    '/api/v1/pods/x/log',
  ],
  ...[
    '/apis/apps/v9/deployments',
    '/apis/apps/v1/none',
    '/apis/apps/v1/none/x/y/z',
    '/apis/none.example/v1/x',
    '/apis/none.example',
    '/apis/none.example/',
  ],
  ...[
    '/apis/none.example/v1',
    '/apis/none.example/v1/namespaces/default/x/y',
    '/apis//v1/x',
    '/apis/apps//deployments',
    '/apis/apps/v1//deployments',
  ],
  ...[
    '/apis/apps/v1/deployments/none',
    '/apis/APPS/v1/deployments',
    '/apis/apps/v1/Deployments',
    '/apis/apps/v1/namespaces/default/deployments.apps',
  ],
  ...[
    `${configMaps}/${'a'.repeat(253)}`,
    `${configMaps}/${'a'.repeat(2_000)}`,
    `/${'a/'.repeat(1_000)}`,
    `/${'x'.repeat(9_000)}`,
  ],
];

const queries: readonly string[] = [
  ...[
    'timeout=abc',
    'timeout=1',
    'timeout=1s',
    'timeout=-1s',
    'timeout=',
    'timeout=0s',
    'timeout=1h',
    'timeout=1s&timeout=abc',
    'timeout=1.5e3s',
  ],
  ...['timeoutSeconds=abc', 'timeoutSeconds=-1', 'timeoutSeconds=0', 'timeoutSeconds=99999999999999999999'],
  ...[
    'watch=abc&timeoutSeconds=1',
    'watch=0',
    'watch=&timeoutSeconds=1',
    'watch=true&timeoutSeconds=1',
    'watch=1&timeoutSeconds=1',
    'watch=T&timeoutSeconds=1',
    'watch=true&watch=false&timeoutSeconds=1',
  ],
  ...[
    'watch=true&timeoutSeconds=1&resourceVersion=1',
    'watch=true&timeoutSeconds=1&resourceVersion=abc',
    'watch=true&timeoutSeconds=1&limit=1',
  ],
  ...[
    'watch=true&timeoutSeconds=1&sendInitialEvents=true',
    'watch=true&timeoutSeconds=1&allowWatchBookmarks=true',
    'watch=true&timeoutSeconds=1&fieldSelector=a',
  ],
  ...[
    'limit=abc',
    'limit=-1',
    'limit=0',
    'limit=1',
    'limit=1&continue=abc',
    'continue=abc',
    'continue=',
    'limit=9999999999999999999',
  ],
  ...[
    'resourceVersion=abc',
    'resourceVersion=0',
    'resourceVersion=-1',
    'resourceVersion=1',
    'resourceVersionMatch=Exact',
    'resourceVersionMatch=None&resourceVersion=1',
  ],
  ...[
    'resourceVersion=0&resourceVersionMatch=NotOlderThan',
    'resourceVersion=0&resourceVersionMatch=Exact',
    'resourceVersion=0&continue=abc',
  ],
  ...[
    'fieldSelector=metadata.name%3Dodd',
    'fieldSelector=metadata.name=odd',
    'fieldSelector=a',
    'fieldSelector=none%3D1',
    'fieldSelector=metadata.name!%3Dodd',
    'fieldSelector=%3D',
  ],
  ...[
    'labelSelector=a%20b',
    'labelSelector=!',
    'labelSelector=!a',
    'labelSelector=a+in+(b,c)',
    'labelSelector=a%3D%3Db',
    'labelSelector=a%3Db%3Dc',
    'labelSelector=%00',
  ],
  ...[
    'sendInitialEvents=true',
    'sendInitialEvents=abc',
    'allowWatchBookmarks=abc',
    'pretty=true',
    'pretty=0',
    'pretty=abc',
    'dryRun=All',
    'dryRun=abc',
    'export=true',
    'exact=true',
  ],
  ...[
    'a=b&a=c',
    '&&&',
    '=',
    'a',
    'a=%zz',
    '%zz',
    'a;b',
    'a=b;c=d',
    '?',
    '?a=b',
    'a=/../',
    `a=${'b'.repeat(9_000)}`,
    'limit=1;watch=1&timeoutSeconds=1',
    'LIMIT=abc',
  ],
];

const accepts: readonly string[] = [
  ...[
    '',
    '*/*',
    'application/*',
    'text/*',
    'text/html',
    'text/plain',
    'image/png',
    'application/json;q=0',
    'application/json;q=0,*/*',
    '*/*;q=0',
  ],
  ...[
    'application/yaml',
    'application/vnd.kubernetes.protobuf',
    'application/cbor',
    'application/cbor-seq',
    'application/xml',
    'application/json-seq',
  ],
  ...[
    'application/json;as=Table;v=v1;g=meta.k8s.io',
    'application/json;as=Table;v=v1beta1;g=meta.k8s.io',
    'application/json;as=Table;v=v9;g=meta.k8s.io',
    'application/json;as=Table',
  ],
  ...[
    'application/json;as=None',
    'application/json;as=None,application/json',
    'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1',
    'application/yaml;as=Table;v=v1;g=meta.k8s.io',
  ],
  ...[
    'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1',
    'application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1',
    'application/json;g=meta.k8s.io;v=v1',
  ],
  ...[
    'application/json;profile=x',
    'application/json;charset=utf-8',
    'application/json;pretty=1',
    'application/json;q=0.1,application/yaml;q=0.9',
    'application/yaml;q=0.1,application/json;q=0.9',
  ],
  ...[
    'application/json;stream=watch',
    'application/vnd.kubernetes.protobuf;stream=watch',
    'none',
    ',',
    ';',
    'a/b/c',
    'application/json,',
    'application/json; as="Table"; v=v1; g=meta.k8s.io',
  ],
  ...[
    'application/json, */*',
    'text/html,application/xhtml+xml,*/*;q=0.8',
    'APPLICATION/JSON',
    'application/json;q=2',
    'application/json;q=abc',
    'application/json;v=v1',
    'application/json ; q=0.5',
  ],
  'application/vnd.kubernetes.protobuf,application/json',
  'application/json;as=Table;v=v1;g=meta.k8s.io,application/json',
  `application/json;x=${'y'.repeat(5_000)}`,
];

const methods = ['HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND', 'FOO', 'get', 'M-SEARCH'];

const contentTypes: readonly string[] = [
  ...[
    '',
    'text/plain',
    'application/json; charset=utf-8',
    'application/json;charset=none',
    'application/x-www-form-urlencoded',
    'application/yaml',
    'application/cbor',
  ],
  ...[
    'application/merge-patch+json',
    'application/json-patch+json',
    'application/strategic-merge-patch+json',
    'application/apply-patch+yaml',
    'application/apply-patch+cbor',
  ],
  ...[
    'multipart/form-data',
    'none',
    '*/*',
    'application/*',
    'application/vnd.kubernetes.protobuf',
    'APPLICATION/JSON',
    'application/json, text/plain',
    ';',
  ],
];

const bodies = [
  '',
  '{',
  '[]',
  'null',
  '{}',
  '"a"',
  '{"apiVersion":"v2"}',
  '{"kind":"Pod","apiVersion":"v1"}',
  '{"metadata":{"name":"other"}}',
  '\u0000',
  '{"a":1}{',
];

const writeQueries: readonly string[] = [
  ...[
    'dryRun=abc',
    'dryRun=All&dryRun=All',
    'dryRun=All&dryRun=abc',
    'dryRun=',
    'dryRun=All&fieldValidation=Strict',
    'dryRun=All&fieldValidation=None',
    'dryRun=All&fieldManager=%00',
  ],
  ...[
    `dryRun=All&fieldManager=${'m'.repeat(200)}`,
    'dryRun=All&force=true',
    'dryRun=All&force=abc',
    'dryRun=All&timeout=abc',
    'dryRun=All&pretty=true',
    'dryRun=All&propagationPolicy=abc',
    'dryRun=All&gracePeriodSeconds=abc',
    'dryRun=All&orphanDependents=abc',
  ],
];

const fields: readonly (readonly string[])[] = [
  ...[
    ['Impersonate-User', 'jane'],
    ['Impersonate-User', ''],
    ['Impersonate-Group', 'dev'],
    ['Impersonate-Uid', '1'],
    ['Impersonate-Extra-A', 'b'],
  ],
  ...[
    ['Impersonate-User', 'system:serviceaccount:a:b'],
    ['Impersonate-User', 'system:anonymous'],
    ['Impersonate-User', 'jane', 'Impersonate-Extra-%zz', 'b'],
  ],
  ...[
    ['Impersonate-User', 'jane', 'Impersonate-Group', 'system:masters'],
    ['Impersonate-User', 'a', 'Impersonate-User', 'b'],
    ['Impersonate-None', 'x'],
  ],
  ...[
    ['Accept-Encoding', 'gzip'],
    ['Accept-Encoding', 'gzip;q=0'],
    ['Accept-Encoding', 'br'],
    ['Accept-Encoding', 'identity;q=0'],
    ['Accept-Encoding', '*'],
  ],
  ...[
    ['Expect', '100-continue'],
    ['Expect', 'none'],
    ['Range', 'bytes=0-1'],
    ['If-None-Match', '*'],
    ['If-Match', '"x"'],
    ['If-Modified-Since', 'Sun, 06 Nov 1994 08:49:37 GMT'],
  ],
  ...[
    ['X-HTTP-Method-Override', 'DELETE'],
    ['Upgrade', 'none'],
    ['User-Agent', 'curl/8'],
    ['User-Agent', 'Mozilla/5.0'],
    ['User-Agent', ''],
    ['Origin', 'null'],
    ['Cookie', 'a=b'],
  ],
  ...[
    ['X-Forwarded-For', '1.2.3.4'],
    ['X-Forwarded-Host', 'a'],
    ['Forwarded', 'for=1.2.3.4'],
    ['X-Forwarded-Prefix', '/x'],
    ['X-Remote-User', 'jane'],
    ['X-Remote-Group', 'system:masters'],
  ],
  ...[
    ['Traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'],
    ['Warning', '299 - "x"'],
    ['Audit-Id', 'mine'],
    ['Audit-Id', 'x'.repeat(200)],
    ['Max-Forwards', '0'],
  ],
  ...[
    ['Content-Encoding', 'gzip'],
    ['Content-Encoding', 'none'],
    ['Content-MD5', 'x'],
    ['Access-Control-Request-Method', 'GET'],
    ['Priority', 'u=0'],
    ['Te', 'trailers'],
    ['X', 'é'],
  ],
];

const strangers: readonly (readonly string[])[] = [
  [],
  ...[
    'Bearer',
    'Bearer ',
    'Bearer none',
    'bearer none',
    'Basic YTpi',
    'none',
    'Bearer a b',
    'Negotiate x',
    'Bearer a,b',
    'Token x',
  ].map((value) => ['Authorization', value]),
];

/** Odd requests, and plain requests with odd header fields or bodies. */
export const oddRequests: readonly WireRequest[] = [
  ...targets.map((path) => ({ path })),
  ...queries.flatMap((query) => [configMaps, oddObject].map((path) => ({ path: `${path}?${query}` }))),
  ...accepts.flatMap((accept) =>
    [configMaps, oddObject, `${configMaps}/none`, '/version', '/apis/none.example/v1/x'].map((path) => ({
      path,
      headers: ['Accept', accept],
    })),
  ),
  { path: oddObject, headers: ['Accept', 'application/yaml', 'Accept', 'application/json'] },
  ...methods.flatMap((method) =>
    [
      '/',
      '/version',
      '/api/v1',
      '/apis/none.example/v1/x',
      '/api/v1/namespaces',
      '/api/v1/pods',
      `${configMaps}/none`,
      `${oddObject}/x`,
    ].map((path) => ({ method, path: `${path}?dryRun=All` })),
  ),
  ...contentTypes.flatMap((type) => [
    { method: 'POST', path: `${configMaps}?dryRun=All`, headers: ['Content-Type', type], body },
    { method: 'PUT', path: `${oddObject}?dryRun=All`, headers: ['Content-Type', type], body },
    { method: 'PATCH', path: `${oddObject}?dryRun=All`, headers: ['Content-Type', type], body: '{"data":{"c":"d"}}' },
    { method: 'DELETE', path: `${configMaps}/none`, headers: ['Content-Type', type], body: '{}' },
  ]),
  ...bodies.flatMap((text) =>
    // A DELETE's body overrides its query, so only a missing object is safe from it.
    [
      ['POST', `${configMaps}?dryRun=All`, 'json'],
      ['PUT', `${oddObject}?dryRun=All`, 'json'],
      ['PATCH', `${oddObject}?dryRun=All`, 'merge-patch+json'],
      ['DELETE', `${configMaps}/none`, 'json'],
    ].map(([method = '', path = '', type]) => ({
      method,
      path,
      headers: ['Content-Type', `application/${type}`],
      body: text,
    })),
  ),
  ...writeQueries.flatMap((query) => [
    {
      method: 'POST',
      path: `${configMaps}?${query}`,
      headers: ['Content-Type', 'application/json'],
      body: '{"kind":"ConfigMap"}',
    },
    {
      method: 'PATCH',
      path: `${configMaps}/none?${query}`,
      headers: ['Content-Type', 'application/apply-patch+yaml'],
      body: '{}',
    },
    { method: 'DELETE', path: `${configMaps}/none?${query}` },
  ]),
  ...fields.flatMap((headers) => [
    { path: oddObject, headers },
    { path: '/apis/none.example/v1/x', headers },
    {
      method: 'POST',
      path: `${configMaps}?dryRun=All`,
      headers: ['Content-Type', 'application/json', ...headers],
      body,
    },
  ]),
];

/** The same for a user that no server knows. */
export const oddStrangers: readonly WireRequest[] = strangers.flatMap((headers) =>
  [oddObject, '/version', '/healthz', '/apis/none.example/v1/x', '/', `${configMaps}?timeout=abc`].map((path) => ({
    path,
    headers,
  })),
);
