import { negotiateAggregated } from '../../domain/negotiate-media-type.ts';
import type { RoutingBundle } from '../../domain/routing-table.ts';
import { buildStatus } from '../../domain/status-error.ts';
import { headerValue } from '../../http/fields.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { PeerTransport } from '../ports.ts';
import type { Exchange } from '../request/exchange.ts';
import { writeStatus } from '../request/write-status.ts';
import type { FleetPeer, FleetSnapshot } from '../servers/fleet.ts';
import { createDiscoveryAdmission, type Homes, type Refusal } from './admit-discovery.ts';
import { parseDiscoveryPath, pathOf, pathWithTimeout, wantsPretty } from './discovery-path.ts';
import type { SwaggerForm } from './document-messages.ts';
import { choosePeersForDocument, createOpenApiIndexes, hashInUrl, storeOpenApiIndex } from './openapi-index.ts';
import { orderOpenApiSources } from './openapi-sources.ts';
import { chooseSwaggerForm, createMergedSwagger } from './openapi-swagger.ts';
import { writeDocument } from './stored-document.ts';
import { createUnifiedDocuments, type FoundDocument, type UnifiedDocuments } from './unified-documents.ts';

/** A request for a document that is merged over all servers. */
export type DiscoveryQuestion =
  | { readonly kind: 'document'; readonly found: FoundDocument }
  | { readonly kind: 'openApiIndex' }
  | { readonly kind: 'openApiDocument'; readonly key: string }
  | { readonly kind: 'swagger'; readonly form: SwaggerForm };

/** The inputs for an answer besides the question. */
export interface DiscoveryContext extends Homes {
  readonly snapshot: FleetSnapshot;
  usable(peer: FleetPeer | undefined): peer is FleetPeer;
  /** Why an absence from the table proves nothing; undefined if it proves that no server serves it. */
  readonly doubt: string | undefined;
}

/** The servers that a request is passed on to; undefined if it was answered. */
export type Passed = readonly FleetPeer[] | undefined;

/** Answers discovery and OpenAPI for all servers at once. */
export interface UnifiedDiscovery {
  /** True if the answer is unified, so that one server's own document must not replace it. */
  isUnified(exchange: Exchange): boolean;
  /** The question; undefined for a request that is routed like any other. */
  read(exchange: Exchange, snapshot: FleetSnapshot): DiscoveryQuestion | undefined;
  /**
   * Answers, at once or later, without assuming that the client was admitted. Resolves to servers, in order, if the
   * first usable one of them is to answer instead.
   */
  answer(exchange: Exchange, question: DiscoveryQuestion, context: DiscoveryContext): undefined | Promise<Passed>;
}

const openApiV3 = '/openapi/v3';

