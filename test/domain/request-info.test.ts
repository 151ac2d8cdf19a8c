import { expect } from 'chai';
import { isProxied, parseRequestInfo } from '../../src/domain/request-info.ts';

/** The cases of `TestGetAPIRequestInfo` in k8s.io/apiserver in this project's own form, and some edge cases. */
const cases: readonly (readonly [
  method: string,
  target: string,
  verb: string,
  group: string,
  version: string,
  namespace: string,
  resource: string,
  subresource: string,
  name: string,
])[] = [
  ['GET', '/api/v1/namespaces', 'list', '', 'v1', '', 'namespaces', '', ''],
  ['GET', '/api/v1/namespaces/other', 'get', '', 'v1', 'other', 'namespaces', '', 'other'],
  ['GET', '/api/v1/namespaces/other/pods', 'list', '', 'v1', 'other', 'pods', '', ''],
  ['GET', '/api/v1/namespaces/other/pods/foo', 'get', '', 'v1', 'other', 'pods', '', 'foo'],
  ['HEAD', '/api/v1/namespaces/other/pods/foo', 'get', '', 'v1', 'other', 'pods', '', 'foo'],
  ['GET', '/api/v1/pods', 'list', '', 'v1', '', 'pods', '', ''],
  ['HEAD', '/api/v1/pods', 'list', '', 'v1', '', 'pods', '', ''],
  ['GET', '/api/v1/proxy/namespaces/other/pods/foo', 'proxy', '', 'v1', 'other', 'pods', '', 'foo'],
  ['GET', '/api/v1/proxy/namespaces/other/pods/foo/subpath', 'proxy', '', 'v1', 'other', 'pods', '', 'foo'],
  ['GET', '/api/v1/watch/pods', 'watch', '', 'v1', '', 'pods', '', ''],
  ['GET', '/api/v1/pods?watch=true', 'watch', '', 'v1', '', 'pods', '', ''],
  ['GET', '/api/v1/pods?watch=1', 'watch', '', 'v1', '', 'pods', '', ''],
  ['GET', '/api/v1/pods?watch', 'watch', '', 'v1', '', 'pods', '', ''],
  ['GET', '/api/v1/pods?watch=FALSE', 'list', '', 'v1', '', 'pods', '', ''],
  ['GET', '/api/v1/pods?watch=0&watch=1', 'list', '', 'v1', '', 'pods', '', ''],
  ['GET', '/api/v1/pods?w%61tch=yes', 'watch', '', 'v1', '', 'pods', '', ''],
  ['GET', '/api/v1/watch/namespaces/other/pods', 'watch', '', 'v1', 'other', 'pods', '', ''],
  ['GET', '/api/v1/namespaces/other/pods/foo?watch=1', 'get', '', 'v1', 'other', 'pods', '', 'foo'],
  [
    'GET',
    '/api/v1/namespaces/other/pods?watch=1&fieldSelector=metadata.name%3Dfoo',
    'watch',
    '',
    'v1',
    'other',
    'pods',
    '',
    'foo',
  ],
  [
    'GET',
    '/api/v1/namespaces/other/pods?fieldSelector=spec.nodeName%3Da,metadata.name=b',
    'list',
    '',
    'v1',
    'other',
    'pods',
    '',
    'b',
  ],
  ['GET', '/api/v1/namespaces/other/pods?fieldSelector=metadata.name!=b', 'list', '', 'v1', 'other', 'pods', '', ''],
  [
    'GET',
    '/api/v1/namespaces/other/pods?limit=x&fieldSelector=metadata.name=b',
    'list',
    '',
    'v1',
    'other',
    'pods',
    '',
    '',
  ],
  ['PUT', '/api/v1/namespaces/other/finalize', 'update', '', 'v1', 'other', 'namespaces', 'finalize', 'other'],
  ['PUT', '/api/v1/namespaces/other/status', 'update', '', 'v1', 'other', 'namespaces', 'status', 'other'],
  ['GET', '/api/v1/namespaces/other/pods/foo/log', 'get', '', 'v1', 'other', 'pods', 'log', 'foo'],
  ['POST', '/api/v1/namespaces/other/pods', 'create', '', 'v1', 'other', 'pods', '', ''],
  ['PATCH', '/apis/apps/v1/namespaces/a/deployments/b/scale', 'patch', 'apps', 'v1', 'a', 'deployments', 'scale', 'b'],
  ['DELETE', '/apis/batch/v1/namespaces/a/jobs', 'deletecollection', 'batch', 'v1', 'a', 'jobs', '', ''],
  ['DELETE', '/apis/batch/v1/namespaces/a/jobs/b', 'delete', 'batch', 'v1', 'a', 'jobs', '', 'b'],
  ['OPTIONS', '/apis/batch/v1/jobs', '', 'batch', 'v1', '', 'jobs', '', ''],
  ['GET', '/%61pis/b%61tch/v1/jobs', 'list', 'batch', 'v1', '', 'jobs', '', ''],
  ['GET', '//apis/batch/v1/jobs//', 'list', 'batch', 'v1', '', 'jobs', '', ''],
  ['GET', '/apis/batch%2Fv1/jobs/x', 'get', 'batch', 'v1', '', 'jobs', '', 'x'],
  ['GET', '/apis//v1/jobs', 'list', '', 'v1', '', 'jobs', '', ''],
];

