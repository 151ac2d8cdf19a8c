import { randomBytes } from 'node:crypto';
import type { ResourceDiscovery } from '../../src/domain/discovery-document.ts';
import {
  type Answer,
  type AnswerContext,
  answerObject,
  answerStatus,
  pageNotFound,
  resourceNotFound,
  type SimulatedRequest,
} from './answer.ts';
import { answerReview } from './answer-review.ts';
import { answerWatch } from './answer-watch.ts';
import type { ObjectKey, ObjectMeta, StoredObject } from './object-store.ts';
import { applyPatch, mergePatch } from './patch.ts';
import { choosePresentation, presentMetadata, presentObject, presentTable } from './present.ts';
import { type ResourcePath, readResourcePath } from './resource-path.ts';
import { matchesFields, matchesLabels } from './selectors.ts';

type Fields = Readonly<Record<string, unknown>>;

/** A resource request, its resource, and its server. */
interface Target extends ResourcePath {
  readonly discovery: ResourceDiscovery;
  readonly key: ObjectKey;
  readonly apiVersion: string;
  readonly kind: string;
}

/**
 * Answers a resource request as a kube-apiserver does: generic CRUD, lists, watches, apply and merge patch.
 *
 * There is no schema validation, no defaulting and no admission, and every known user may do everything.
 */
