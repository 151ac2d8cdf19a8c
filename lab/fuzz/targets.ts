import { deepStrictEqual, ok } from 'node:assert/strict';
import { validateBundle } from '../../src/adapters/kubernetes/bundle-codec.ts';
import { packBundle } from '../../src/adapters/kubernetes/pack-bundle.ts';
import { findJsonExcess } from '../../src/domain/count-json.ts';
import { encodeDiscoveryList } from '../../src/domain/encode-discovery.ts';
import { type LeaseObject, readIdentityLease } from '../../src/domain/identity-lease.ts';
import { negotiateAggregated, negotiateLegacy, passesRouter } from '../../src/domain/negotiate-media-type.ts';
import { InvalidDiscoveryError, parseDiscoveryList } from '../../src/domain/parse-discovery.ts';
import { parseRequestInfo } from '../../src/domain/request-info.ts';
import { indexTable } from '../../src/domain/table-index.ts';
import { isFieldValue, isToken } from '../../src/http/field-syntax.ts';
import { FrameReader } from '../../src/http/http2/frame-reader.ts';
import { HpackDecoder } from '../../src/http/http2/hpack-decoder.ts';
import { loadRequestParsers } from '../../src/http/llhttp/request-parser.ts';
import { examineHead, objectToTarget } from '../../src/http/server/objections.ts';
import { userHeaders, userOfHeaders } from '../../src/proxy/identity/user-info.ts';
import { routingTable } from '../routing-table.ts';

/** A parser, seed inputs, and a property of every input. */
export interface FuzzTarget {
  readonly name: string;
  readonly inputs: readonly string[];
  /** Words with a meaning for the parser. */
  readonly words: readonly string[];
  /** @throws if the property does not hold */
  check(input: Buffer): void;
}

const limits = { maxHeaderBytes: 4_096, maxHeaderFields: 20 };

/** Every parser of data from outside. */
export function createFuzzTargets(): readonly FuzzTarget[] {
  return [heads(), targets(), frames(), fields(), discovery(), tables(), leases(), names(), accepts()];
}

/** A head must parse the same in any division into pieces, and its content must be valid to send on. */
function heads(): FuzzTarget {
  const parsers = loadRequestParsers();
  const read = (pieces: readonly Buffer[]) => {
    const parser = parsers.create(limits);
    parser.reset();
    try {
      for (const piece of pieces) {
        if (parser.headComplete || parser.problem !== undefined) break;
        parser.read(piece, 0);
      }
      const { problem, headComplete, method, target, version, rawHeaders } = parser;
      if (!headComplete || problem !== undefined) return { problem, headComplete };
      const facts = examineHead(parser);
      return { problem, headComplete, method, target, version, rawHeaders: [...rawHeaders], facts };
    } finally {
      parser.free();
    }
  };
  return {
    name: 'heads',
    inputs: [
      'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
      'POST /api/v1/pods?x=y HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc',
      'POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
      'GET /exec HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
    ],
    words: [
      '\r\n',
      '\n',
      ': ',
      'Host: b\r\n',
      'Content-Length: 1\r\n',
      'Transfer-Encoding: x\r\n',
      'HTTP/1.0',
      '\0',
      '\t',
    ],
    check: (input) => {
      const whole = read([input]);
      const bytes = Array.from(input, (_, at) => input.subarray(at, at + 1));
      deepStrictEqual(read(bytes), whole, 'the result differs when it is fed byte by byte');
      if (whole.rawHeaders === undefined) return;
      for (let at = 0; at < whole.rawHeaders.length; at += 2) {
        ok(isToken(whole.rawHeaders[at] ?? ''), 'a name is none');
        ok(isFieldValue(whole.rawHeaders[at + 1] ?? ''), 'a value is none');
      }
    },
  };
}

/** A target must be understood or refused with a reason, with the same result when parsed twice. */
function targets(): FuzzTarget {
  return {
    name: 'targets',
    inputs: [
      '/api/v1/namespaces/a/pods/b/log?follow=1',
      '/apis/apps/v1/watch/namespaces/a/deployments/x/scale/y/z',
      '/api/v1/nodes/n/proxy/a/b?watch=true&fieldSelector=metadata.name%3Dx',
    ],
    words: [
      '/',
      '//',
      '%2f',
      '%zz',
      '..',
      '?',
      '&',
      '=',
      ';',
      '#',
      'watch=1',
      'namespaces/',
      'apis/',
      'http://a',
      '\\',
    ],
    check: (input) => {
      const target = input.toString('latin1');
      for (const method of ['GET', 'POST', 'DELETE']) {
        const parsed = parseRequestInfo(method, target);
        deepStrictEqual(parseRequestInfo(method, target), parsed);
        if (parsed.kind === 'bad') ok(parsed.message !== '', 'it is refused without a reason');
        else ok(parsed.info.verb !== '', 'it has no verb');
        objectToTarget(method, target, ['Host', 'a']);
      }
    },
  };
}

