import { expect } from 'chai';
import { examineHead, objectToLine, objectToTarget } from '../../../src/http/server/objections.ts';

const lineFaults: readonly (readonly [method: string, target: string, objection: string])[] = [
  ['CONNECT', '/', 'CONNECT is not supported'],
  ['TRACE', '/', 'TRACE is not supported'],
  ['OPTIONS', '*', 'the request target is not in origin form'],
  ['GET', '', 'the request target is not in origin form'],
  ['GET', 'a/b', 'the request target is not in origin form'],
  ['GET', 'https://other/api', 'the request target is not in origin form'],
  ...[' ', '\x7f', '\xff', '\t', '#', '\\'].flatMap((odd) =>
    [`/${odd}`, `/a${odd}b`].map(
      (target) => ['GET', target, 'the request target has a character that must be percent-encoded'] as const,
    ),
  ),
];

const oneHost = 'exactly one Host is needed';
const oddHost = 'the Host has a character that no host name has';

describe('examineHead', () => {
  const examine = (rawHeaders: readonly string[], { method = 'POST', target = '/', version = '1.1' } = {}) =>
    examineHead({ method, target, version, rawHeaders });
  const host = ['Host', 'a.example:6443'];
  const chunked = ['Transfer-Encoding', 'chunked'];

  it('determines the body that a head announces', () => {
    const nothing = { objection: undefined, chunked: false, length: 0, expect: undefined };
    expect(examine(host)).to.deep.equal(nothing);
    expect(examine([...host, 'Content-Length', '17'])).to.deep.equal({ ...nothing, length: 17 });
    expect(examine([...host, ...chunked])).to.deep.equal({ ...nothing, chunked: true });
    expect(examine([...host, 'transfer-ENCODING', 'CHUNKED'])).to.deep.equal({ ...nothing, chunked: true });
    expect(examine([...host, 'X', 'y', 'Hoot', 'a b', 'Length', 'x', 'Transfer-Encodinh', 'x'])).to.deep.equal(nothing);
  });

  it('joins all values of Expect, in any spelling', () => {
    expect(examine([...host, 'EXPECT', '100-continue']).expect).to.equal('100-continue');
    expect(examine(['Expect', 'a', ...host, 'expect', 'b']).expect).to.equal('a, b');
  });

  it('reads no field of which only the name is there', () => {
    expect(examine([...host, 'Host']).objection).to.equal(undefined);
    expect(examine([...host, 'Expect']).expect).to.equal(undefined);
  });

  for (const [method, target, objection] of lineFaults)
    it(`refuses ${method} ${JSON.stringify(target)}`, () => {
      expect(examine(host, { method, target }).objection).to.equal(objection);
    });

  for (const [what, rawHeaders, objection] of [
    ['no Host', ['X', 'y'], oneHost],
    ['two Host', [...host, 'hOST', 'b'], oneHost],
    ['an odd Host', ['Host', 'a@b'], oddHost],
    ['an odd Host before a good one', ['Host', 'a/b', ...host], oddHost],
    ['two Content-Length', [...host, 'Content-Length', '1', 'Content-Length', '1'], 'more than one Content-Length'],
    ['an odd Content-Length', [...host, 'Content-Length', '+1'], 'an invalid Content-Length'],
    ['two Transfer-Encoding', [...host, ...chunked, ...chunked], 'more than one Transfer-Encoding'],
    [
      'an unknown Transfer-Encoding',
      [...host, 'Transfer-Encoding', 'gzip, chunked'],
      'Transfer-Encoding must be chunked, once',
    ],
    [
      'Transfer-Encoding beside a length',
      [...host, ...chunked, 'Content-Length', '5'],
      'Content-Length and Transfer-Encoding together',
    ],
    [
      'Transfer-Encoding beside the length 0',
      [...host, ...chunked, 'Content-Length', '0'],
      'Content-Length and Transfer-Encoding together',
    ],
  ] as const)
    it(`refuses ${what}`, () => {
      expect(examine(rawHeaders).objection).to.equal(objection);
    });

  it('knows HTTP/1.1 and HTTP/1.0 only, and lets only HTTP/1.0 do without Host, but never with two or an odd one', () => {
    const old = { version: '1.0' };
    expect(examine([], old).objection).to.equal(undefined);
    expect(examine(host, old).objection).to.equal(undefined);
    expect(examine([...host, ...host], old).objection).to.equal(oneHost);
    expect(examine(['Host', 'a|b'], old).objection).to.equal(oddHost);
    expect(examine([...host, ...chunked], old).objection).to.equal('Transfer-Encoding needs HTTP/1.1');
    for (const version of ['1.2', '2.0', '0.9', ''])
      expect(examine(host, { version }).objection).to.equal('unknown version of HTTP');
  });

  it('takes every character that a host and port may have, and no other', () => {
    for (let byte = 0x20; byte < 0x100; byte++) {
      const value = `a${String.fromCharCode(byte)}b`;
      const objection = /[\w!$%&'()*+,.:;=[\]~-]/.test(value[1] ?? '') ? undefined : oddHost;
      expect(examine(['Host', value]).objection, `byte ${byte}`).to.equal(objection);
      expect(objectToTarget('GET', '/', ['host', value]), `byte ${byte} over HTTP/2`).to.equal(objection);
    }
  });
});

describe('objectToTarget', () => {
  for (const [method, target, objection] of lineFaults)
    it(`refuses ${method} ${JSON.stringify(target)} over HTTP/2`, () => {
      expect(objectToTarget(method, target, ['host', 'a'])).to.equal(objection);
      expect(objectToLine(method, target)).to.equal(objection);
    });

  it('requires exactly one Host in any spelling, among other fields', () => {
    expect(objectToTarget('GET', '/a?b=%20', ['x', 'y', 'Host', 'a', 'hoot', 'a b'])).to.equal(undefined);
    expect(objectToTarget('GET', '/', ['x', 'y'])).to.equal(oneHost);
    expect(objectToTarget('GET', '/', [])).to.equal(oneHost);
    expect(objectToTarget('GET', '/', ['host', 'a', 'HOST', 'a'])).to.equal(oneHost);
    expect(objectToTarget('GET', '/', ['host', 'a', 'HOST', 'a b'])).to.equal(oddHost);
  });
});
