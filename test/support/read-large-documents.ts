import { bytesField, message } from '../../src/domain/protobuf-writer.ts';
import type { SwaggerForm } from '../../src/proxy/discovery/document-messages.ts';
import { createMergedSwagger } from '../../src/proxy/discovery/openapi-swagger.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { anybody, createDocumentServers } from './document-servers.ts';

// A program that reads the longest documents that the merge accepts, in both encodings, and prints the memory that it
// took.
const mebibyte = 1024 * 1024;

/** Many kinds of many objects, then fewer long ones, until it is told to stop. */
function longJson(name: string, bytes: number): Buffer {
  const parts: string[] = [];
  for (let at = 0, left = bytes - 100; left > 0; at++) {
    const value = at < 80_000 ? '{"a":{"b":{}}}' : `"${'x'.repeat(Math.min(left, mebibyte))}"`;
    const part = `"${name}${at}":${value}`;
    parts.push(part);
    left -= part.length + 1;
  }
  return Buffer.from(`{"paths":{},"definitions":{${parts.join()}}}`);
}

function longProtobuf(name: string, bytes: number): Buffer {
  const value = 'z'.repeat(1_000);
  const pairs = Array.from({ length: Math.floor(bytes / 1_030) }, (_, at) =>
    bytesField(1, message(bytesField(1, `${name}${at}`), bytesField(2, value))),
  );
  return Buffer.from(bytesField(9, Buffer.concat(pairs)));
}

const documents: Readonly<Record<SwaggerForm, (name: string, bytes: number) => Buffer>> = {
  json: longJson,
  protobuf: longProtobuf,
};
const sizes = { first: 63 * mebibyte, second: 16 * mebibyte };
const fleets = (['json', 'protobuf'] as const).map((form) => {
  const given = Object.entries(sizes).map(
    ([name, bytes]) => [name, { etag: `"${name}"`, body: documents[form](name, bytes) }] as const,
  );
  return { form, servers: createDocumentServers(Object.fromEntries(given)) };
});
global.gc?.();
const before = process.memoryUsage.rss();
let peak = before;
const looking = setInterval(() => {
  peak = Math.max(peak, process.memoryUsage.rss());
}, 10);
let merged = 0;
const kept: unknown[] = [];
for (const { form, servers } of fleets) {
  const swagger = createMergedSwagger({ transport: servers.transport as never, clock: systemClock });
  // A proxy keeps them.
  kept.push(swagger);
  const document = await swagger.read(anybody, form, servers.sources, (_, { error }) => {
    throw error;
  });
  await document?.gzipped();
  merged += document?.body.length ?? 0;
}
clearInterval(looking);
process.stdout.write(JSON.stringify({ merged, took: peak - before, of: kept.length }));