/**
 * The rest of upstream's tables: `TestGetAPIRequestInfo`, `TestSelectorParsing`, `TestGetNonAPIRequestInfo`, 0.36.3.
 */
const upstream: typeof cases = [
  [
    'GET',
    '/api/v1/proxy/namespaces/other/pods/foo/subpath/not/a/subresource',
    'proxy',
    '',
    'v1',
    'other',
    'pods',
    '',
    'foo',
  ],
  ['GET', '/api/v1/pods?watch=false', 'list', '', 'v1', '', 'pods', '', ''],
  ['GET', '/api/v1/namespaces/other/pods?watch=1', 'watch', '', 'v1', 'other', 'pods', '', ''],
  ['GET', '/api/v1/namespaces/other/pods?watch=0', 'list', '', 'v1', 'other', 'pods', '', ''],
  ['GET', '/api/v1/namespaces/other/pods/foo/status', 'get', '', 'v1', 'other', 'pods', 'status', 'foo'],
  ['GET', '/api/v1/namespaces/other/pods/foo/proxy/subpath', 'get', '', 'v1', 'other', 'pods', 'proxy', 'foo'],
  ['PATCH', '/api/v1/namespaces/other/pods/foo', 'patch', '', 'v1', 'other', 'pods', '', 'foo'],
  ['DELETE', '/api/v1/namespaces/other/pods/foo', 'delete', '', 'v1', 'other', 'pods', '', 'foo'],
  ['DELETE', '/api/v1/nodes', 'deletecollection', '', 'v1', '', 'nodes', '', ''],
  ['DELETE', '/api/v1/namespaces', 'deletecollection', '', 'v1', '', 'namespaces', '', ''],
  ['DELETE', '/api/v1/namespaces/other/pods', 'deletecollection', '', 'v1', 'other', 'pods', '', ''],
  [
    'DELETE',
    '/apis/extensions/v1/namespaces/other/pods',
    'deletecollection',
    'extensions',
    'v1',
    'other',
    'pods',
    '',
    '',
  ],
  ['POST', '/apis/extensions/v1/namespaces/other/pods', 'create', 'extensions', 'v1', 'other', 'pods', '', ''],
  [
    'POST',
    '/apis/extensions/v1beta3/namespaces/other/pods',
    'create',
    'extensions',
    'v1beta3',
    'other',
    'pods',
    '',
    '',
  ],
  ['GET', '/apis/g/v/resource', 'list', 'g', 'v', '', 'resource', '', ''],
  ['GET', '/apis/g/v/resource?fieldSelector=metadata.name=name1', 'list', 'g', 'v', '', 'resource', '', 'name1'],
  [
    'GET',
    '/apis/g/v/resource?watch=true&fieldSelector=metadata.name=name1',
    'watch',
    'g',
    'v',
    '',
    'resource',
    '',
    'name1',
  ],
  ['GET', '/apis/g/v/resource?fieldSelector=foo=bar&labelSelector=baz=qux', 'list', 'g', 'v', '', 'resource', '', ''],
  ['GET', '/apis/g/v/resource?fieldSelector=metadata.name=name1,foo', 'list', 'g', 'v', '', 'resource', '', ''],
  [
    'GET',
    '/apis/g/v/resource?fieldSelector=metadata.name=name1,foo&watch=true',
    'watch',
    'g',
    'v',
    '',
    'resource',
    '',
    '',
  ],
  [
    'GET',
    '/apis/g/v/resource?fieldSelector=metadata.name=name1,foo&watch=false',
    'list',
    'g',
    'v',
    '',
    'resource',
    '',
    '',
  ],
  ['DELETE', '/apis/g/v/resource?fieldSelector=foo=bar', 'deletecollection', 'g', 'v', '', 'resource', '', ''],
  [
    'GET',
    '/apis/g/v/resource?fieldSelector=metadata.name=foo&fieldSelector=metadata.name=bar',
    'list',
    'g',
    'v',
    '',
    'resource',
    '',
    'foo',
  ],
  ['GET', '/apis/g/v/resource/name?fieldSelector=foo=bar', 'get', 'g', 'v', '', 'resource', '', 'name'],
  ['GET', '/apis/g/v/watch/resource?fieldSelector=metadata.name=foo', 'watch', 'g', 'v', '', 'resource', '', ''],
  ['GET', '/apis/g/v/watch/resource/name?labelSelector=foo=bar', 'watch', 'g', 'v', '', 'resource', '', 'name'],
  ['GET', '/api/version/resource', 'list', '', 'version', '', 'resource', '', ''],
  ['GET', '/apis/g/v/resource/name/subresource', 'get', 'g', 'v', '', 'resource', 'subresource', 'name'],
];

