import type { Fault } from '../../http/client/dispatch.ts';
import { headerValue } from '../../http/fields.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { PeerTarget, PeerTransport } from '../ports.ts';
import type { Exchange } from '../request/exchange.ts';
import { fetchPieces } from '../servers/fetch-whole.ts';
import type { FleetPeer } from '../servers/fleet.ts';
import type { SwaggerForm } from './document-messages.ts';
import { type DocumentReader, openDocumentReader } from './read-documents.ts';
import { type StoredDocument, storeDocument, strongEtag } from './stored-document.ts';

const protobufType = 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf';
const deprecatedProtobufType = 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf';
/** Maximum for one document. */
const maxBytes = 64 * 1024 * 1024;
/** Maximum for all different documents, and so for their merge. */
const maxAllBytes = 80 * 1024 * 1024;
/** Delay before a source with an unreadable document is asked again. */
const restMs = 60_000;
const maxResting = 1_000;
/** After this time, a request gets the last document instead of the next. */
const lateMs = 2_000;

/** The form for an Accept header, from its first clause that names one. Undefined if a server would answer 406. */
export function chooseSwaggerForm(accept: string): SwaggerForm | undefined {
  if (accept === '') return 'json';
  for (const clause of accept.split(',')) {
    const type = clause.split(';', 1)[0]?.trim();
    if (type === 'application/json' || type === '*/*' || type === 'application/*') return 'json';
    if (type === protobufType || type === deprecatedProtobufType) return 'protobuf';
  }
  return undefined;
}

/** The merged OpenAPI v2 of all servers. */
export interface MergedSwagger {
  /** Undefined if no source could be read. */
  read(
    exchange: Exchange,
    form: SwaggerForm,
    sources: readonly FleetPeer[],
    onFault: (target: PeerTarget, fault: Fault) => void,
  ): Promise<StoredDocument | undefined>;
}

interface Kept {
  readonly etags: ReadonlyMap<string, string>;
  readonly document: StoredDocument;
  readonly at: number;
}

/** Reports a failed server. */
type OnFault = (target: PeerTarget, fault: Fault) => void;

/** The document of a source. */
type Fetched =
  /** Another source has sent the same document. */
  | { readonly kind: 'known'; readonly etag: string }
  | {
      readonly kind: 'document';
      readonly etag: string | undefined;
      readonly pieces: readonly Uint8Array<ArrayBuffer>[];
      readonly bytes: number;
    };

