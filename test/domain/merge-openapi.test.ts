import { expect } from 'chai';
import { formatOpenApiIndex, mergeOpenApiIndexes, parseOpenApiIndex } from '../../src/domain/merge-openapi.ts';
import { createProtobufMerge } from '../../src/domain/merge-openapi-protobuf.ts';
import { InvalidProtobufError } from '../../src/domain/protobuf-reader.ts';
import { bytesField, message } from '../../src/domain/protobuf-writer.ts';

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
    ])
      expect(parseOpenApiIndex(value)).to.equal(undefined);
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

  it('refuses bytes that are not a message', () => {
    const whole = document('new', ['/a'], []);
    expect(() => mergeAll(whole, whole.subarray(0, whole.length - 1))).to.throw(InvalidProtobufError);
    expect(() => mergeAll(whole, Uint8Array.of(0x0b))).to.throw(InvalidProtobufError);
  });
});
