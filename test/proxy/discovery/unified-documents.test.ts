import { gunzipSync } from 'node:zlib';
import { expect } from 'chai';
import { routingTable } from '../../../lab/routing-table.ts';
import { encodeDiscoveryList } from '../../../src/domain/encode-discovery.ts';
import type { RoutingBundle, TableGroupVersion, TablePeer } from '../../../src/domain/routing-table.ts';
import { createUnifiedDocuments } from '../../../src/proxy/discovery/unified-documents.ts';
import { discoveryEtag } from '../../../src/runtime/discovery-etag.ts';
import { buildGroup, buildResource, buildVersion } from '../../support/discovery-builders.ts';
import { aggregatedV2 } from '../../support/discovery-requests.ts';

const kind = (name: string) => ({ group: '', version: '', kind: name });
const core = [buildGroup('', buildVersion('v1', buildResource('pods', { responseKind: kind('Pod') })))];
const many = Array.from({ length: 2_000 }, (_, at) => buildResource(`things${at}`, { responseKind: kind('Thing') }));
const groups = [
  buildGroup('apps', buildVersion('v1', buildResource('deployments', { responseKind: kind('Deployment') }))),
  buildGroup('example.com', buildVersion('v1', buildResource('widgets', { responseKind: kind('Widget') }))),
  buildGroup('metrics.k8s.io', buildVersion('v1beta1', buildResource('pods', { responseKind: kind('PodMetrics') }))),
  buildGroup('dead.example.com', { version: 'v1', freshness: 'Stale' }),
  buildGroup('big.example.com', buildVersion('v1', ...many)),
];
const origins: readonly (readonly [string, string, TableGroupVersion['origin']])[] = [
  ['', 'v1', 'BuiltIn'],
  ['apps', 'v1', 'BuiltIn'],
  ['example.com', 'v1', 'CustomResource'],
  ['metrics.k8s.io', 'v1beta1', 'Aggregated'],
  ['big.example.com', 'v1', 'CustomResource'],
];

function bundleOf(peers: readonly TablePeer[] = []): RoutingBundle {
  const groupVersions = origins.map(([group, version, origin]) => ({ group, version, origin, resources: [] }));
  return {
    table: routingTable({ peers, groupVersions }),
    apis: encodeDiscoveryList(groups, { typeMeta: true }),
    apisEtag: discoveryEtag(groups),
    api: encodeDiscoveryList(core, { typeMeta: true }),
    apiEtag: discoveryEtag(core),
  };
}

