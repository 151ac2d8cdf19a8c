import { expect } from 'chai';
import {
  formatOpenApiIndex,
  mergeOpenApiIndexes,
  parseOpenApiIndex,
  parseOpenApiIndexText,
} from '../../src/domain/merge-openapi.ts';
import { createProtobufMerge } from '../../src/domain/merge-openapi-protobuf.ts';
import { InvalidProtobufError } from '../../src/domain/protobuf-reader.ts';
import { bytesField, message, numberField } from '../../src/domain/protobuf-writer.ts';

const indexOf = (paths: Readonly<Record<string, string>>) => new Map(Object.entries(paths));

describe('mergeOpenApiIndexes', () => {
  it('is the sorted union, with the first server first', () => {
    const merged = mergeOpenApiIndexes([
      indexOf({ b: '/openapi/v3/b?hash=1', c: '/openapi/v3/c?hash=1' }),
      indexOf({ a: '/openapi/v3/a?hash=2', b: '/openapi/v3/b?hash=2' }),
    ]);
    expect(formatOpenApiIndex(merged)).to.equal(
      '{"paths":{"a":{"serverRelativeURL":"/openapi/v3/a?hash=2"},"b":{"serverRelativeURL":"/openapi/v3/b?hash=1"},"c":{"serverRelativeURL":"/openapi/v3/c?hash=1"}}}',
    );
  });

  it('reads its own output, and no reference to another place', () => {
    const index = indexOf({ 'api/v1': '/openapi/v3/api/v1?hash=A' });
    expect(parseOpenApiIndex(JSON.parse(formatOpenApiIndex(index)))).to.deep.equal(index);
    for (const value of [
      null,
      [],
      {},
      { paths: [] },
      { paths: { a: 'x' } },
      { paths: { a: { serverRelativeURL: 'https://elsewhere/' } } },
      { paths: { a: { serverRelativeURL: 1 } } },
      { paths: { a: null } },
      { paths: null },
      { paths: 'x' },
      'x',
      1,
    ])
      expect(parseOpenApiIndex(value)).to.equal(undefined);
  });
});

describe('parseOpenApiIndexText', () => {
  const read = (text: string) => parseOpenApiIndexText(new TextEncoder().encode(text));

  it('reads a text, and nothing that is no JSON or would take too long', () => {
    expect(read('{"paths":{"api/v1":{"serverRelativeURL":"/openapi/v3/api/v1"}}}')).to.deep.equal(
      indexOf({ 'api/v1': '/openapi/v3/api/v1' }),
    );
    for (const text of ['', '{', 'null', '{"paths":[]}', `{"paths":{},"x":[${'{},'.repeat(1_000_001)}{}]}`])
      expect(read(text), text.slice(0, 9)).to.equal(undefined);
  });
});

describe('createProtobufMerge', () => {
  const mergeAll = (...documents: readonly Uint8Array[]) => {
    const merge = createProtobufMerge();
    for (const one of documents) merge.add(one);
    return merge.finish();
  };
  const pair = (name: string, value: string) => message(bytesField(1, name), bytesField(2, value));
  const document = (version: string, paths: readonly string[], definitions: readonly string[]) =>
    message(
      bytesField(1, '2.0'),
      bytesField(2, version),
      bytesField(8, message(...paths.map((path) => bytesField(2, pair(path, version))))),
      bytesField(9, message(...definitions.map((name) => bytesField(1, pair(name, version))))),
      bytesField(12, 'after'),
    );

  it('adds missing pairs and keeps every other byte', () => {
    const merged = mergeAll(document('new', ['/b'], ['B']), document('old', ['/a', '/b'], ['A']));
    expect(merged).to.deep.equal(
      message(
        bytesField(1, '2.0'),
        bytesField(2, 'new'),
        bytesField(8, message(bytesField(2, pair('/b', 'new')), bytesField(2, pair('/a', 'old')))),
        bytesField(9, message(bytesField(1, pair('B', 'new')), bytesField(1, pair('A', 'old')))),
        bytesField(12, 'after'),
      ),
    );
  });

  it('returns the first document unchanged when the others add nothing', () => {
    const base = document('new', ['/a', '/b'], ['A']);
    expect(mergeAll(base, document('old', ['/a'], ['A']))).to.deep.equal(base);
  });

  it('adds a part that the first document lacks, and is empty without any document', () => {
    const base = message(bytesField(1, '2.0'), bytesField(12, 'after'));
    const added = message(bytesField(8, message(bytesField(2, pair('/a', 'x')))));
    expect(mergeAll(base, added)).to.deep.equal(message(base, added));
    expect(mergeAll()).to.deep.equal(new Uint8Array());
  });

  it('takes only pairs for parts, whatever else stands beside them', () => {
    const beside = message(bytesField(3, pair('/x', 'y')), bytesField(2, pair('/a', 'x')));
    const base = document('new', ['/a'], []);
    expect(mergeAll(base, message(bytesField(8, beside), numberField(9, 1)))).to.deep.equal(base);
    const swapped = message(bytesField(2, '/a'), bytesField(1, '/b'));
    expect(mergeAll(base, message(bytesField(8, bytesField(2, swapped))))).to.deep.equal(
      message(
        bytesField(1, '2.0'),
        bytesField(2, 'new'),
        bytesField(8, message(bytesField(2, pair('/a', 'new')), bytesField(2, swapped))),
        bytesField(9, ''),
        bytesField(12, 'after'),
      ),
    );
  });

  it('refuses a first document that cannot be read, even if no other follows', () => {
    for (const id of [8, 9])
      expect(() => mergeAll(bytesField(id, Uint8Array.of(0x0a, 5)))).to.throw(InvalidProtobufError);
  });

  it('refuses bytes that are not a message', () => {
    const whole = document('new', ['/a'], []);
    expect(() => mergeAll(whole, whole.subarray(0, whole.length - 1))).to.throw(InvalidProtobufError);
    expect(() => mergeAll(whole, Uint8Array.of(0x0b))).to.throw(InvalidProtobufError);
  });
});
