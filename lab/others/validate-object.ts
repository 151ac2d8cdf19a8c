import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The part of an OpenAPI schema that Kubernetes' own documents use. */
interface Schema {
  readonly $ref?: string;
  readonly allOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly additionalProperties?: Schema | boolean;
  readonly enum?: readonly unknown[];
}

/** A Kubernetes object of any kind. */
export interface ApiObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
}

/** Returns the errors that one version of Kubernetes finds in an object, by the OpenAPI documents of its sources. */
export type Validate = (object: ApiObject) => readonly string[];

type Schemas = Readonly<Record<string, Schema>>;

/** Reads documents on demand, from the folder `api/openapi-spec/v3` of Kubernetes' sources. */
export function createValidator(folder: string): Validate {
  const documents = new Map<string, Schemas | undefined>();
  const schemasOf = (apiVersion: string): Schemas | undefined => {
    if (documents.has(apiVersion)) return documents.get(apiVersion);
    const name = apiVersion.includes('/') ? `apis__${apiVersion.replace('/', '__')}` : `api__${apiVersion}`;
    const file = join(folder, `${name}_openapi.json`);
    const schemas: Schemas | undefined = existsSync(file)
      ? JSON.parse(readFileSync(file, 'utf8')).components.schemas
      : undefined;
    documents.set(apiVersion, schemas);
    return schemas;
  };
  return (object) => {
    const { apiVersion, kind } = object;
    const schemas = schemasOf(apiVersion);
    const version = apiVersion.split('/').at(-1);
    const found = Object.entries(schemas ?? {}).filter(([name]) => name.endsWith(`.${version}.${kind}`));
    const [, schema] = found.at(0) ?? [];
    if (schemas === undefined || schema === undefined) return [`there is no ${kind} of ${apiVersion}`];
    return problemsOf(object, schema, schemas, '');
  };
}

/** The errors in a value, each with its path. A field that the schema does not name is an error. */
function problemsOf(value: unknown, schema: Schema, schemas: Schemas, path: string): readonly string[] {
  const { $ref, allOf = [], oneOf } = schema;
  if ($ref !== undefined) {
    const target = schemas[$ref.split('/').at(-1) ?? ''];
    return target === undefined ? [`${path}: ${$ref} is missing`] : problemsOf(value, target, schemas, path);
  }
  if (allOf.length > 0) return allOf.flatMap((part) => problemsOf(value, part, schemas, path));
  if (oneOf !== undefined) {
    const tried = oneOf.map((part) => problemsOf(value, part, schemas, path));
    return tried.some((problems) => problems.length === 0) ? [] : tried.flat();
  }
  if (schema.enum !== undefined && !schema.enum.includes(value)) return [`${path}: ${value} is none of ${schema.enum}`];
  switch (schema.type) {
    case 'object':
      return problemsOfObject(value, schema, schemas, path);
    case 'array':
      if (!Array.isArray(value)) return [`${path}: ${JSON.stringify(value)} is no list`];
      return value.flatMap((item, index) => problemsOf(item, schema.items ?? {}, schemas, `${path}[${index}]`));
    case 'integer':
      return Number.isInteger(value) ? [] : [`${path}: ${JSON.stringify(value)} is no integer`];
    case undefined:
      return [];
    default:
      return typeof value === schema.type ? [] : [`${path}: ${JSON.stringify(value)} is no ${schema.type}`];
  }
}

function problemsOfObject(value: unknown, schema: Schema, schemas: Schemas, path: string): readonly string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [`${path}: is no object`];
  const { properties, additionalProperties, required = [] } = schema;
  const missing = required.filter((name) => !(name in value)).map((name) => `${path}.${name}: is required`);
  const wrong = Object.entries(value).flatMap(([name, field]) => {
    const own = properties?.[name] ?? (typeof additionalProperties === 'object' ? additionalProperties : undefined);
    if (own !== undefined) return problemsOf(field, own, schemas, `${path}.${name}`);
    // Without either, the schema permits any content.
    return properties === undefined ? [] : [`${path}.${name}: is not known`];
  });
  return [...missing, ...wrong];
}
