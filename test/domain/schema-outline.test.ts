import { expect } from 'chai';
import { compareFields } from '../../src/domain/compare-fields.ts';
import { outlineDocument } from '../../src/domain/schema-outline.ts';
import { hashText } from '../../src/runtime/hash-text.ts';
import { buildOpenApi, type Definitions, gatherDocument } from '../support/openapi-builders.ts';

const pod: Definitions = {
  Pod: { metadata: { ref: 'Meta' }, spec: { ref: 'Spec' } },
  Meta: { name: 'its name', labels: 'its labels' },
  Spec: { containers: { ref: 'Container' }, hostname: 'a name' },
  Container: { image: 'an image', nested: { ref: 'Container' } },
};
const gather = (definitions: Definitions, kinds = ['Pod']) => gatherDocument(buildOpenApi('/v1', kinds, definitions));
const kindOf = (definitions: Definitions) => ({ outline: gather(definitions).outline, definition: 'Pod' });

describe('outlineDocument', () => {
  it('digests a kind with everything that it refers to, and nothing else', () => {
    const digestOf = (definitions: Definitions, kinds?: string[]) =>
      gather(definitions, kinds).digests.get('/v1/Pod')?.digest;
    const before = digestOf(pod);
    expect(digestOf({ ...pod, PodList: { items: { ref: 'Pod' } } }, ['Pod', 'PodList'])).to.equal(before);
    expect(digestOf({ ...pod, Container: { ...pod.Container, image: 'an OCI image' } })).not.to.equal(before);
    expect(digestOf({ ...pod, Meta: { name: 'its name' } })).not.to.equal(before);
  });

  it('names the kinds that need a feature gate which may be on by default', () => {
    const gatedBy = (said: string) =>
      gather({ ...pod, Container: { ...pod.Container, resize: said } }).digests.get('/v1/Pod')?.gated;
    expect(gatedBy('Requires the Resize feature gate to be enabled.')).to.equal(true);
    expect(gatedBy('(Alpha) Using this field requires the Resize feature gate to be enabled.')).to.equal(false);
    expect(gatedBy('a size')).to.equal(false);
  });

  it('ignores the order of keys, and the kinds that a type is listed for', () => {
    const document = {
      components: { schemas: { A: { type: 'object', properties: { x: { type: 'string', format: 'f' } } } } },
    };
    const turned = {
      components: {
        schemas: {
          A: {
            'x-kubernetes-group-version-kind': [{ group: '', version: 'v1', kind: 'A' }],
            properties: { x: { format: 'f', type: 'string' } },
            type: 'object',
          },
        },
      },
    };
    const [one, other] = [document, turned].map(
      (value) => outlineDocument(value, hashText)?.definitions.get('A')?.digest,
    );
    expect(one).to.be.a('string').and.to.equal(other);
  });

  it('treats fields named $ref and properties as ordinary fields', () => {
    const fields = { $ref: { type: 'string' }, properties: { type: 'object' }, default: { type: 'string' } };
    const outline = outlineDocument({ components: { schemas: { A: { properties: fields } } } }, hashText);
    expect([...(outline?.definitions.get('A')?.fields.keys() ?? [])]).to.have.members(Object.keys(fields));
    expect(outline?.definitions.get('A')?.refs).to.deep.equal([]);
  });

  it('tells fields apart that refer to different definitions, even if documents share their nodes', () => {
    const pool = new Map();
    const of = (ref: string) => {
      const definitions = { Pod: { spec: { ref } }, One: { a: 'x' }, Other: { b: 'x' } };
      return { outline: gatherDocument(buildOpenApi('/v1', ['Pod'], definitions), pool).outline, definition: 'Pod' };
    };
    const { onlyLeft, onlyRight } = compareFields(of('One'), of('Other'));
    expect([onlyLeft.paths, onlyRight.paths]).to.deep.equal([['spec.a'], ['spec.b']]);
  });

  it('gives nothing for a document that is not OpenAPI', () => {
    for (const value of [undefined, null, 7, 'x', [], {}, { components: [] }, { components: { schemas: 7 } }])
      expect(outlineDocument(value, hashText)).to.equal(undefined);
  });
});

describe('compareFields', () => {
  it('names the fields of only one side at their first occurrence, and those with different descriptions', () => {
    const younger: Definitions = {
      ...pod,
      Spec: { containers: { ref: 'Container' }, hostname: 'a name, now beta', group: { ref: 'Group' } },
      Container: { image: 'an image', nested: { ref: 'Container' }, resize: 'new' },
      Meta: { name: 'its name' },
      Group: { name: 'x' },
    };
    const { onlyLeft, onlyRight, described } = compareFields(kindOf(younger), kindOf(pod));
    expect(onlyLeft).to.deep.equal({ paths: ['spec.group', 'spec.containers.resize'], count: 2 });
    expect(onlyRight).to.deep.equal({ paths: ['metadata.labels'], count: 1 });
    expect(described).to.deep.equal({ paths: ['spec.hostname'], count: 1 });
  });

  it('finds nothing between equal kinds, including kinds that refer to themselves', () => {
    const { onlyLeft, onlyRight, described } = compareFields(kindOf(pod), kindOf(pod));
    expect([onlyLeft.count, onlyRight.count, described.count]).to.deep.equal([0, 0, 0]);
  });

  it('counts the fields that it does not list', () => {
    const many = Object.fromEntries(Array.from({ length: 80 }, (_, at) => [`f${at}`, 'x']));
    const { onlyLeft } = compareFields(kindOf({ ...pod, Spec: { ...pod.Spec, ...many } }), kindOf(pod));
    expect(onlyLeft.count).to.equal(80);
    expect(onlyLeft.paths).to.have.length(50);
  });
});
