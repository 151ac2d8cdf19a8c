import { setImmediate as nextTurn } from 'node:timers/promises';
import { findJsonExcess } from '../domain/count-json.ts';
import { encodeAsGo } from '../domain/encode-discovery.ts';
import { mergeSwagger, type SwaggerDocument } from '../domain/merge-openapi.ts';
import { mergeSwaggerProtobuf } from '../domain/merge-openapi-protobuf.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Exchange } from './exchange.ts';
import { fetchWhole } from './fetch-whole.ts';
import type { FleetPeer } from './fleet.ts';
import { headerValue } from './headers.ts';
import type { PeerFault, PeerTarget, PeerTransport } from './ports.ts';
import { type StoredDocument, storeDocument, strongEtag } from './stored-document.ts';

/** Encodings of OpenAPI v2. */
export type SwaggerForm = 'json' | 'protobuf';

const protobufType = 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf';
const deprecatedProtobufType = 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf';
const maxBytes = 64 * 1024 * 1024;

/** The form for an Accept header by its first clause that names one; undefined where a server answers 406. */
export function chooseSwaggerForm(accept: string): SwaggerForm | undefined {
  if (accept === '') return 'json';
  for (const clause of accept.split(',')) {
    const type = clause.split(';', 1)[0]?.trim();
    if (type === 'application/json' || type === '*/*' || type === 'application/*') return 'json';
    if (type === protobufType || type === deprecatedProtobufType) return 'protobuf';
  }
  return undefined;
}

/** OpenAPI v2 of all servers. */
export interface MergedSwagger {
  /** Undefined if no source could be read. */
  read(
    exchange: Exchange,
    form: SwaggerForm,
    sources: readonly FleetPeer[],
    onFault: (target: PeerTarget, fault: PeerFault) => void,
  ): Promise<StoredDocument | undefined>;
}

interface Kept {
  readonly etags: ReadonlyMap<string, string>;
  readonly document: StoredDocument;
  readonly at: number;
}

/**
 * Merges the documents of all sources when one of them has changed, and keeps only the result.
 *
 * The sources are asked with the client's own credentials and the ETags of the last merge, at most every two seconds.
 * A source that does not answer keeps what it had a part in. The ETag is of the sources' ETags, so that it is the same
 * for every replica.
 */
export function createMergedSwagger({
  transport,
  clock,
  freshForMs = 2_000,
}: {
  readonly transport: PeerTransport;
  readonly clock: Clock;
  readonly freshForMs?: number;
}): MergedSwagger {
  const kept = new Map<SwaggerForm, Kept>();
  const running = new Map<SwaggerForm, Promise<StoredDocument | undefined>>();
  return {
    read: (exchange, form, sources, onFault) => {
      const before = kept.get(form);
      const sameSources = before !== undefined && sources.every(({ target }) => before.etags.has(target.address));
      if (before !== undefined && sameSources && clock.now() - before.at < freshForMs)
        return Promise.resolve(before.document);
      const existing = running.get(form);
      if (existing !== undefined) return existing;
      const started = refresh(exchange, form, sources, onFault).finally(() => running.delete(form));
      running.set(form, started);
      return started;
    },
  };

  async function refresh(
    exchange: Exchange,
    form: SwaggerForm,
    sources: readonly FleetPeer[],
    onFault: (target: PeerTarget, fault: PeerFault) => void,
  ): Promise<StoredDocument | undefined> {
    const before = kept.get(form);
    if (before !== undefined && sources.every(({ target }) => before.etags.has(target.address))) {
      const answers = await fetchAll(exchange, form, sources, onFault, before.etags);
      if (answers.every((answer) => answer === undefined || answer.status === 304)) {
        kept.set(form, { ...before, at: clock.now() });
        return before.document;
      }
    }
    const answers = await fetchAll(exchange, form, sources, onFault, undefined);
    const etags = new Map<string, string>();
    const bodies: Buffer[] = [];
    sources.forEach(({ target }, at) => {
      const answer = answers[at];
      if (answer?.status !== 200) return;
      const etag = answer.etag ?? strongEtag(answer.body);
      if (![...etags.values()].includes(etag)) bodies.push(answer.body);
      etags.set(target.address, etag);
    });
    const [first] = bodies;
    if (first === undefined) return before?.document;
    const distinct = [...new Set(etags.values())];
    const document = storeDocument({
      body: bodies.length === 1 ? first : await mergeBodies(form, bodies),
      contentType: form === 'json' ? 'application/json' : protobufType,
      etag: distinct.length === 1 ? (distinct[0] ?? '').replaceAll('"', '') : strongEtag(distinct.join()),
      cacheControl: 'no-cache, private',
      vary: true,
      // Its handler, unlike the others, compresses whatever is longer than this. Source: gziphandler.
      gzipFrom: 1_400,
    });
    kept.set(form, { etags, document, at: clock.now() });
    return document;
  }

  function fetchAll(
    exchange: Exchange,
    form: SwaggerForm,
    sources: readonly FleetPeer[],
    onFault: (target: PeerTarget, fault: PeerFault) => void,
    etags: ReadonlyMap<string, string> | undefined,
  ) {
    return Promise.all(
      sources.map(async ({ target }) => {
        const etag = etags?.get(target.address);
        const answer = await fetchWhole({ transport, clock }, target, exchange, {
          method: 'GET',
          path: '/openapi/v2',
          headers: [
            'Accept',
            form === 'json' ? 'application/json' : `${deprecatedProtobufType}, ${protobufType}`,
            ...(etag === undefined ? [] : ['If-None-Match', etag]),
          ],
          maxBytes,
        });
        if (answer.kind === 'fault') {
          onFault(target, answer.fault);
          return undefined;
        }
        const excess = answer.cut ? `it is longer than ${maxBytes} bytes` : excessOf(form, answer.body);
        if (excess !== undefined) {
          const error = new Error(`/openapi/v2 is not merged: ${excess}`);
          onFault(target, { kind: 'answer', sent: true, error });
          return undefined;
        }
        return { status: answer.status, body: answer.body, etag: headerValue(answer.headers, 'etag') };
      }),
    );
  }
}

function excessOf(form: SwaggerForm, body: Buffer): string | undefined {
  return form === 'json' ? findJsonExcess(body) : undefined;
}

/** One document at a time, with a turn for everybody else between, as each takes tens of milliseconds. */
async function mergeBodies(form: SwaggerForm, bodies: readonly Buffer[]): Promise<Buffer> {
  if (form === 'protobuf') return Buffer.from(mergeSwaggerProtobuf(bodies));
  let merged: SwaggerDocument | undefined;
  for (const body of bodies) {
    const document = JSON.parse(body.toString('utf8')) as SwaggerDocument;
    merged = merged === undefined ? document : mergeSwagger(merged, document);
    await nextTurn();
  }
  return Buffer.from(encodeAsGo(merged ?? {}));
}