describe('createUnifiedDocuments', () => {
  const documents = createUnifiedDocuments(bundleOf());
  const find = (path: string, accept = '', method = 'GET', pretty = false) =>
    documents.find(method, path, { accept, pretty });
  const bodyOf = (path: string, accept = '') => find(path, accept)?.load().body.toString();

  it('gives the bytes and the ETag of the bundle for aggregated JSON', () => {
    const bundle = bundleOf();
    const document = find('/apis', aggregatedV2)?.load();
    expect(document?.body.toString()).to.equal(bundle.apis);
    expect(document?.etag).to.equal(`"${bundle.apisEtag}"`);
    expect(document?.contentType).to.equal(aggregatedV2);
  });

  it('makes each form once', () => {
    expect(find('/apis', aggregatedV2)?.load()).to.equal(find('/apis/', aggregatedV2)?.load());
    expect(find('/apis/apps', 'application/yaml')?.load()).to.equal(
      find('/apis/apps', 'text/html, application/yaml')?.load(),
    );
    expect(find('/apis/apps')?.load()).not.to.equal(find('/apis/apps', 'application/yaml')?.load());
  });

  it('gives the same bytes to every replica, and each form has its own ETag', () => {
    const other = createUnifiedDocuments(bundleOf());
    const etags = new Set<string>();
    for (const accept of ['application/json', 'application/yaml', 'application/vnd.kubernetes.protobuf']) {
      const ours = find('/apis/apps/v1', accept)?.load();
      expect(other.find('GET', '/apis/apps/v1', { accept, pretty: false })?.load().body).to.deep.equal(ours?.body);
      etags.add(ours?.etag ?? '');
    }
    expect(etags.size).to.equal(3);
  });

  it('quotes text in YAML that YAML 1.1 would read as a boolean or a number', () => {
    const nodes = [
      buildGroup('', buildVersion('v1', buildResource('nodes', { shortNames: ['no', 'y', '1e3', 'po'] }))),
    ];
    const bundle = { ...bundleOf(), api: encodeDiscoveryList(nodes, { typeMeta: true }) };
    const accept = aggregatedV2.replace('json', 'yaml');
    const yaml = createUnifiedDocuments(bundle).find('GET', '/api', { accept, pretty: false })?.load().body.toString();
    expect(yaml).to.match(/shortNames:\n +- "no"\n +- "y"\n +- "1e3"\n +- po\n/);
  });

  it('has no document for a path that a server must answer', () => {
    const nothing: readonly (readonly [path: string, accept?: string, method?: string])[] = [
      ['/apis', `${aggregatedV2};profile=nopeer`],
      ['/apis', 'text/html'],
      ['/apis', 'application/cbor'],
      ['/apis', aggregatedV2.replace('v=v2', 'v=v2beta1')],
      ['/apis/apps', aggregatedV2],
      ['/apis/apps/v1', 'application/*'],
      ['/apis/apps/v1', '', 'POST'],
      ['/apis/apps/v1/deployments'],
      ['/apis/nope'],
      ['/apis/apps/v9'],
      ['/apis/apps%2Fv1'],
      ['/apis//apps'],
      ['/apis/apps//'],
      ['/api/v1/pods'],
      ['/apiserver'],
    ];
    for (const [path, accept, method] of nothing)
      expect(find(path, accept, method), `${method ?? 'GET'} ${path} ${accept ?? ''}`).to.equal(undefined);
  });

  it('writes no list of a version that is dead or described by another server, but names the group', () => {
    for (const groupVersion of ['metrics.k8s.io/v1beta1', 'dead.example.com/v1'])
      expect(find(`/apis/${groupVersion}`), groupVersion).to.equal(undefined);
    expect(bodyOf('/apis/dead.example.com')).to.contain('dead.example.com/v1');
    expect(bodyOf('/apis')).to.contain('dead.example.com/v1');
  });

  it('is as lenient about custom resources as servers, whose handler has no router in front', () => {
    for (const [accept, method] of [
      ['application/*', 'GET'],
      ['', 'POST'],
    ] as const)
      expect(find('/apis/example.com/v1', accept, method)?.load().body.toString()).to.contain('widgets');
  });

  it('compresses only long documents, and each only once', async () => {
    const big = find('/apis/big.example.com/v1')?.load();
    const compressed = await big?.gzipped();
    expect(gunzipSync(compressed ?? Buffer.alloc(0))).to.deep.equal(big?.body);
    expect(big?.gzipped()).to.equal(big?.gzipped());
    expect(find('/apis/apps')?.load().gzipped()).to.equal(undefined);
  });

  it('indents for people, without a newline at the end, as servers do', () => {
    const pretty = documents.find('GET', '/apis/example.com', { accept: '', pretty: true })?.load().body.toString();
    expect(pretty).to.match(/^\{\n {2}"kind": "APIGroup",\n/);
    expect(pretty?.endsWith('}')).to.equal(true);
    expect(bodyOf('/apis/example.com')?.endsWith('}\n')).to.equal(true);
  });

  it('offers v2beta1 as long as a server has it', () => {
    const beta = aggregatedV2.replace('v=v2', 'v=v2beta1');
    const offered = (version: string, state: TablePeer['state']) =>
      createUnifiedDocuments(bundleOf([{ id: 'a', version, state }])).find('GET', '/apis', {
        accept: beta,
        pretty: false,
      });
    expect(offered('v1.30.1', 'Ready')?.load().body.toString()).to.contain(
      '"apiVersion":"apidiscovery.k8s.io/v2beta1"',
    );
    expect(offered('v1.30.1', 'Ready')?.load().contentType).to.equal(beta);
    expect(offered('v1.33.0', 'Ready')).to.equal(undefined);
    expect(offered('v1.25.0', 'Ready')).to.equal(undefined);
    expect(offered('v1.30.1', 'Gone')).to.equal(undefined);
  });
});