/** Combines the question, the right to see the answer, and the documents. */
export function createUnifiedDiscovery(parts: {
  readonly transport: PeerTransport;
  readonly clock: Clock;
}): UnifiedDiscovery {
  const admission = createDiscoveryAdmission(parts);
  const indexes = createOpenApiIndexes(parts);
  const swagger = createMergedSwagger(parts);
  const documentsOf = new WeakMap<RoutingBundle, UnifiedDocuments>();
  const documents = (bundle: RoutingBundle) => {
    const existing = documentsOf.get(bundle);
    if (existing !== undefined) return existing;
    const created = createUnifiedDocuments(bundle);
    documentsOf.set(bundle, created);
    return created;
  };

  return {
    isUnified: ({ method, target, rawHeaders }) => {
      if (method !== 'GET' && method !== 'HEAD') return false;
      const path = pathOf(target);
      if (path === openApiV3 || path === '/openapi/v2') return true;
      const discovery = parseDiscoveryPath(path);
      if (discovery === undefined) return false;
      // Only for these paths can a client ask for a server's own document.
      if (discovery.kind !== 'core' && discovery.kind !== 'groups') return true;
      return negotiateAggregated(acceptOf(rawHeaders), ['v2', 'v2beta1'])?.profile !== 'nopeer';
    },
    read: ({ method, target, rawHeaders }, { bundle }) => {
      if (bundle === undefined) return undefined;
      if (target.startsWith('/openapi/'))
        return method === 'GET' || method === 'HEAD' ? readOpenApi(pathOf(target), acceptOf(rawHeaders)) : undefined;
      if (!target.startsWith('/api')) return undefined;
      const pretty = wantsPretty(target, headerValue(rawHeaders, 'user-agent') ?? '');
      const found = documents(bundle).find(method, pathOf(target), { accept: acceptOf(rawHeaders), pretty });
      return found === undefined ? undefined : { kind: 'document', found };
    },
    answer: (exchange, question, context) => {
      const aggregated = question.kind === 'document' && question.found.aggregated;
      const admitted = admission.admit(exchange, { path: pathWithTimeout(exchange.target), aggregated }, context);
      if (admitted === undefined) return give(exchange, question, context);
      return admitted.then((refusal) =>
        refusal === undefined ? give(exchange, question, context) : answerWith(refusal, exchange),
      );
    },
  };

  function give(
    exchange: Exchange,
    question: DiscoveryQuestion,
    context: DiscoveryContext,
  ): undefined | Promise<Passed> {
    switch (question.kind) {
      case 'document':
        return writeDocument(exchange, question.found.load())?.then(() => undefined);
      case 'openApiDocument':
        return passOpenApiDocument(exchange, question.key, context);
      case 'openApiIndex':
      case 'swagger':
        return giveOpenApi(exchange, question, context);
    }
  }

  async function giveOpenApi(
    exchange: Exchange,
    question: DiscoveryQuestion & { readonly kind: 'openApiIndex' | 'swagger' },
    context: DiscoveryContext,
  ): Promise<undefined> {
    const sources = orderOpenApiSources(context.snapshot, context.usable);
    if (question.kind === 'openApiIndex') {
      const view = await indexes.read(exchange, sources, context.onFault);
      if (view.indexes.length > 0) {
        await writeDocument(exchange, storeOpenApiIndex(view));
        return;
      }
    } else {
      const document = await swagger.read(exchange, question.form, sources, context.onFault);
      if (document !== undefined) {
        await writeDocument(exchange, document);
        return;
      }
    }
    writeStatus(exchange, buildStatus(503, 'no kube-apiserver can give its OpenAPI document now', 1));
  }

  async function passOpenApiDocument(exchange: Exchange, key: string, context: DiscoveryContext): Promise<Passed> {
    const { snapshot, homes, doubt } = context;
    const view = await indexes.read(exchange, orderOpenApiSources(snapshot, context.usable), context.onFault);
    const peers = choosePeersForDocument(view, key, hashInUrl(exchange.target));
    if (peers.length > 0) return peers;
    const [, group = '', version = ''] = /^apis?(?:\/([^/]+))?\/([^/]+)$/.exec(key) ?? [];
    const why = view.complete
      ? snapshot.index?.groupVersion(group, version) === undefined
        ? doubt
        : 'the kube-apiservers that serve it cannot give its schema now'
      : 'some kube-apiservers have not told which schemas they have';
    if (why === undefined) return homes();
    writeStatus(exchange, buildStatus(503, `there may be an OpenAPI document for ${key}: ${why}`, 1));
    return undefined;
  }
}

function answerWith(refusal: Refusal, exchange: Exchange): undefined {
  refusal(exchange);
  return undefined;
}

function readOpenApi(path: string, accept: string): DiscoveryQuestion | undefined {
  if (path === openApiV3) return { kind: 'openApiIndex' };
  if (path === '/openapi/v2') {
    const form = chooseSwaggerForm(accept);
    return form === undefined ? undefined : { kind: 'swagger', form };
  }
  if (!path.startsWith(`${openApiV3}/`) || path.includes('%')) return undefined;
  const key = path.slice(openApiV3.length + 1);
  return key === '' ? undefined : { kind: 'openApiDocument', key };
}

/** Servers read only the first of several Accept fields. */
function acceptOf(rawHeaders: readonly string[]): string {
  return headerValue(rawHeaders, 'accept') ?? '';
}