/** Frames must parse the same in any division into pieces, and however often they wait. */
function frames(): FuzzTarget {
  const read = (pieces: readonly Buffer[], waits = 0) => {
    const seen: string[] = [];
    let data = '';
    let [asked, isKept] = [0, false];
    const reader = new FrameReader(
      {
        onFrame: (type, flags, stream, bytes, from, to) =>
          seen.push(`${type} ${flags} ${stream} ${bytes.toString('hex', from, to)}`),
        mayTake: () => {
          isKept = waits > 0 && asked++ % (waits + 1) < waits;
          return !isKept;
        },
        onDataHead: (flags, stream, length) => seen.push(`data ${flags} ${stream} ${length}`),
        onData: (piece, isLast) => {
          data += piece.toString('hex');
          if (isLast) seen.push(`end ${data}`);
        },
        onUnreadable: (reason) => {
          seen.push(reason);
          reader.stop();
        },
      },
      'PRI',
    );
    for (const piece of pieces) reader.read(piece);
    while (isKept) reader.read(Buffer.alloc(0));
    return seen;
  };
  const frame = (type: number, stream: number, payload: string) =>
    `\0\0${String.fromCharCode(payload.length, type, 0, 0, 0, 0, stream)}${payload}`;
  return {
    name: 'frames',
    inputs: [`PRI${frame(4, 0, '')}${frame(1, 1, 'abc')}${frame(0, 1, 'data')}`, `PRI${frame(8, 1, '\0\0\0\u0001')}`],
    words: ['\0\0\u0004', '\0\0\0', '\u00ff\u00ff\u00ff', '\0\0\0\u0001'],
    check: (input) => {
      const whole = read([input]);
      const bytes = Array.from(input, (_, at) => input.subarray(at, at + 1));
      deepStrictEqual(read(bytes), whole);
      deepStrictEqual(read([input], 2), whole);
      deepStrictEqual(read(bytes, 1), whole);
    },
  };
}

/** A list of fields must stay within its limits, or be rejected. */
function fields(): FuzzTarget {
  const most = { maxBytes: 2_048, maxFields: 16 };
  return {
    name: 'fields',
    inputs: [
      '\u0082\u0086\u0084\u0041\u0001a',
      '\0\u0001a\u0001b\u0040\u0001c\u0001d\u00be',
      '\u003f\u00e1\u001f\u0082',
    ],
    words: [
      '\u0040',
      '\u00be',
      '\u0020',
      '\u007f\u00ff\u00ff\u0001',
      '\0\u0004name\u0085\u00f1\u00e3\u00c2\u00e5\u00f2',
    ],
    check: (input) => {
      const decoder = new HpackDecoder(most);
      for (let round = 0; round < 2; round++) {
        if (!decoder.read(input, 0, input.length)) return;
        const { fields: found, malformed, excess } = decoder;
        ok(found.length <= 2 * most.maxFields, 'there are too many fields');
        ok(found.join('').length <= most.maxBytes, 'they are too long');
        if (malformed || excess !== undefined) continue;
        for (let at = 0; at < found.length; at += 2) {
          ok(isToken((found[at] ?? '').replace(/^:/, '')), 'a name is none');
          ok(isFieldValue(found[at + 1] ?? ''), 'a value is none');
        }
      }
    },
  };
}

/** JSON within the limits; undefined if the input is not JSON. */
function readJson(input: Buffer): { readonly value: unknown } | undefined {
  if (findJsonExcess(input) !== undefined) return undefined;
  try {
    return { value: JSON.parse(input.toString('utf8')) };
  } catch {
    return undefined;
  }
}

const jsonWords = ['{}', '[]', 'null', '""', ',', ':', '"items":', '"__proto__":', '\\ud800', '1e999', '-1', 'true'];

/** A document must be refused, or read back as the same after it was written. */
function discovery(): FuzzTarget {
  const version = {
    version: 'v1',
    freshness: 'Current',
    resources: [{ resource: 'pods', scope: 'Namespaced', verbs: ['get'] }],
  };
  const document = { kind: 'APIGroupDiscoveryList', items: [{ metadata: { name: 'apps' }, versions: [version] }] };
  return {
    name: 'discovery',
    inputs: [JSON.stringify(document), JSON.stringify({ items: [{ metadata: { name: '' }, versions: null }] })],
    words: [...jsonWords, '"resources":', '"subresources":', '"verbs":', '"responseKind":', '"freshness":"Stale"'],
    check: (input) => {
      const json = readJson(input);
      if (json === undefined) return;
      let items: ReturnType<typeof parseDiscoveryList>;
      try {
        items = parseDiscoveryList(json.value, { maxResources: 50 });
      } catch (error) {
        if (error instanceof InvalidDiscoveryError) return;
        throw error;
      }
      const written = encodeDiscoveryList(items, { typeMeta: true });
      deepStrictEqual(encodeDiscoveryList(parseDiscoveryList(JSON.parse(written)), { typeMeta: true }), written);
    },
  };
}

