import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { ensureControlPlane } from '../../lab/build/build-control-plane.ts';
import { type MixedPlane, startMixedPlane } from '../../lab/plane/mixed-plane.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import { oddObject, oddRequests, oddStrangers } from '../support/odd-requests.ts';
import { createWireClient, type WireAnswer, type WireClient, type WireRequest } from '../support/wire-client.ts';

describe('odd requests', function () {
  this.timeout(300_000);
  let mixed: MixedPlane;
  const clients: WireClient[] = [];

  before(async () => {
    const log = (message: string) => void process.stdout.write(`      … ${message}\n`);
    await ensureControlPlane({ versions: ['1.36'], log });
    mixed = await startMixedPlane({ servers: [{ name: 'home', version: '1.36' }], home: 'home', log });
    mixed.startOperator();
    mixed.startProxy();
    const made = await mixed.kubectl('home', ['create', 'configmap', 'odd', '--from-literal=a=b']);
    expect(made.code, made.stderr).to.equal(0);
    const ask = clientOf(mixed.proxyUrl, mixed.plane.tokens.admin);
    await waitUntil('an unknown resource to be 404', async () => {
      const answer = await ask.http2({ path: '/apis/none.example/v1/x' }).catch(() => undefined);
      return answer?.status === 404 && (await ask.http2({ path: oddObject })).status === 200;
    });
  });
  after(async () => {
    for (const client of clients) client.close();
    await mixed?.stop();
  });

  function clientOf(url: string, token?: string): WireClient {
    const ca = readFileSync(mixed.plane.caFile, 'utf8');
    const client = createWireClient({ url, ca, ...(token !== undefined && { token }) });
    clients.push(client);
    return client;
  }

  const send = (client: WireClient, protocol: 'http1' | 'http2', request: WireRequest) =>
    Promise.race([answerOf(client, protocol, request), late()]).then(describeAnswer, (error: Error) => [
      `no answer: ${error.message.slice(0, 60)}`,
    ]);

  for (const protocol of ['http1', 'http2'] as const)
    for (const [who, requests] of [
      ['a known user', oddRequests],
      ['somebody unknown', oddStrangers],
    ] as const)
      it(`of ${who} get the server's own answer, over ${protocol}`, async () => {
        const { plane, proxyUrl } = mixed;
        const token = who === 'a known user' ? plane.tokens.admin : undefined;
        const direct = clientOf(plane.server('home').url, token);
        const proxied = clientOf(proxyUrl, token);
        const differences = await inParallel(requests, async (request) => {
          const [expected, actual] = await Promise.all([
            send(direct, protocol, request),
            send(proxied, protocol, request),
          ]);
          return describeDifference(request, expected, actual);
        });
        process.stdout.write(`      … ${requests.length} requests\n`);
        const unexpected = differences.filter((difference, at) => {
          const request = requests[at];
          return difference !== undefined && request !== undefined && !isOwn(request);
        });
        process.stdout.write(unexpected.map((difference) => `${difference}\n`).join(''));
        expect(unexpected.length, 'differences').to.equal(0);
      });
});

/** The number of requests that a server accepts at once on one connection. */
async function inParallel<In, Out>(inputs: readonly In[], work: (input: In) => Promise<Out>): Promise<readonly Out[]> {
  const left = [...inputs.entries()];
  const results: Out[] = [];
  const worker = async () => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      const [at, input] = next;
      results[at] = await work(input);
    }
  };
  await Promise.all(Array.from({ length: 12 }, worker));
  return results;
}

/** The answer. A server that refuses a credential ends the HTTP/2 connection with all its streams. */
async function answerOf(client: WireClient, protocol: 'http1' | 'http2', request: WireRequest): Promise<WireAnswer> {
  for (let left = 20; ; left -= 1)
    try {
      return await client[protocol](request);
    } catch (error) {
      if (left === 0 || !String(error).includes('REFUSED_STREAM')) throw error;
    }
}

/** The requests that the proxy answers itself, according to `docs/limits.md`. */
function isOwn({ method = 'GET', path, headers = [] }: WireRequest): boolean {
  if (method === 'TRACE' || method === 'FOO') return true;
  if (/^\/api\/v1(?:\/watch)?\/?(?:\?|$)/.test(path)) return true;
  return headers.includes('Expect') && headers.includes('none');
}

/** Requests whose answers never end. */
const late = () =>
  new Promise<never>((_, reject) => setTimeout(() => reject(new Error('none in time')), 20_000).unref());

/** Undefined if there is none. */
function describeDifference(
  { method = 'GET', path, headers = [], body = '' }: WireRequest,
  expected: readonly string[],
  actual: readonly string[],
): string | undefined {
  const lacking = expected.filter((line) => !actual.includes(line)).map((line) => `  - ${line}`);
  const more = actual.filter((line) => !expected.includes(line)).map((line) => `  + ${line}`);
  if (lacking.length + more.length === 0) return undefined;
  const what = `${method} ${path.slice(0, 120)} ${headers.join(': ').slice(0, 100)} ${body.slice(0, 40)}`;
  return [what, ...lacking, ...more].join('\n');
}

/** The parts of an answer that must be equal, one per line. */
function describeAnswer({ status, rawHeaders, body }: WireAnswer): readonly string[] {
  const lines = [`status ${status}`];
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = (rawHeaders[at] ?? '').toLowerCase();
    if (ofConnection.has(name) || (status < 400 && ofLength.has(name))) continue;
    lines.push(perMessage.has(name) ? name : `${name}: ${rawHeaders[at + 1]}`);
  }
  return [...lines, `body ${comparable(body.toString('latin1'))}`];
}

const ofConnection = new Set(['connection', 'keep-alive']);
const ofLength = new Set(['content-length', 'transfer-encoding']);
const perMessage = new Set(['date', 'audit-id']);

/** A body without the parts that differ from one answer to the next. */
function comparable(text: string): string {
  return (
    text
      .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, 'UID')
      .replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g, 'TIME')
      .replace(/(resourceVersion"?: ?"?)\d+/g, '$1N')
      // In protobuf, nothing tells which number is a version.
      .replace(/^k8s\0.*$/s, (message) => message.replace(/\d+/g, 'N'))
      .slice(0, 400)
  );
}
