import { headerText, type SimulatedRequest } from './answer.ts';
import type { ManagedFields, ObjectMeta, StoredObject } from './object-store.ts';
import type { PrinterColumn } from './served-apis.ts';

/** The form of objects that a client wants: complete, as table rows, or only the metadata. */
export type Presentation = 'object' | 'table' | 'metadata';

/** The first form in Accept that the simulation supports; undefined if there is none. */
export function choosePresentation(request: SimulatedRequest): Presentation | undefined {
  const accept = headerText(request, 'accept');
  for (const clause of (accept === '' ? '*/*' : accept).split(',')) {
    const [type = '', ...parameters] = clause.split(';').map((part) => part.trim());
    if (!['*/*', 'application/*', 'application/json', 'application/yaml'].includes(type)) continue;
    const as = parameters.find((parameter) => parameter.startsWith('as='))?.slice(3);
    if (as === undefined) return 'object';
    if (!parameters.includes('g=meta.k8s.io') || !parameters.includes('v=v1')) continue;
    if (as === 'Table') return 'table';
    if (as === 'PartialObjectMetadataList' || as === 'PartialObjectMetadata') return 'metadata';
  }
  return undefined;
}

/** An object as a client sees it: in the requested version, with the field sets in Kubernetes' own form. */
export function presentObject(object: StoredObject, apiVersion: string, kind: string): StoredObject {
  const { managedFields, ...metadata } = object.metadata;
  const shown = managedFields?.map((entry) => ({
    manager: entry.manager,
    operation: 'Apply',
    apiVersion,
    fieldsType: 'FieldsV1',
    fieldsV1: fieldsV1(entry),
    ...(entry.subresource !== undefined && { subresource: entry.subresource }),
  }));
  const all = { ...metadata, ...(shown !== undefined && { managedFields: shown }) } as unknown as ObjectMeta;
  return { ...object, apiVersion, kind, metadata: all };
}

function fieldsV1({ paths }: ManagedFields): object {
  const root: Record<string, unknown> = {};
  for (const path of paths) {
    let at = root;
    for (const part of JSON.parse(path) as string[]) {
      at[`f:${part}`] ??= {};
      at = at[`f:${part}`] as Record<string, unknown>;
    }
  }
  return root;
}

/** The metadata of an object alone. */
export function presentMetadata({ metadata }: StoredObject): object {
  return { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata };
}

/** Rows for `kubectl get`: the name, the columns of the definition, and the age. */
export function presentTable(
  objects: readonly StoredObject[],
  columns: readonly PrinterColumn[],
  listMetadata: object,
  now: number,
): object {
  const shown = columns.length > 0 ? columns : [ageColumn];
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata: listMetadata,
    columnDefinitions: [
      { name: 'Name', type: 'string', format: 'name', description: 'Name of the object', priority: 0 },
      ...shown.map(({ name, type, description = '', priority = 0 }) => ({
        name,
        type: type === 'date' ? 'string' : type,
        format: '',
        description,
        priority,
      })),
    ],
    rows: objects.map((object) => ({
      cells: [object.metadata.name, ...shown.map((column) => cellOf(object, column, now))],
      object: presentMetadata(object),
    })),
  };
}

const ageColumn: PrinterColumn = { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' };

function cellOf(object: StoredObject, { jsonPath, type }: PrinterColumn, now: number): unknown {
  const value = lookUp(object, jsonPath);
  if (type === 'date') return typeof value === 'string' ? age(now - Date.parse(value)) : '<unknown>';
  return typeof value === 'object' ? JSON.stringify(value) : (value ?? null);
}

/** Supports `.a.b` and `.a[?(@.type=="X")].b`, the only forms in the definitions here. */
function lookUp(object: unknown, jsonPath: string): unknown {
  let value = object;
  for (const step of jsonPath.matchAll(/\.([\w-]+)|\[\?\(@\.(\w+)==["'](\w+)["']\)\]/g)) {
    const [, field, key = '', wanted] = step;
    value =
      field === undefined
        ? (value as Record<string, unknown>[] | undefined)?.find((entry) => entry[key] === wanted)
        : (value as Record<string, unknown> | undefined)?.[field];
  }
  return value;
}

function age(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)}m`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3_600)}h` : `${Math.floor(seconds / 86_400)}d`;
}
