import { performance } from 'node:perf_hooks';
import { expect } from 'chai';
import { bytesField, message } from '../../../src/domain/protobuf-writer.ts';
import type { SwaggerForm } from '../../../src/proxy/discovery/document-messages.ts';
import { createMergedSwagger } from '../../../src/proxy/discovery/openapi-swagger.ts';
import { systemClock } from '../../../src/runtime/clock.ts';
import {
  anybody,
  createDocumentServers,
  type DocumentServers,
  type GivenDocument,
} from '../../support/document-servers.ts';
import { createManualClock } from '../../support/manual-clock.ts';

const json = (etag: string, document: object): GivenDocument => ({
  etag: `"${etag}"`,
  body: Buffer.from(JSON.stringify(document)),
});
const newest = json('N', { swagger: '2.0', info: 'new', paths: { '/b': 1 }, definitions: { B: 1 } });
const oldest = json('O', { swagger: '2.0', info: 'old', paths: { '/a': 2, '/b': 2 }, definitions: { A: 2 } });

function mergedOf(given: Readonly<Record<string, GivenDocument>>) {
  const servers = createDocumentServers(given);
  const clock = createManualClock();
  const swagger = createMergedSwagger({ transport: servers.transport as never, clock });
  const faults: string[] = [];
  const read = async (form: SwaggerForm = 'json') =>
    (
      await swagger.read(anybody, form, servers.sources, ({ id }, { error }) => faults.push(`${id}: ${error.message}`))
    )?.body.toString();
  return { ...servers, clock, faults, read };
}

describe('the merged /openapi/v2', function () {
  this.timeout(60_000);

  it('is the first document plus the parts that only others have', async () => {
    const { read, asked } = mergedOf({ newest, oldest });
    expect(await read()).to.equal('{"swagger":"2.0","info":"new","paths":{"/a":2,"/b":1},"definitions":{"A":2,"B":1}}');
    expect(asked).to.deep.equal(['newest 200', 'oldest 200']);
  });

  it('reads one of several equal documents, and passes it on unchanged', async () => {
    const odd = { etag: '"S"', body: Buffer.from('{"definitions":  7 ,') };
    const { read, asked, faults } = mergedOf({ one: odd, same: odd });
    expect(await read()).to.equal('{"definitions":  7 ,');
    expect([asked, faults]).to.deep.equal([['one 200', 'same 304'], []]);
  });

  it('leaves out an unreadable document, names its server, and asks that again after a minute', async () => {
    const { read, documents, clock, asked, faults } = mergedOf({
      newest,
      broken: { etag: '"X"', body: Buffer.from('{"paths":{"/c":tru}}') },
      oldest,
    });
    expect(await read()).to.equal('{"swagger":"2.0","info":"new","paths":{"/a":2,"/b":1},"definitions":{"A":2,"B":1}}');
    expect(faults).to.deep.equal(['broken: cannot merge /openapi/v2: it is not JSON']);
    documents.set('broken', json('C', { paths: { '/c': 3 } }));
    asked.length = 0;
    await clock.advance(59_000);
    await read();
    expect(asked).to.deep.equal(['newest 304', 'oldest 304']);
    await clock.advance(2_000);
    expect(await read()).to.contain('"/c":3');
  });

  it(
    'does not wait for a body that never ends: others get the last document meanwhile, and ' + 'next time at once',
    async () => {
      const { read, documents, clock, asked } = mergedOf({ newest, oldest });
      const before = await read();
      documents.set('oldest', { etag: '"E"', body: Buffer.from('{'), endless: true });
      await clock.advance(3_000);
      asked.length = 0;
      const asking = read();
      await clock.advance(2_000);
      expect(await asking).to.equal(before);
      // Once to see that it has changed, and once for the document.
      while (asked.filter((one) => one === 'oldest 200').length < 2) await new Promise(setImmediate);
      await clock.advance(10_000);
      asked.length = 0;
      expect(await read()).to.equal(before);
      expect(asked).not.to.include('oldest 200');
    },
  );

  it('merges no bomb of fields in protobuf', async () => {
    const pair = (name: string) => message(bytesField(1, name), bytesField(2, 'x'));
    const document = (name: string) => message(bytesField(8, message(bytesField(2, pair(name)))));
    const { read, faults } = mergedOf({
      newest: { etag: '"N"', body: document('/a') },
      bomb: { etag: '"B"', body: Buffer.alloc(1_000_000, Buffer.from([0x08, 0x00])) },
      oldest: { etag: '"O"', body: document('/b') },
    });
    expect(await read('protobuf')).to.equal(
      Buffer.from(message(bytesField(8, message(bytesField(2, pair('/a')), bytesField(2, pair('/b')))))).toString(),
    );
    expect(faults).to.deep.equal(['bomb: cannot merge /openapi/v2: a message has more than 250000 fields']);
  });

  it('does not block other requests while it reads large documents', async () => {
    const servers: DocumentServers = createDocumentServers({ newest: large('N'), oldest: large('O') });
    const swagger = createMergedSwagger({ transport: servers.transport as never, clock: systemClock });
    const started = performance.now();
    let longest = 0;
    let last = started;
    const turns = setInterval(() => {
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }, 1);
    const document = await swagger
      .read(anybody, 'json', servers.sources, (_, { error }) => expect.fail(error.message))
      .finally(() => clearInterval(turns));
    longest = Math.max(longest, performance.now() - last);
    expect(document?.body.length).to.be.above(2 * largeBytes);
    expect(longest / (performance.now() - started)).to.be.below(0.15);
  });
});

const largeBytes = 30 * 1024 * 1024;

/** Many objects, and as many bytes as the proxy reads of each of two documents. */
function large(name: string): GivenDocument {
  const objects = JSON.stringify({ [name]: Array.from({ length: 5_000 }, (_, at) => ({ at, text: 'a'.repeat(60) })) });
  const count = Math.ceil(largeBytes / objects.length);
  const definitions = Array.from({ length: count }, (_, at) => `"${name}${at}":${objects}`).join();
  return { etag: `"${name}"`, body: Buffer.from(`{"paths":{},"definitions":{${definitions}}}`) };
}
