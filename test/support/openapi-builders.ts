import type { GatheredSchemas, SchemaKnowledge } from '../../src/domain/judge-fields.ts';
import type { NodePool, SchemaOutline } from '../../src/domain/schema-outline.ts';
import { digestDefinition, outlineDocument } from '../../src/domain/schema-outline.ts';
import { hashText } from '../../src/runtime/hash-text.ts';

/** Definitions of an OpenAPI document: each field with the definition that it refers to, or a description. */
export type Definitions = Readonly<Record<string, Readonly<Record<string, string | { readonly ref: string }>>>>;

/** An OpenAPI v3 document of a group-version. The definition of each kind has the kind's name. */
export function buildOpenApi(groupVersion: string, kinds: readonly string[], definitions: Definitions): object {
  const slash = groupVersion.lastIndexOf('/');
  const [group, version] = [groupVersion.slice(0, slash), groupVersion.slice(slash + 1)];
  const schemas = Object.entries(definitions).map(([name, fields]) => {
    const properties = Object.entries(fields).map(([field, said]) => [
      field,
      typeof said === 'string'
        ? { type: 'string', description: said }
        : { description: field, allOf: [{ $ref: `#/components/schemas/${said.ref}` }] },
    ]);
    const kind = kinds.includes(name) ? { 'x-kubernetes-group-version-kind': [{ group, version, kind: name }] } : {};
    return [name, { type: 'object', description: name, properties: Object.fromEntries(properties), ...kind }];
  });
  return { openapi: '3.0.0', paths: {}, components: { schemas: Object.fromEntries(schemas) } };
}

/** An outline with the digests of its kinds. */
export function gatherDocument(document: object, pool?: NodePool): GatheredSchemas {
  const outline: SchemaOutline | undefined = outlineDocument(document, hashText, pool);
  if (outline === undefined) throw new Error('that is no OpenAPI document');
  const digests = [...outline.kinds].flatMap(([kind, definition]) => {
    const digest = digestDefinition(outline, definition, hashText);
    return digest === undefined ? [] : [[kind, digest] as const];
  });
  return { outline, digests: new Map(digests) };
}

/** A source of the given documents, by group-version and hash. */
export function knowledgeOf(documents: Readonly<Record<string, Readonly<Record<string, object>>>>): SchemaKnowledge {
  const known = new Map<string, GatheredSchemas>();
  for (const [groupVersion, byHash] of Object.entries(documents))
    for (const [hash, document] of Object.entries(byHash))
      known.set(`${groupVersion} ${hash}`, gatherDocument(document));
  return { revision: 1, find: (groupVersion, hash) => known.get(`${groupVersion} ${hash}`) };
}
