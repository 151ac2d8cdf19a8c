import { readFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { expect } from 'chai';
import { type ControlPlane, startControlPlane } from '../../lab/plane/control-plane.ts';
import { routingTable } from '../../lab/routing-table.ts';
import { createUnifiedDocuments } from '../../src/proxy/discovery/unified-documents.ts';
import { aggregatedV2 } from '../support/discovery-requests.ts';

/** Releases since 1.33 serve v2beta1 only if a flag enables it; from 1.35 on, no flag can. */
const servers = [
  {
    name: 'beta',
    version: '1.36',
    emulatedVersion: '1.33',
    flags: ['--feature-gates=AggregatedDiscoveryRemoveBetaType=false'],
  },
  { name: 'cbor', version: '1.36', flags: ['--feature-gates=CBORServingAndStorage=true'] },
] as const;
const roots = ['/apis', '/api'] as const;

interface Answer {
  readonly status: number;
  readonly contentType: string | undefined;
  readonly etag: string | undefined;
  readonly body: Buffer;
}

describe('forms of discovery that servers offer only behind feature gates', function () {
  this.timeout(300_000);
  let plane: ControlPlane;

  before(async () => {
    plane = await startControlPlane({ servers, log: (text) => void process.stdout.write(`      … ${text}\n`) });
  });
  after(() => plane?.stop());

  function ask(server: string, path: string, accept: string): Promise<Answer> {
    const headers = { authorization: `Bearer ${plane.tokens.admin}`, accept };
    const options = { agent: false, ca: readFileSync(plane.caFile), headers };
    return new Promise((resolve, reject) => {
      const request = httpsRequest(`${plane.server(server).url}${path}`, options, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.once('error', reject);
        response.once('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            contentType: response.headers['content-type'],
            etag: response.headers.etag,
            body: Buffer.concat(chunks),
          }),
        );
      });
      request.once('error', reject);
      request.end();
    });
  }

  it('writes v2beta1 as a server that still has it does, byte for byte', async () => {
    const [apis, api] = await Promise.all(roots.map((path) => ask('beta', path, aggregatedV2)));
    if (apis === undefined || api === undefined) throw new Error('no documents');
    const bare = (etag: string | undefined) => (etag ?? '').replaceAll('"', '');
    const documents = createUnifiedDocuments({
      table: routingTable({ peers: [{ id: 'old', version: 'v1.32.0', state: 'Ready' }] }),
      apis: apis.body.toString(),
      apisEtag: bare(apis.etag),
      api: api.body.toString(),
      apiEtag: bare(api.etag),
    });
    const beta = aggregatedV2.replace('v=v2', 'v=v2beta1');
    for (const path of roots)
      for (const accept of [
        beta,
        `${beta};pretty=1`,
        beta.replace('json', 'yaml'),
        beta.replace('json', 'vnd.kubernetes.protobuf'),
        `${beta},application/json`,
        `${aggregatedV2};q=0.5,${beta}`,
      ]) {
        const theirs = await ask('beta', path, accept);
        const ours = documents.find('GET', path, { accept, pretty: false })?.load();
        const what = `${path} ${accept}`;
        expect(theirs.status, what).to.equal(200);
        expect(ours?.contentType, what).to.equal(theirs.contentType);
        expect(ours?.etag, what).to.equal(theirs.etag);
        expect(ours?.body.toString('latin1'), what).to.equal(theirs.body.toString('latin1'));
      }
  });

  it('needs no CBOR: servers refuse it for every list of groups, even with their gate on', async () => {
    for (const accept of ['application/cbor', aggregatedV2.replace('json', 'cbor')])
      for (const path of [...roots, '/apis/apps'])
        expect((await ask('cbor', path, accept)).status, `${path} ${accept}`).to.equal(406);
    // The list of one group-version is the exception: a server answers it itself.
    expect((await ask('cbor', '/apis/apps/v1', 'application/cbor')).contentType).to.equal('application/cbor');
    expect((await ask('beta', '/apis/apps/v1', 'application/cbor')).status).to.equal(406);
  });
});