/**
 * Merges the documents of all sources when one of them changes, and keeps only the result.
 *
 * It asks the sources with the client's own credentials and the ETags of the last merge, at most every two seconds. A
 * source that does not answer keeps its part of the last merge. The ETag is made from the sources' ETags, so every
 * replica has the same one.
 *
 * A thread reads the documents, one merge at a time. A source with an unreadable document is left alone for a minute.
 * During a long merge, requests get the last document.
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
  const restingUntil = new Map<string, number>();
  let lastMerge: Promise<unknown> = Promise.resolve();
  return {
    read: (exchange, form, sources, onFault) => {
      const before = kept.get(form);
      if (before !== undefined && hasAll(before, sources) && clock.now() - before.at < freshForMs)
        return Promise.resolve(before.document);
      const existing = running.get(form);
      if (existing !== undefined) return unlessLate(existing, before);
      const started = refresh(exchange, form, sources, onFault).finally(() => running.delete(form));
      running.set(form, started);
      return unlessLate(started, before);
    },
  };

  function isResting({ address }: PeerTarget): boolean {
    const until = restingUntil.get(address);
    if (until === undefined || clock.now() < until) return until !== undefined;
    restingUntil.delete(address);
    return false;
  }

  /** A refused document stays refused for a while, so that a server cannot make the thread read it over and over. */
  function refuse(target: PeerTarget, why: string, onFault: OnFault): void {
    if (restingUntil.size >= maxResting) restingUntil.clear();
    restingUntil.set(target.address, clock.now() + restMs);
    onFault(target, { kind: 'answer', sent: true, error: new Error(`cannot merge /openapi/v2: ${why}`) });
  }

  async function unlessLate(
    started: Promise<StoredDocument | undefined>,
    before: Kept | undefined,
  ): Promise<StoredDocument | undefined> {
    if (before === undefined) return started;
    const done = new AbortController();
    const late = clock.sleep(lateMs, done.signal).then(() => before.document);
    return Promise.race([started, late]).finally(() => done.abort());
  }

  async function refresh(
    exchange: Exchange,
    form: SwaggerForm,
    all: readonly FleetPeer[],
    onFault: OnFault,
  ): Promise<StoredDocument | undefined> {
    const before = kept.get(form);
    const sources = all.filter(({ target }) => !isResting(target));
    if (
      before !== undefined &&
      hasAll(before, sources) &&
      (await areUnchanged(exchange, form, sources, before, onFault))
    ) {
      kept.set(form, { ...before, at: clock.now() });
      return before.document;
    }
    // Others wait for this merge because it holds documents of its own, however many forms are requested.
    const merge = lastMerge.then(() => mergeSources(exchange, form, all, before, onFault));
    lastMerge = merge.catch(() => {});
    const made = await merge;
    if (made === undefined) return before?.document;
    kept.set(form, { ...made, at: clock.now() });
    return made.document;
  }

  /** Asks all sources at once, and reads no body other than a 304's. */
  async function areUnchanged(
    exchange: Exchange,
    form: SwaggerForm,
    sources: readonly FleetPeer[],
    { etags }: Kept,
    onFault: OnFault,
  ): Promise<boolean> {
    const unchanged = await Promise.all(
      sources.map(async ({ target }) => {
        const known = etags.get(target.address);
        const answer = await ask(exchange, form, target, known === undefined ? [] : [known], 0, () => {});
        if (answer.kind === 'fault') noteFault(target, answer.fault, onFault);
        return answer.kind === 'fault' || answer.status === 304;
      }),
    );
    return unchanged.every(Boolean);
  }

  /** Reads one document at a time, so that at most one is held here. Undefined if there is none. */
  async function mergeSources(
    exchange: Exchange,
    form: SwaggerForm,
    all: readonly FleetPeer[],
    before: Kept | undefined,
    onFault: OnFault,
  ): Promise<Omit<Kept, 'at'> | undefined> {
    const sources = all.filter(({ target }) => !isResting(target));
    const etags = new Map<string, string>();
    const unreadable = new Map<string, string>();
    let documents = 0;
    let left = maxAllBytes;
    const reader = openDocumentReader({ clock });
    try {
      for (const { target } of sources) {
        const fetched = await fetchDocument(exchange, form, target, [...new Set(etags.values())], onFault);
        if (fetched === undefined) continue;
        if (fetched.kind === 'known') {
          etags.set(target.address, fetched.etag);
          continue;
        }
        if (fetched.bytes > left) {
          refuse(target, `together with the other documents it is longer than ${maxAllBytes} bytes`, onFault);
          continue;
        }
        left -= fetched.bytes;
        documents++;
        const added = await reader
          .ask('added', { kind: 'add', form, pieces: fetched.pieces })
          .catch((error: Error) => error);
        if (added instanceof Error) {
          refuse(target, added.message, onFault);
          return mergeSources(exchange, form, all, before, onFault);
        }
        const etag = fetched.etag ?? added.hash;
        etags.set(target.address, etag);
        if (added.unreadable !== undefined) unreadable.set(etag, added.unreadable);
      }
      for (const { target } of sources) {
        const why = unreadable.get(etags.get(target.address) ?? '');
        // A single document is passed on unchanged.
        if (why === undefined || documents < 2) continue;
        etags.delete(target.address);
        refuse(target, why, onFault);
      }
      if (etags.size === 0) return undefined;
      await addWhatWas(reader, form, all, before, etags);
      const { body, hash } = await reader.ask('merged', { kind: 'finish' });
      const distinct = [...new Set(etags.values())];
      return { etags, document: storeMerged(form, Buffer.from(body.buffer), etagOf(distinct, hash)) };
    } finally {
      reader.close();
    }
  }

  /** Keeps, from the last document, the parts of sources that cannot give them now. */
  async function addWhatWas(
    reader: DocumentReader,
    form: SwaggerForm,
    all: readonly FleetPeer[],
    before: Kept | undefined,
    etags: Map<string, string>,
  ): Promise<void> {
    const lost = all.flatMap(({ target: { address } }) => {
      const etag = etags.has(address) ? undefined : before?.etags.get(address);
      return etag === undefined ? [] : [[address, etag] as const];
    });
    if (before === undefined || lost.length === 0) return;
    const pieces = [Uint8Array.from(before.document.body)];
    await reader.ask('added', { kind: 'add', form, pieces });
    for (const [address, etag] of lost) etags.set(address, etag);
  }

  async function fetchDocument(
    exchange: Exchange,
    form: SwaggerForm,
    target: PeerTarget,
    known: readonly string[],
    onFault: OnFault,
  ): Promise<Fetched | undefined> {
    const pieces = createPieces();
    const answer = await ask(exchange, form, target, known, maxBytes, pieces.add);
    if (answer.kind === 'fault') {
      noteFault(target, answer.fault, onFault);
      return undefined;
    }
    const etag = headerValue(answer.headers, 'etag');
    if (answer.status === 304) return { kind: 'known', etag: etag ?? known[0] ?? '' };
    if (answer.status !== 200) return undefined;
    if (!answer.cut) return { kind: 'document', etag, pieces: pieces.all(), bytes: pieces.bytes() };
    refuse(target, `it is longer than ${maxBytes} bytes`, onFault);
    return undefined;
  }

  function ask(
    exchange: Exchange,
    form: SwaggerForm,
    target: PeerTarget,
    known: readonly string[],
    atMost: number,
    onPiece: (piece: Buffer) => void,
  ) {
    const accept = form === 'json' ? 'application/json' : `${deprecatedProtobufType}, ${protobufType}`;
    const condition = known.length === 0 ? [] : ['If-None-Match', known.map(quote).join(', ')];
    const headers = ['Accept', accept, ...condition];
    const request = { method: 'GET', path: '/openapi/v2', headers, maxBytes: atMost };
    return fetchPieces({ transport, clock }, target, exchange, request, onPiece);
  }

  /** A server that never finishes its answer is left alone. Its health decides about other failures. */
  function noteFault(target: PeerTarget, fault: Fault, onFault: OnFault): void {
    if (fault.kind === 'answer') refuse(target, fault.error.message, onFault);
    else onFault(target, fault);
  }
}

