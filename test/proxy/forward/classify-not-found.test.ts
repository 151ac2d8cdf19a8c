import { expect } from 'chai';
import { wrapUnknown } from '../../../src/domain/protobuf-unknown.ts';
import { bytesField, message as joinFields, numberField } from '../../../src/domain/protobuf-writer.ts';
import { buildStatus } from '../../../src/domain/status-error.ts';
import { mayBeUnknownResource } from '../../../src/proxy/forward/classify-not-found.ts';
import { encodeStatus } from '../../../src/proxy/request/write-status.ts';

const message = 'the server could not find the requested resource';
const status = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', reason: 'NotFound', code: 404 };
const json = (value: unknown) => Buffer.from(`${JSON.stringify(value)}\n`);
const protobuf = 'application/vnd.kubernetes.protobuf';
const inProtobuf = (text: string) => encodeStatus(buildStatus(404, text), protobuf).body;
/** A `Status` as kube-apiserver writes it. Source: `pkg/apis/meta/v1/generated.proto` of k8s.io/apimachinery. */
const unknownInStatus = (details: readonly Uint8Array[] = [], reason = 'NotFound') =>
  joinFields(
    bytesField(1, ''),
    bytesField(2, 'Failure'),
    bytesField(3, message),
    bytesField(4, reason),
    bytesField(5, joinFields(...details)),
    numberField(6, 404),
  );
const statusInProtobuf = (...details: Uint8Array[]) =>
  Buffer.from(wrapUnknown('v1', 'Status', unknownInStatus(details)));
/** The reason ends a byte too early. */
const tooLong = joinFields(bytesField(3, message), Uint8Array.of(0x22, 9), Buffer.from('NotFound'));
/** `retryAfterSeconds` is a number, which is written even if it is 0. */
const emptyDetails = [1, 2, 3, 6].map((id) => bytesField(id, '')).concat(numberField(5, 0));

describe('mayBeUnknownResource', () => {
  for (const [what, type, body] of [
    ['JSON', 'application/json', json({ ...status, message, details: {} })],
    ['JSON without details', 'application/json; charset=utf-8', json({ ...status, message })],
    ['JSON with a space after the type', 'application/json ; charset=utf-8', json({ ...status, message })],
    ['JSON with null for details', 'application/json', json({ ...status, message, details: null })],
    ['YAML', 'application/yaml', Buffer.from(`kind: Status\ndetails: {}\nmessage: ${message}\nreason: NotFound\n`)],
    ['protobuf', protobuf, inProtobuf(message)],
    ['protobuf with details that have nothing in them', protobuf, statusInProtobuf(...emptyDetails)],
    ['plain text', 'text/plain; charset=utf-8', Buffer.from('404 page not found\n')],
    ['plain text of no type', '', Buffer.from('404 page not found\n')],
  ] as const)
    it(`knows kube-apiserver's own words in ${what}`, () => {
      expect(mayBeUnknownResource(type, undefined, body)).to.equal(true);
    });

  for (const [what, type, body] of [
    ['a missing object', 'application/json', json({ ...status, message, details: { name: 'x', kind: 'pods' } })],
    ['a missing object without a name', 'application/json', json({ ...status, message, details: { name: '' } })],
    ['details of another type', 'application/json', json({ ...status, message, details: [] })],
    ['text for details', 'application/json', json({ ...status, message, details: '' })],
    ['a number for details', 'application/json', json({ ...status, message, details: 0 })],
    ['a list', 'application/json', json([{ ...status, message }])],
    ['null', 'application/json', json(null)],
    ["Go's plain text with the type of JSON", 'application/json', Buffer.from('404 page not found\n')],
    ['a detail besides', 'application/json', json({ ...status, message, details: { causes: [] } })],
    ["a webhook's words", 'application/json', json({ ...status, message: 'tenant "team-a" not found', details: {} })],
    ['another reason', 'application/json', json({ ...status, message, reason: 'Gone' })],
    ['no Status', 'application/json', json({ message, reason: 'NotFound' })],
    ['another text in YAML', 'application/yaml', Buffer.from('kind: Status\nmessage: no\nreason: NotFound\n')],
    ['another text in protobuf', protobuf, inProtobuf('tenant not found')],
    [
      'an alias in YAML',
      'application/yaml',
      Buffer.from(`x: &a ${message}\nkind: Status\nmessage: *a\nreason: NotFound\n`),
    ],
    ['a missing object in protobuf', protobuf, statusInProtobuf(bytesField(1, 'x'))],
    ['another reason in protobuf', protobuf, Buffer.from(wrapUnknown('v1', 'Status', unknownInStatus([], 'Gone')))],
    ['another kind in protobuf', protobuf, Buffer.from(wrapUnknown('v1', 'Pod', unknownInStatus()))],
    ['protobuf without its first four bytes', protobuf, statusInProtobuf().subarray(4)],
    ['protobuf that is cut off', protobuf, statusInProtobuf().subarray(0, -5)],
    ['a length beyond the end in protobuf', protobuf, Buffer.from(wrapUnknown('v1', 'Status', tooLong))],
    ['a page', 'text/html', Buffer.from('<p>')],
    ['other plain text', 'text/plain', Buffer.from('pod does not exist\n')],
    ['broken JSON', 'application/json', Buffer.from('{')],
    ['broken protobuf', protobuf, Buffer.from('k8s\0\x0a\xff', 'latin1')],
  ] as const)
    it(`treats ${what} as a server's own answer`, () => {
      expect(mayBeUnknownResource(type, undefined, body)).to.equal(false);
    });

  it('makes no guess about text that it cannot read', () => {
    expect(mayBeUnknownResource('application/json', 'gzip', Buffer.from('{}'))).to.equal(true);
    expect(mayBeUnknownResource('application/json', 'identity', Buffer.from('{}'))).to.equal(false);
    expect(mayBeUnknownResource('application/cbor', undefined, Buffer.from([0xd9]))).to.equal(true);
  });
});
