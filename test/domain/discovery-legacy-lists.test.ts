import { expect } from 'chai';
import {
  legacyApiVersions,
  legacyGroup,
  legacyGroupList,
  legacyResourceList,
} from '../../src/domain/discovery-legacy-lists.ts';
import { legacyToGroup } from '../../src/domain/legacy-to-groups.ts';
import { buildGroup, buildResource, buildVersion } from '../support/discovery-builders.ts';

const kind = (name: string, group = '', version = '') => ({ group, version, kind: name });

describe('legacy lists of a unified document', () => {
  it("write fields in kube-apiserver's order, and group and version only if they differ", () => {
    const deployments = buildResource('deployments', {
      singularResource: 'deployment',
      responseKind: kind('Deployment'),
      shortNames: ['deploy'],
      categories: ['all'],
      subresources: [{ subresource: 'scale', responseKind: kind('Scale', 'autoscaling', 'v1'), verbs: ['get'] }],
    });
    expect(JSON.stringify(legacyResourceList('apps', buildVersion('v1', deployments)))).to.equal(
      '{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"apps/v1","resources":[' +
        '{"name":"deployments","singularName":"deployment","namespaced":true,"kind":"Deployment","verbs":["get","list"],"shortNames":["deploy"],"categories":["all"]},' +
        '{"name":"deployments/scale","singularName":"","namespaced":true,"group":"autoscaling","version":"v1","kind":"Scale","verbs":["get"]}]}',
    );
  });

  it('omit a group and version that equal those of the list, as for CRDs', () => {
    const widgets = buildResource('widgets', { responseKind: kind('Widget', 'example.com', 'v1') });
    const list = JSON.stringify(legacyResourceList('example.com', buildVersion('v1', widgets)));
    expect(list).to.contain('"namespaced":true,"kind":"Widget"');
  });

  it('have no apiVersion for the core group', () => {
    expect(JSON.stringify(legacyResourceList('', buildVersion('v1')))).to.equal(
      '{"kind":"APIResourceList","groupVersion":"v1","resources":[]}',
    );
    expect(JSON.stringify(legacyApiVersions([buildGroup('', buildVersion('v1'))]))).to.equal(
      '{"kind":"APIVersions","versions":["v1"],"serverAddressByClientCIDRs":[]}',
    );
  });

  it('prefer the first version, and list dead ones', () => {
    const group = buildGroup('autoscaling', buildVersion('v2'), { version: 'v1', freshness: 'Stale' });
    const expected = {
      name: 'autoscaling',
      versions: [
        { groupVersion: 'autoscaling/v2', version: 'v2' },
        { groupVersion: 'autoscaling/v1', version: 'v1' },
      ],
      preferredVersion: { groupVersion: 'autoscaling/v2', version: 'v2' },
    };
    expect(legacyGroupList([group, buildGroup('empty')])).to.deep.equal({
      kind: 'APIGroupList',
      apiVersion: 'v1',
      groups: [expected],
    });
    expect(legacyGroup(group)).to.deep.equal({ kind: 'APIGroup', apiVersion: 'v1', ...expected });
    expect(legacyGroup(buildGroup('empty'))).to.equal(undefined);
  });

  it('say that a resource of the cluster is not in a namespace, and neither are its subresources', () => {
    const status = { subresource: 'status', responseKind: kind('Node'), verbs: ['get'] };
    const namespacedIn = (scope: string) => {
      const nodes = buildResource('nodes', { scope, responseKind: kind('Node'), subresources: [status] });
      const { resources } = legacyResourceList('', buildVersion('v1', nodes)) as unknown as {
        readonly resources: readonly { readonly namespaced: boolean }[];
      };
      return resources.map(({ namespaced }) => namespaced);
    };
    expect(namespacedIn('Cluster')).to.deep.equal([false, false]);
    expect(namespacedIn('Namespaced')).to.deep.equal([true, true]);
    expect(namespacedIn('')).to.deep.equal([false, false]);
  });

  it('name the version of a kind that is of the same group and another version', () => {
    const scaled = buildResource('things', { responseKind: kind('Thing', 'g', 'v2'), shortNames: [], categories: [] });
    expect(legacyResourceList('g', buildVersion('v1', scaled))).to.have.deep.nested.property('resources[0]', {
      ...{ name: 'things', singularName: '', namespaced: true },
      ...{ group: 'g', version: 'v2', kind: 'Thing', verbs: ['get', 'list'] },
    });
  });

  it('omit what has no kind', () => {
    const bare = buildResource('bare', { subresources: [{ subresource: 'status', verbs: ['get'] }] });
    const empty = buildResource('empty', {
      responseKind: kind('Empty'),
      subresources: [{ subresource: 'status', responseKind: kind(''), verbs: ['get'] }],
    });
    const list = legacyResourceList('g', buildVersion('v1', bare, empty, buildResource('no', {})));
    expect(list).to.have.property('resources').with.length(1);
    expect(list).to.have.nested.property('resources[0].name', 'empty');
  });

  it('omit a parent that was invented for its subresources', () => {
    const orphan = buildResource('orphans', {
      responseKind: kind(''),
      verbs: null,
      subresources: [{ subresource: 'status', responseKind: kind('Orphan'), verbs: ['get'] }],
    });
    const list = legacyResourceList('g', buildVersion('v1', orphan));
    expect(list).to.have.property('resources').with.length(1);
    expect(list).to.have.nested.property('resources[0].name', 'orphans/status');
  });

  it('give the same aggregated document after a round trip', () => {
    const group = buildGroup(
      'g',
      buildVersion(
        'v1',
        buildResource('a', {
          responseKind: kind('A'),
          subresources: [{ subresource: 's', responseKind: kind('A'), verbs: ['get'] }],
        }),
      ),
    );
    const [version = buildVersion('v1')] = group.versions ?? [];
    const back = legacyToGroup({ name: 'g', versions: ['v1'] }, () => ({
      kind: 'list',
      list: legacyResourceList('g', version),
    }));
    expect(back).to.deep.equal(group);
  });
});