function hasAll({ etags }: Kept, sources: readonly FleetPeer[]): boolean {
  return sources.every(({ target }) => etags.has(target.address));
}

function quote(etag: string): string {
  return etag.endsWith('"') ? etag : `"${etag}"`;
}

/** The sources' common ETag if they have one, else a hash of all, so that every replica has the same. */
function etagOf(distinct: readonly string[], hash: string): string {
  if (distinct.length > 1) return strongEtag(distinct.join());
  return (distinct[0] ?? hash).replaceAll('"', '');
}

function storeMerged(form: SwaggerForm, body: Buffer, etag: string): StoredDocument {
  return storeDocument({
    body,
    contentType: form === 'json' ? 'application/json' : protobufType,
    etag,
    cacheControl: 'no-cache, private',
    vary: true,
    // Unlike the others, its handler compresses whatever is longer than this. Source: gziphandler.
    gzipFrom: 1_400,
  });
}

/** Copies incoming data into a few pieces of memory that a thread can take over without another copy. */
function createPieces() {
  const pieceBytes = 256 * 1024;
  const full: Uint8Array<ArrayBuffer>[] = [];
  let last = new Uint8Array(0);
  let used = 0;
  return {
    add: (chunk: Uint8Array) => {
      for (let from = 0; from < chunk.length; ) {
        if (used === last.length) {
          if (used > 0) full.push(last);
          last = new Uint8Array(pieceBytes);
          used = 0;
        }
        const part = chunk.subarray(from, from + last.length - used);
        last.set(part, used);
        used += part.length;
        from += part.length;
      }
    },
    bytes: () => full.length * pieceBytes + used,
    all: () => [...full, last.subarray(0, used)],
  };
}
