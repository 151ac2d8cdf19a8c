import { expect } from 'chai';
import { addressWatches, pathOfWatch } from '../../src/domain/address-watches.ts';
import { compareText } from '../../src/domain/compare-text.ts';
import { countResources } from '../../src/domain/discovery-document.ts';
import { documentationUrl, pageAt } from '../../src/domain/documentation-url.ts';
import { joinBytes } from '../../src/domain/join-bytes.ts';
import { buildStatus } from '../../src/domain/status-error.ts';
import { buildGroup, buildVersion } from '../support/discovery-builders.ts';

describe('pathOfWatch', () => {
  it('names the list of the core group or another one, in a namespace or in the cluster', () => {
    expect(Object.values(addressWatches).map(pathOfWatch)).to.deep.equal([
      '/api/v1/namespaces/kube-system/pods',
      '/api/v1/nodes',
      '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices',
    ]);
  });
});

describe('compareText', () => {
  it('orders by UTF-16 units, capitals first', () => {
    expect(['b', 'a', 'B', '', 'ä', 'a', '\u{1f600}', '\uffff'].sort(compareText)).to.deep.equal([
      '',
      'B',
      'a',
      'a',
      'b',
      'ä',
      '\u{1f600}',
      '\uffff',
    ]);
    expect([compareText('a', 'b'), compareText('b', 'a'), compareText('a', 'a')]).to.deep.equal([-1, 1, 0]);
  });
});

describe('countResources', () => {
  it('counts the resources of all versions of all groups, where there are any', () => {
    const groups = [
      buildGroup('a', buildVersion('v1', 'x', 'y'), buildVersion('v2', 'x')),
      buildGroup('b', { version: 'v1' }),
      { name: 'c' },
    ];
    expect([countResources(groups), countResources([])]).to.deep.equal([3, 0]);
  });
});

describe('the place of a page', () => {
  it('is below the URL of a release, or else in the package', () => {
    expect(pageAt('https://docs.example/', 'guides/install.md')).to.equal('https://docs.example/guides/install.md');
    expect(pageAt('', 'guides/install.md')).to.equal('docs/guides/install.md, which comes with this program');
    expect(documentationUrl('a.md')).to.equal(pageAt('', 'a.md'));
  });
});

describe('joinBytes', () => {
  it('joins pieces in order into memory of its own', () => {
    const piece = Uint8Array.of(1, 2);
    const whole = joinBytes([piece, new Uint8Array(), Uint8Array.of(3)]);
    piece[0] = 9;
    expect([[...whole], joinBytes([]).length]).to.deep.equal([[1, 2, 3], 0]);
  });
});

describe('buildStatus', () => {
  const status = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message: 'no' };

  it('has the reason of its code, and the seconds to wait if there are any', () => {
    expect(buildStatus(404, 'no')).to.deep.equal({ ...status, reason: 'NotFound', code: 404 });
    expect(buildStatus(503, 'no', 1)).to.deep.equal({
      ...status,
      reason: 'ServiceUnavailable',
      details: { retryAfterSeconds: 1 },
      code: 503,
    });
    expect(buildStatus(503, 'no', 0).details).to.deep.equal({ retryAfterSeconds: 0 });
  });

  it('takes a given reason, and has none for a code that it does not know', () => {
    expect(buildStatus(403, 'no', undefined, 'Other').reason).to.equal('Other');
    expect(buildStatus(418, 'no').reason).to.equal('');
  });
});