export function answerResource(request: SimulatedRequest, context: AnswerContext, now: number): Answer {
  const path = readResourcePath(request.path);
  if (path === undefined || !context.apis.knowsGroup(path.group)) return pageNotFound;
  const { group, version, resource, subresource } = path;
  if (context.apis.isAggregated(group, version))
    return { kind: 'text', status: 503, text: 'service unavailable\n', headers: { 'retry-after': '1' } };
  const discovery = context.apis.find(group, version, resource);
  if (discovery === undefined) return resourceNotFound;
  const known = discovery.subresources?.find((entry) => entry.subresource === subresource);
  if (subresource !== '' && known === undefined) return resourceNotFound;
  const apiVersion = group === '' ? version : `${group}/${version}`;
  const kind = discovery.responseKind?.kind ?? '';
  const key = { resource: `${group}/${resource}`, namespace: path.namespace, name: path.name };
  const target: Target = { ...path, discovery, key, apiVersion, kind };
  const verb = verbOf(request, target);
  if (!(known ?? discovery).verbs?.includes(verb))
    return answerStatus(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource', {});
  if (subresource !== '' && subresource !== 'status') return answerStatus(501, 'NotImplemented', 'not simulated');
  const review = answerReview(request, context, apiVersion, kind);
  if (review !== undefined) return review;
  switch (verb) {
    case 'get':
      return get(request, context, target, now);
    case 'list':
      return list(request, context, target, now);
    case 'watch':
      return answerWatch(request, context, target);
    case 'create':
      return create(request, context, target);
    case 'update':
      return update(request, context, target);
    case 'patch':
      return patch(request, context, target);
    case 'delete':
      return remove(context, target);
    default:
      for (const object of selected(request, context, target)) context.store.delete(keyOf(target, object));
      return answerObject({ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success' });
  }
}

function verbOf({ method, query }: SimulatedRequest, { name }: Target): string {
  switch (method) {
    case 'POST':
      return 'create';
    case 'PUT':
      return 'update';
    case 'PATCH':
      return 'patch';
    case 'DELETE':
      return name === '' ? 'deletecollection' : 'delete';
    default:
      if (['true', '1', ''].includes(query.get('watch') ?? 'no')) return 'watch';
      return name === '' ? 'list' : 'get';
  }
}

function get(request: SimulatedRequest, context: AnswerContext, target: Target, now: number): Answer {
  const object = context.store.get(target.key);
  if (object === undefined) return objectNotFound(target);
  const shown = presentObject(object, target.apiVersion, target.kind);
  switch (choosePresentation(request)) {
    case 'object':
      return answerObject(shown);
    case 'metadata':
      return answerObject(presentMetadata(shown));
    case 'table':
      return answerObject(presentTable([shown], columnsOf(context, target), {}, now));
    default:
      return notAcceptable;
  }
}

function list(request: SimulatedRequest, context: AnswerContext, target: Target, now: number): Answer {
  const presentation = choosePresentation(request);
  if (presentation === undefined) return notAcceptable;
  const token = readContinue(request.query.get('continue'));
  if (token !== undefined && context.store.since(token.revision) === undefined)
    return answerStatus(410, 'Expired', 'The provided continue parameter is too old');
  const all = selected(request, context, target);
  const from = token === undefined ? 0 : all.findIndex((object) => pathOf(object) > token.after);
  const limit = Number(request.query.get('limit') ?? 0);
  const rest = from < 0 ? [] : all.slice(from);
  const page = limit > 0 ? rest.slice(0, limit) : rest;
  const last = page.at(-1);
  const revision = token?.revision ?? context.store.revision;
  const more = last !== undefined && page.length < rest.length;
  const metadata = {
    resourceVersion: String(revision),
    ...(more && {
      continue: Buffer.from(JSON.stringify({ revision, after: pathOf(last) })).toString('base64'),
      remainingItemCount: rest.length - page.length,
    }),
  };
  const items = page.map((object) => presentObject(object, target.apiVersion, target.kind));
  if (presentation === 'table') return answerObject(presentTable(items, columnsOf(context, target), metadata, now));
  if (presentation === 'metadata')
    return answerObject({
      kind: 'PartialObjectMetadataList',
      apiVersion: 'meta.k8s.io/v1',
      metadata,
      items: items.map(presentMetadata),
    });
  const untyped = context.apis.isCustom(target.group, target.resource);
  // Items of built-in lists omit their kind and version.
  const shown = untyped ? items : items.map(({ kind: _, apiVersion: __, ...item }) => item);
  return answerObject({ kind: `${target.kind}List`, apiVersion: target.apiVersion, metadata, items: shown });
}

function create(request: SimulatedRequest, context: AnswerContext, target: Target): Answer {
  const body = fieldsOf(request.body);
  if (body === undefined) return badRequest;
  const metadata = fieldsOf(body.metadata) ?? {};
  const generated =
    metadata.generateName === undefined ? '' : `${metadata.generateName}${randomBytes(3).toString('hex')}`;
  const name = String(metadata.name ?? generated);
  if (name === '')
    return answerStatus(422, 'Invalid', 'metadata.name: Required value: name or generateName is required');
  const named = { ...target, name, key: { ...target.key, name } };
  if (context.store.get(named.key) !== undefined)
    return answerStatus(409, 'AlreadyExists', `${about(named)} already exists`, detailsOf(named));
  return store(context, named, undefined, { ...body, metadata: { ...metadata, name } });
}

function update(request: SimulatedRequest, context: AnswerContext, target: Target): Answer {
  const body = fieldsOf(request.body);
  if (body === undefined) return badRequest;
  const before = context.store.get(target.key);
  if (before === undefined) return objectNotFound(target);
  const { managedFields: _, ...metadata } = fieldsOf(body.metadata) ?? {};
  const kept = before.metadata.managedFields;
  return store(context, target, before, {
    ...body,
    metadata: { ...metadata, ...(kept !== undefined && { managedFields: kept }) },
  });
}

function patch(request: SimulatedRequest, context: AnswerContext, target: Target): Answer {
  const body = fieldsOf(request.body);
  if (body === undefined) return badRequest;
  const before = context.store.get(target.key);
  const type = String(request.headers['content-type']).split(';', 1)[0];
  if (type === 'application/apply-patch+yaml') {
    const manager = request.query.get('fieldManager');
    if (manager === null)
      return answerStatus(422, 'Invalid', 'fieldManager: Required value: is required for apply patch');
    if (before === undefined && target.subresource !== '') return objectNotFound(target);
    const result = applyPatch(before, body, {
      manager,
      force: request.query.get('force') === 'true',
      ...(target.subresource !== '' && { subresource: target.subresource }),
    });
    if (result.kind === 'applied') return store(context, target, before, result.object);
    const message = `Apply failed with 1 conflict: conflict with "${result.manager}": ${result.path}`;
    const causes = [
      { reason: 'FieldManagerConflict', message: `conflict with "${result.manager}"`, field: result.path },
    ];
    return answerStatus(409, 'Conflict', message, { causes });
  }
  if (before === undefined) return objectNotFound(target);
  const custom = context.apis.isCustom(target.group, target.resource);
  // A strategic merge patch is treated as a plain merge patch. That is right for maps and scalars, but replaces whole
  // lists.
  if (type === 'application/merge-patch+json' || (type === 'application/strategic-merge-patch+json' && !custom))
    return store(context, target, before, mergePatch(before, body) as Fields);
  return answerStatus(415, 'UnsupportedMediaType', `the body of the request was in an unknown format - ${type}`);
}

function remove(context: AnswerContext, target: Target): Answer {
  const gone = context.store.delete(target.key);
  if (gone === undefined) return objectNotFound(target);
  const details = { ...detailsOf(target), uid: gone.metadata.uid };
  return answerObject({ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', details });
}

/** Writes an object, and handles what a kube-apiserver always handles: preconditions, subresources, generation. */
function store(context: AnswerContext, target: Target, before: StoredObject | undefined, object: Fields): Answer {
  const { namespace } = target.key;
  if (namespace !== '' && context.store.get({ resource: '/namespaces', namespace: '', name: namespace }) === undefined)
    return answerStatus(404, 'NotFound', `namespaces "${namespace}" not found`, {
      name: namespace,
      kind: 'namespaces',
    });
  const given = object.metadata as ObjectMeta;
  const expected = given.resourceVersion;
  if (expected !== undefined && expected !== '' && expected !== before?.metadata.resourceVersion)
    return answerStatus(
      409,
      'Conflict',
      `Operation cannot be fulfilled on ${about(target)}: the object has been modified; please apply your changes to the latest version and try again`,
      detailsOf(target),
    );
  const hasStatus = target.discovery.subresources?.some(({ subresource }) => subresource === 'status') === true;
  const next: Record<string, unknown> = { ...object, apiVersion: target.apiVersion, kind: target.kind };
  if (target.subresource === 'status') {
    const { status } = next;
    const { managedFields } = given;
    const metadata = { ...before?.metadata, ...(managedFields !== undefined && { managedFields }) };
    Object.assign(next, before, { metadata, status });
  } else if (hasStatus) {
    // A client's changes to the status are dropped here, as on a real server.
    if (before?.status === undefined) delete next.status;
    else next.status = before.status;
  }
  if ('spec' in next) {
    const changed = JSON.stringify(next.spec) !== JSON.stringify(before?.spec);
    const generation = (before?.metadata.generation ?? 0) + (changed ? 1 : 0);
    next.metadata = { ...(next.metadata as ObjectMeta), generation };
  }
  const stored = context.store.put(target.key, next);
  return answerObject(presentObject(stored, target.apiVersion, target.kind), before === undefined ? 201 : 200);
}

function selected(request: SimulatedRequest, { store: objects }: AnswerContext, { key }: Target): StoredObject[] {
  const labels = request.query.get('labelSelector');
  const fields = request.query.get('fieldSelector');
  return objects
    .list(key.resource, key.namespace)
    .filter((object) => matchesLabels(object, labels) && matchesFields(object, fields));
}

function columnsOf({ apis }: AnswerContext, { group, version, resource }: Target) {
  return apis.columnsOf(group, version, resource);
}

function keyOf({ key }: Target, { metadata }: StoredObject): ObjectKey {
  return { resource: key.resource, namespace: metadata.namespace ?? '', name: metadata.name };
}

function pathOf({ metadata }: StoredObject): string {
  return metadata.namespace === undefined ? metadata.name : `${metadata.namespace}/${metadata.name}`;
}

function readContinue(token: string | null): { readonly revision: number; readonly after: string } | undefined {
  return token === null || token === '' ? undefined : JSON.parse(Buffer.from(token, 'base64').toString());
}

function about({ group, resource, name }: Target): string {
  return `${group === '' ? resource : `${resource}.${group}`} "${name}"`;
}

function detailsOf({ group, resource, name }: Target): object {
  return { name, ...(group !== '' && { group }), kind: resource };
}

function objectNotFound(target: Target): Answer {
  return answerStatus(404, 'NotFound', `${about(target)} not found`, detailsOf(target));
}

const badRequest = answerStatus(400, 'BadRequest', 'the object provided is unrecognized (must be JSON or YAML)');
const notAcceptable = answerStatus(
  406,
  'NotAcceptable',
  'only the following media types are accepted: application/json, application/yaml',
);

function fieldsOf(value: unknown): Fields | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : undefined;
}
