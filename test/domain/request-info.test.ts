import { expect } from 'chai';
import { parseRequestInfo } from '../../src/domain/request-info.ts';

/** The cases of `TestGetAPIRequestInfo` in k8s.io/apiserver, in this project's own form, and some of the edges. */
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

describe('parseRequestInfo', () => {
  for (const [method, target, verb, group, version, namespace, resource, subresource, name] of cases)
    it(`reads ${method} ${target} as kube-apiserver does`, () => {
      const parsed = parseRequestInfo(method, target);
      expect(parsed.kind).to.equal('ok');
      if (parsed.kind !== 'ok') return;
      expect(parsed.info).to.include({
        isResourceRequest: true,
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
    '/version',
    '/openapi/v3/apis/batch/v1',
  ])
    it(`takes ${target} for no resource request`, () => {
      const parsed = parseRequestInfo('GET', target);
      expect(parsed).to.have.nested.property('info.isResourceRequest', false);
      expect(parsed).to.have.nested.property('info.verb', 'get');
    });

  for (const target of ['/api/v1/%zz', '/api/v1/pods%2', '/api/v1/watch', '/apis/batch/v1/proxy'])
    it(`refuses ${target}`, () => {
      expect(parseRequestInfo('GET', target).kind).to.equal('bad');
    });

  it('does not stumble over escapes that are not UTF-8', () => {
    expect(parseRequestInfo('GET', '/api/v1/pods/%ff')).to.have.nested.property('info.resource', 'pods');
  });
});