describe('parseRequestInfo', () => {
  for (const [method, target, verb, group, version, namespace, resource, subresource, name] of [...cases, ...upstream])
    it(`reads ${method} ${target} as kube-apiserver does`, () => {
      const parsed = parseRequestInfo(method, target);
      expect(parsed.kind).to.equal('ok');
      if (parsed.kind !== 'ok') return;
      expect(parsed.info).to.include({
        isResourceRequest: true,
        apiPrefix: target.includes('pis/') ? 'apis' : 'api',
        verb,
        group,
        version,
        namespace,
        resource,
        subresource,
        name,
      });
    });

  for (const target of [
    '/',
    '/healthz',
    '/api',
    '/api/v1',
    '/apis',
    '/apis/batch',
    '/apis/batch/v1',
    '/apis/batch/v1/',
    '/other/v1/pods',
    '',
    '/api/version/',
    '/apis/version/resource',
    '/badprefix/version/resource',
    '/not-api/version/resource',
    '/apis/extensions/v1beta1/',
    '/version',
    '/openapi/v3/apis/batch/v1',
  ])
    it(`does not take ${target} for a resource request`, () => {
      const parsed = parseRequestInfo('GET', target);
      const nothing = { apiPrefix: '', group: '', version: '', namespace: '', resource: '', subresource: '', name: '' };
      expect(parsed.kind === 'ok' && parsed.info).to.deep.equal({
        ...nothing,
        isResourceRequest: false,
        verb: 'get',
        path: target,
      });
    });

  for (const target of ['/api/v1/%zz', '/api/v1/pods%2', '/api/v1/watch', '/apis/batch/v1/proxy'])
    it(`refuses ${target}`, () => {
      expect(parseRequestInfo('GET', target).kind).to.equal('bad');
    });

  it('accepts escapes that are not UTF-8', () => {
    expect(parseRequestInfo('GET', '/api/v1/pods/%ff%41')).to.deep.include({ kind: 'ok' }).and.to.have.nested.include({
      'info.resource': 'pods',
      'info.name': '\u00ffA',
    });
  });

  /** Like Go's `fields.ParseSelector` and `url.ParseQuery`. */
  const selected: readonly (readonly [query: string, verb: string, name: string])[] = [
    ['fieldSelector=metadata.name%3D%3Db', 'list', 'b'],
    ['fieldSelector=metadata.name=b&limit=12', 'list', 'b'],
    ['fieldSelector=metadata.name=b&limit=-5', 'list', 'b'],
    ['fieldSelector=metadata.name=b&limit=%2B12', 'list', 'b'],
    ['fieldSelector=metadata.name=b&limit=x5', 'list', ''],
    ['fieldSelector=metadata.name=b&limit=5x', 'list', ''],
    ['fieldSelector=metadata.name=b&timeoutSeconds=x&watch=1', 'watch', ''],
    ['fieldSelector=metadata.name=.', 'list', ''],
    ['fieldSelector=metadata.name=..', 'list', ''],
    ['fieldSelector=metadata.name=a%2Fb', 'list', ''],
    ['fieldSelector=metadata.name=a%252Fb', 'list', ''],
    ['fieldSelector=,metadata.name=b,', 'list', 'b'],
    ['fieldSelector=metadata.name=a,metadata.name=b', 'list', 'a'],
    ['fieldSelector=xmetadata.name=b', 'list', ''],
    ['fieldSelector=metadata.name=a=b', 'list', ''],
    ['fieldSelector=a!b=c,metadata.name=b', 'list', 'b'],
    ['fieldSelector=metadata.name=a+b', 'list', 'a b'],
    [`fieldSelector=metadata.name=${encodeURIComponent('a\\,b')}`, 'list', 'a,b'],
    [`fieldSelector=metadata.name=${encodeURIComponent('a\\=b')}`, 'list', 'a=b'],
    [`fieldSelector=metadata.name=${encodeURIComponent('a\\\\')}`, 'list', 'a\\'],
    [`fieldSelector=metadata.name=${encodeURIComponent('a\\x')}`, 'list', ''],
    [`fieldSelector=metadata.name=${encodeURIComponent('a\\')}`, 'list', ''],
    ['fieldSelector', 'list', ''],
    ['watch=%zz&watch=1', 'watch', ''],
    ['watch=1;x', 'list', ''],
    ['&&w%61tch=1', 'watch', ''],
    ['wat+ch=1', 'list', ''],
    ['field%53elector=metadata.name=b', 'list', 'b'],
    ['fieldSelector=metadata.name=b&limit=9223372036854775807', 'list', 'b'],
    ['fieldSelector=metadata.name=b&limit=9223372036854775808', 'list', ''],
    ['fieldSelector=metadata.name=b&limit=-9223372036854775808', 'list', 'b'],
    ['fieldSelector=metadata.name=b&timeoutSeconds=-9223372036854775809', 'list', ''],
    ['fieldSelector=metadata.name=b&limit=000000000000000000000012', 'list', 'b'],
    ['fieldSelector=metadata.name=b&limit=', 'list', ''],
    ['fieldSelector=metadata.name=b&limit', 'list', ''],
  ];
  for (const [query, verb, name] of selected)
    it(`reads the parameters ${query} as kube-apiserver does`, () => {
      expect(parseRequestInfo('GET', `/api/v1/pods?${query}`)).to.have.nested.include({
        'info.verb': verb,
        'info.name': name,
      });
    });

  it('does not take a part of the path for a parameter', () => {
    const parsed = parseRequestInfo('GET', '/api/v1/pods&watch=1');
    expect(parsed).to.have.nested.include({ 'info.verb': 'list', 'info.resource': 'pods&watch=1' });
  });
});

describe('isProxied', () => {
  it('is true for the subresource and for the old path, and for nothing else', () => {
    for (const [target, expected] of [
      ['/api/v1/namespaces/d/services/s/proxy/x', true],
      ['/api/v1/proxy/nodes/n', true],
      ['/api/v1/namespaces/d/pods/x/exec', false],
      ['/api/v1/pods', false],
    ] as const) {
      const parsed = parseRequestInfo('GET', target);
      expect(parsed.kind === 'ok' && isProxied(parsed.info), target).to.equal(expected);
    }
  });
});