/** A table must be refused with a reason, or answer every request. */
function tables(): FuzzTarget {
  const resources = [{ resource: 'pods', peers: [0], subresources: { log: [0] } }];
  const table = routingTable({
    peers: [{ id: 'a', address: '192.0.2.1:6443', state: 'Ready' }],
    groupVersions: [{ group: '', version: 'v1', origin: 'BuiltIn', resources }],
  });
  const bundle = packBundle({ table, apis: '{}', apisEtag: 'A', api: '{}', apiEtag: 'B' });
  return {
    name: 'tables',
    inputs: [JSON.stringify(bundle)],
    words: [...jsonWords, '"peers":', '[0,0]', '[1]', '99', '"complete":false', '"doubts":[{}]'],
    check: (input) => {
      const json = readJson(input);
      if (json === undefined) return;
      const decoded = validateBundle(json.value);
      if (!decoded.ok) {
        ok(decoded.reason !== '', 'it is refused without a reason');
        return;
      }
      const index = indexTable(decoded.bundle.table);
      for (const { group, version, resources } of decoded.bundle.table.groupVersions)
        for (const { resource } of resources) index.resource(group, version, resource, '');
    },
  };
}

/** A Lease must stand for a server, or be refused with a reason. */
function leases(): FuzzTarget {
  const lease = {
    metadata: {
      name: 'apiserver-abc',
      labels: { 'kubernetes.io/hostname': 'host' },
      annotations: { 'kubernetes.io/peer-advertise-address': '192.0.2.1:6443' },
    },
    spec: { holderIdentity: 'a_b', renewTime: '2026-01-01T00:00:00.000000Z' },
  };
  return {
    name: 'leases',
    inputs: [JSON.stringify(lease)],
    words: [...jsonWords, '"spec":', '"labels":', '[::ffff:10.0.0.1]:1', '0x7f.1:80', '<script>'],
    check: (input) => {
      const json = readJson(input);
      if (typeof json?.value !== 'object' || json.value === null) return;
      for (const nameFor of [undefined, (hostname: string) => `apiserver-${hostname}`]) {
        const read = readIdentityLease(json.value as LeaseObject, nameFor);
        if ('problem' in read) ok(read.problem.message !== '', 'it is refused without a reason');
        else ok(read.peer.holderIdentity !== '', 'it has no holder');
      }
    },
  };
}

/** A user must arrive unchanged, or be refused. */
function names(): FuzzTarget {
  const headerNames = {
    user: ['X-Remote-User'],
    uid: ['X-Remote-Uid'],
    group: ['X-Remote-Group'],
    extraPrefix: ['X-Remote-Extra-'],
  };
  return {
    name: 'names',
    inputs: ['jane\ndev\nops\n', 'system:serviceaccount:a:b\n', 'jürgen\na, b\n'],
    words: [' ', '\t', '\n', '\r', '\0', '\u00c3\u00bc', '\u00ed\u00a0\u0080', '%', ':', ','],
    check: (input) => {
      // Read like a certificate, so bytes that are not text have become U+FFFD.
      const [name = '', uid = '', ...groups] = input.toString('utf8').split('\n');
      const user = { name, uid, groups: groups.filter((group) => group !== ''), extra: [['Key%', [name]]] as const };
      const headers = userHeaders(user, headerNames);
      if (headers === undefined) return;
      for (let at = 0; at < headers.length; at += 2) {
        const value: string = headers[at + 1] ?? '';
        ok(isToken(headers[at] ?? '') && isFieldValue(value) && value.trim() === value, 'HTTP would change it');
      }
      const seen = userOfHeaders(headers, headerNames);
      deepStrictEqual([seen?.name, seen?.uid, seen?.groups], [user.name, user.uid, user.groups]);
    },
  };
}

/** Accept must be understood or not, and a client that asks for aggregated discovery must get no other form. */
function accepts(): FuzzTarget {
  return {
    name: 'accepts',
    inputs: [
      'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json',
      'application/yaml;q=0.5,*/*;q=0.1',
      'application/vnd.kubernetes.protobuf;pretty=1;profile=nopeer',
    ],
    words: [
      ',',
      ';',
      'q=',
      '*/*',
      'g=apidiscovery.k8s.io',
      'v=v2beta1',
      '"',
      ' ',
      '=',
      'application/',
      'profile="nopeer"',
    ],
    check: (input) => {
      const accept = input.toString('latin1');
      passesRouter(accept);
      const aggregated = negotiateAggregated(accept, ['v2', 'v2beta1']);
      ok(aggregated === undefined || aggregated.aggregated !== undefined, 'it is not the aggregated form');
      ok(negotiateLegacy(accept)?.aggregated === undefined, 'it is not the legacy form');
    },
  };
}
