import { expect } from 'chai';
import { compareSchemas } from '../../src/domain/compare-schemas.ts';

const indexOf = (hashes: Record<string, string>) => ({
  hashes: new Map(Object.entries(hashes)),
  digest: JSON.stringify(hashes),
});

describe('compareSchemas', () => {
  it('names the group-versions whose hashes differ, and the peers of each hash', () => {
    const old = indexOf({ '/v1': '1', 'apps/v1': '2', 'gone/v1': '3' });
    const young = indexOf({ '/v1': '9', 'apps/v1': '2', 'new/v1': '4' });
    expect(
      compareSchemas([
        { id: 'a', schemas: old },
        { id: 'b', schemas: young },
        { id: 'c', schemas: old },
      ]),
    ).to.deep.equal([
      {
        group: '',
        version: 'v1',
        schemas: [
          { hash: '1', peers: ['a', 'c'] },
          { hash: '9', peers: ['b'] },
        ],
      },
    ]);
  });

  it('sorts group-versions by name, and their schemas by hash', () => {
    const found = compareSchemas([
      { id: 'a', schemas: indexOf({ 'c.io/v1': '9', 'a.io/v1': '5', 'b.io/v1': '1' }) },
      { id: 'b', schemas: indexOf({ 'b.io/v1': '2', 'c.io/v1': '3', 'a.io/v1': '4' }) },
      { id: 'c', schemas: indexOf({ 'c.io/v1': '5' }) },
    ]);
    expect(found.map(({ group, schemas }) => [group, ...schemas.map(({ hash }) => hash)])).to.deep.equal([
      ['a.io', '4', '5'],
      ['b.io', '1', '2'],
      ['c.io', '3', '5', '9'],
    ]);
  });

  it('reports nothing for one peer, or for peers with equal hashes', () => {
    const schemas = indexOf({ 'apps/v1': '2' });
    expect(compareSchemas([])).to.deep.equal([]);
    expect(compareSchemas([{ id: 'a', schemas }])).to.deep.equal([]);
    expect(
      compareSchemas([
        { id: 'a', schemas },
        { id: 'b', schemas: indexOf({ 'apps/v1': '2' }) },
      ]),
    ).to.deep.equal([]);
  });
});
