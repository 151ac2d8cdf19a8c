import { expect } from 'chai';
import type { UnifiedView } from '../../src/domain/derive-bundle.ts';
import type { RoutingBundle } from '../../src/domain/routing-table.ts';
import { createDocumentEncoder } from '../../src/operator/encode-documents.ts';
import { TerminalError } from '../../src/operator/ports.ts';
import {
  confirm,
  type PublisherContext,
  publicationTrouble,
  publish,
  unreadPublication,
} from '../../src/operator/publish-table.ts';
import { silentLog } from '../../src/runtime/log.ts';
import { createManualClock } from '../support/manual-clock.ts';

const view = (mode: 'Route' | 'Observe'): UnifiedView => ({
  mode,
  fieldSkew: 'Preserve',
  fieldVerdicts: [],
  serverName: 'kubernetes.default.svc',
  peers: [],
  groupVersions: [],
  doubts: [],
  apis: [],
  api: [],
  groups: 0,
  resources: 0,
  divergent: [],
  schemaDifferences: [],
  documentsOf: new Map(),
});

function publisherOver(answers: ('ok' | 'overtaken' | Error)[], confirmations: (boolean | Error)[] = []) {
  const bundles: RoutingBundle[] = [];
  const confirmed: number[] = [];
  let stored = 7;
  let publication = unreadPublication;
  const context = {
    owner: 'cluster',
    location: { namespace: 'peerdiscovery-system', name: 'peerdiscovery-cluster' },
    encode: createDocumentEncoder(),
    clock: createManualClock(),
    log: silentLog,
    bundles: {
      read: async () => ({ revision: stored }),
      async publish(bundle: RoutingBundle) {
        const answer = answers.shift() ?? 'ok';
        if (answer instanceof Error) throw answer;
        if (answer === 'overtaken') {
          stored = 20;
          return { overtakenBy: 20 };
        }
        bundles.push(bundle);
        stored = bundle.table.revision;
        return undefined;
      },
      async confirm(revision: number) {
        const answer = confirmations.shift() ?? true;
        if (answer instanceof Error) throw answer;
        if (answer) confirmed.push(revision);
        return answer;
      },
    },
  } satisfies PublisherContext;
  const publisher = {
    async publish(unified: UnifiedView) {
      publication = await publish(publication, unified, context);
    },
    async confirm() {
      publication = await confirm(publication, [], context);
    },
    get trouble() {
      return publicationTrouble(publication);
    },
    get published() {
      return publication.published;
    },
  };
  const tables = () => bundles.map(({ table }) => table);
  const deleteAll = () => {
    stored = 0;
  };
  return { publisher, deleteAll, revisions: () => tables().map(({ revision }) => revision), tables, confirmed };
}

describe('publishing the table', () => {
  it('publishes only changes, with revisions that follow the existing ones', async () => {
    const { publisher, revisions } = publisherOver([]);
    for (const mode of ['Observe', 'Observe', 'Route', 'Route'] as const) await publisher.publish(view(mode));
    expect(revisions()).to.deep.equal([8, 9]);
  });

  it('says in the table where it is stored, so that proxies permit its replacement', async () => {
    const { publisher, tables } = publisherOver([]);
    await publisher.publish(view('Route'));
    const [table] = tables();
    expect(table?.location).to.deep.equal({ namespace: 'peerdiscovery-system', name: 'peerdiscovery-cluster' });
  });

  it('is out of trouble when the failed write is no longer wanted', async () => {
    const { publisher, confirmed } = publisherOver(['ok', new Error('connection refused')]);
    await publisher.publish(view('Observe'));
    await publisher.publish(view('Route'));
    await publisher.confirm();
    expect(publisher.trouble).to.include({ reason: 'PublishFailed' });
    expect(confirmed).to.deep.equal([]);
    await publisher.publish(view('Observe'));
    await publisher.confirm();
    expect(publisher.trouble).to.equal(undefined);
    expect(confirmed).to.deep.equal([8]);
  });

  it("never takes another writer's table for its own", async () => {
    const { publisher, revisions, confirmed } = publisherOver(['ok', 'overtaken']);
    await publisher.publish(view('Observe'));
    await publisher.publish(view('Route'));
    await publisher.confirm();
    expect(confirmed).to.deep.equal([]);
    await publisher.publish(view('Observe'));
    await publisher.confirm();
    expect(revisions()).to.deep.equal([8, 21]);
    expect(confirmed).to.deep.equal([21]);
  });

  it('rewrites a deleted or replaced table with a higher revision before it confirms', async () => {
    const { publisher, deleteAll, revisions, confirmed } = publisherOver([], [false]);
    await publisher.publish(view('Route'));
    deleteAll();
    await publisher.confirm();
    expect(revisions()).to.deep.equal([8, 9]);
    expect(confirmed).to.deep.equal([]);
    await publisher.confirm();
    expect(confirmed).to.deep.equal([9]);
    expect(publisher.published?.revision).to.equal(9);
  });

  it('reports that it cannot confirm, and that it can again', async () => {
    const { publisher, confirmed } = publisherOver(
      [],
      [new Error('connection reset'), new TerminalError('Forbidden', 'allow it')],
    );
    await publisher.publish(view('Route'));
    await publisher.confirm();
    expect(publisher.trouble).to.deep.equal({
      reason: 'ConfirmFailed',
      message: 'cannot confirm the routing table: connection reset',
    });
    await publisher.confirm();
    expect(publisher.trouble).to.deep.equal({ reason: 'Forbidden', message: 'allow it', terminal: true });
    await publisher.confirm();
    expect(publisher.trouble).to.equal(undefined);
    expect(confirmed).to.deep.equal([8]);
  });

  it('marks by its class a problem that waiting does not solve', async () => {
    const { publisher } = publisherOver([new TerminalError('NamespaceMissing', 'create it')]);
    await publisher.publish(view('Route'));
    expect(publisher.trouble).to.deep.equal({ reason: 'NamespaceMissing', message: 'create it', terminal: true });
  });
});
