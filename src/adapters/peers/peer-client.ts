import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { parseAddress } from '../../domain/address.ts';
import type { PeerDocuments, ProbeResult } from '../../domain/assess-peer.ts';
import type { SchemaIndex } from '../../domain/compare-schemas.ts';
import { findJsonExcess } from '../../domain/count-json.ts';
import type { GroupDiscovery } from '../../domain/discovery-document.ts';
import type { LegacyResources } from '../../domain/legacy-to-groups.ts';
import { parseDiscoveryList } from '../../domain/parse-discovery.ts';
import { outlineDocument, type SchemaOutline } from '../../domain/schema-outline.ts';
import type { ServedVersion } from '../../domain/served-version.ts';
import type { FetchResult, PeerClient } from '../../operator/ports.ts';
import { hashText } from '../../runtime/hash-text.ts';
import type { Log } from '../../runtime/log.ts';
import { messageOf } from '../../runtime/message-of.ts';
import { createDocumentPool, type DocumentPool } from './document-pool.ts';
import { walkLegacyDiscovery } from './legacy-discovery.ts';
import { openPeerSession, type PeerAnswer, type PeerCredentials, type PeerSession } from './peer-session.ts';
import { readSchemaIndex } from './read-schema-index.ts';
import { readVersion } from './read-version.ts';
import { PeerError } from './verified-connection.ts';

export interface PeerClientOptions {
  /** PEM bundle of the CA for server certificates, read for each connection. Without it, every peer is refused. */
  readonly ca: () => string | undefined;
  /** DNS name that server certificates must contain. */
  readonly serverName: string;
  /** Called before every operation, so that rotated credentials take effect. */
  readonly credentials: () => Promise<PeerCredentials>;
  /** From connecting to the last byte of an operation. */
  readonly timeoutMs: number;
  /** Maximum bytes of one whole operation. */
  readonly maxBodyBytes?: number;
  readonly userAgent: string;
  readonly log: Log;
  /**
   * Called when a peer closes a persistent connection without a running request. This is a hint to probe it at once,
   * because a killed process shows this way within milliseconds. Called at most once a second per peer; the last call
   * is never lost.
   */
  readonly onConnectionLost?: (address: string) => void;
  /**
   * Called for every connection with the expiry of the address's verified certificate, in milliseconds since the epoch.
   */
  readonly onCertificate?: (address: string, notAfter: number) => void;
}

type DiscoveryForm = PeerDocuments['form'];

const aggregated = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';
const aggregatedBeta = 'application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList';
/** The server takes the first form that it knows, in this order, and ignores unknown profiles (KEP-4020, KEP-3352). */
const ownDiscovery = `${aggregated};profile=nopeer,${aggregated},${aggregatedBeta},application/json`;
const peerAggregatedDiscovery = aggregated;
const lostIntervalMs = 1_000;

/**
 * Sends a credential only to servers whose certificate it has verified, and lets no peer delay or harm another.
 *
 * Every operation ends within `timeoutMs`, reads at most `maxBodyBytes`, and returns a value whatever the peer does. It
 * throws only the reason of the caller's signal. Each peer has its own connections. `openVerifiedConnection` describes
 * the order of verification and credential. `createAddressPolicy` judges addresses, not this client.
 */
export function createPeerClient(options: PeerClientOptions): PeerClient {
  const { timeoutMs, maxBodyBytes = 64 * 1024 * 1024, log } = options;
  const sessions = new Map<string, PeerSession>();
  const lostReports = new Map<string, NodeJS.Timeout>();
  const lostAgain = new Set<string>();
  const pool = createDocumentPool();
  let closed = false;

  function reportLost(address: string): void {
    const report = options.onConnectionLost;
    if (report === undefined || closed) return;
    log.debug('peer closed an idle connection', { address });
    const pending = lostReports.get(address);
    if (pending !== undefined) {
      lostAgain.add(address);
      return;
    }
    const timer = setTimeout(() => {
      lostReports.delete(address);
      if (lostAgain.delete(address)) reportLost(address);
    }, lostIntervalMs);
    timer.unref();
    lostReports.set(address, timer);
    report(address);
  }

  function sessionFor(address: string, { certPem, keyPem }: PeerCredentials): PeerSession {
    if (closed) throw new PeerError('Unreachable', 'the client is closed');
    const caPem = options.ca();
    // With an empty CA, Node would trust the system's CAs.
    if (caPem === undefined || caPem.trim() === '') throw new PeerError('Refused', 'no CA to verify certificates with');
    const known = sessions.get(address);
    if (known !== undefined) {
      const { identity } = known;
      if (identity.caPem === caPem && identity.certPem === certPem && identity.keyPem === keyPem) return known;
      known.close();
      sessions.delete(address);
    }
    const target = parseAddress(address);
    if (target === undefined) throw new PeerError('Unreachable', 'not an address of the form host:port');
    const session = openPeerSession({
      target,
      serverName: options.serverName,
      identity: { caPem, certPem, keyPem },
      timeoutMs,
      onConnectionLost: () => reportLost(address),
      onCertificate: (notAfter) => options.onCertificate?.(address, notAfter),
    });
    sessions.set(address, session);
    return session;
  }

  /** Runs an operation with its own deadline and byte budget, and stops whatever is still running at its end. */
  async function operate<Result>(
    address: string,
    signal: AbortSignal,
    run: (get: Get) => Promise<Result>,
    onFault: (fault: PeerError) => Result,
  ): Promise<Result> {
    signal.throwIfAborted();
    const controller = new AbortController();
    const cancel = () => controller.abort(signal.reason);
    signal.addEventListener('abort', cancel, { once: true });
    const timeout = new PeerError('Timeout', `no complete answer within ${timeoutMs} ms`);
    const timer = setTimeout(() => controller.abort(timeout), timeoutMs);
    let ended = false;
    try {
      const credentials = await untilAborted(readCredentials(), controller.signal);
      const session = sessionFor(address, credentials);
      const budget = { bytes: maxBodyBytes };
      const authorization = credentials.token === undefined ? {} : { authorization: `Bearer ${credentials.token}` };
      const common = { 'user-agent': options.userAgent, 'accept-encoding': 'identity', ...authorization };
      const running = run((path, read, headers = {}) =>
        session.get({ path, read, budget, signal: controller.signal, headers: { ...common, ...headers } }),
      );
      // The deadline holds even if the HTTP library ignores the signal.
      const result = await untilAborted(running, controller.signal);
      ended = true;
      return result;
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (error instanceof PeerError) return onFault(error);
      return onFault(new PeerError('Malformed', messageOf(error)));
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', cancel);
      if (!ended) controller.abort(timeout);
    }
  }

  async function readCredentials(): Promise<PeerCredentials> {
    try {
      return await options.credentials();
    } catch (error) {
      throw new PeerError('Unauthorized', `cannot read the operator's own credential: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  return {
    probe: (address, signal) =>
      operate<ProbeResult>(
        address,
        signal,
        async (get) => {
          const answer = await get('/readyz', [500]);
          const names = sessions.get(address)?.certificateNames() ?? [];
          if (answer.status === 200) return { kind: 'ready', names };
          if (answer.status === 401 || answer.status === 403)
            return { kind: 'unauthorized', detail: `HTTP ${answer.status} from /readyz`, names };
          return {
            kind: 'notReady',
            detail: failingChecks(answer.body) ?? `HTTP ${answer.status} from /readyz`,
            names,
          };
        },
        ({ reason, message }) => {
          const detail = cleanText(message, 300);
          if (reason === 'Refused') return { kind: 'refused', detail };
          if (reason === 'Unauthorized') return { kind: 'unauthorized', detail };
          return { kind: 'unreachable', detail };
        },
      ),

    fetchDiscovery: (address, previous, signal) =>
      operate<FetchResult>(
        address,
        signal,
        async (get) => {
          const [api, apis] = await Promise.all([
            fetchRoot(get, 'api', previous, pool),
            fetchRoot(get, 'apis', previous, pool),
          ]);
          return decideFetch(api, apis, previous, pool);
        },
        ({ reason, message }) => ({ kind: 'failed', reason, message: cleanText(message, 300) }),
      ),

    detectPeerAggregation: (address, documents, signal) =>
      operate<boolean | undefined>(
        address,
        signal,
        async (get) => {
          const etag = documents.etags.apis;
          if (documents.form !== 'v2') return false;
          if (etag === undefined) return undefined;
          const headers = { accept: peerAggregatedDiscovery, 'if-none-match': etag };
          const merged = await get('/apis', [200], headers);
          if (merged.status === 304) return false;
          if (merged.status !== 200) return undefined;
          const groups = parseRoot(merged.body, 'apis');
          if (groups.form !== 'v2') return undefined;
          // A leader's memory of a peer is not part of the pool.
          if (isDeepStrictEqual(pool.share(parseDiscoveryList(groups.value)), documents.apis)) return false;
          // The difference may be news from the server itself; then its own document is no longer known.
          const own = await get('/apis', [], { ...headers, accept: `${aggregated};profile=nopeer` });
          return own.status === 304 ? true : undefined;
        },
        () => undefined,
      ),

    fetchVersion: (address, signal) =>
      operate<ServedVersion | undefined>(
        address,
        signal,
        async (get) => {
          const answer = await get('/version', [200], { accept: 'application/json' });
          if (answer.status !== 200) return undefined;
          return readVersion(parseJson(answer.body, '/version'));
        },
        () => undefined,
      ),

    fetchSchemas: (address, previous, signal) =>
      operate<SchemaIndex | undefined>(
        address,
        signal,
        async (get) => {
          const condition = previous?.etag === undefined ? {} : { 'if-none-match': previous.etag };
          const answer = await get('/openapi/v3', [200], { accept: 'application/json', ...condition });
          if (answer.status === 304) return previous;
          if (answer.status !== 200) return undefined;
          return readSchemaIndex(parseJson(answer.body, '/openapi/v3'), answer.etag);
        },
        () => undefined,
      ),

    fetchOutline: (address, groupVersion, hash, nodes, signal) =>
      operate<SchemaOutline | undefined>(
        address,
        signal,
        async (get) => {
          const path = groupVersion.startsWith('/')
            ? `/openapi/v3/api${groupVersion}`
            : `/openapi/v3/apis/${groupVersion}`;
          const answer = await get(path, [200], { accept: 'application/json' });
          // A document's ETag is its hash in the index.
          if (answer.status !== 200 || !isOfHash(answer.etag, hash)) return undefined;
          return outlineDocument(parseJson(answer.body, path), hashText, nodes);
        },
        () => undefined,
      ),

    keepOnly(addresses) {
      for (const [address, session] of sessions) {
        if (addresses.has(address)) continue;
        session.close();
        sessions.delete(address);
      }
      for (const [address, timer] of lostReports) {
        if (addresses.has(address)) continue;
        clearTimeout(timer);
        lostReports.delete(address);
        lostAgain.delete(address);
      }
    },

    close() {
      closed = true;
      for (const session of sessions.values()) session.destroy();
      sessions.clear();
      for (const timer of lostReports.values()) clearTimeout(timer);
      lostReports.clear();
    },
  };
}

function isOfHash(etag: string | undefined, hash: string): boolean {
  return (etag ?? '').replace(/^(?:W\/)?"/, '').startsWith(hash);
}

type Get = (path: string, read: readonly number[], headers?: Readonly<Record<string, string>>) => Promise<PeerAnswer>;
type RootName = 'api' | 'apis';
type Root =
  | { readonly kind: 'kept' }
  | {
      readonly kind: 'read';
      readonly form: DiscoveryForm;
      readonly groups: readonly GroupDiscovery[];
      readonly etag: string | undefined;
    };

async function fetchRoot(
  get: Get,
  name: RootName,
  previous: PeerDocuments | undefined,
  pool: DocumentPool,
): Promise<Root> {
  const path = `/${name}`;
  const etag = previous?.etags[name];
  const condition = etag === undefined ? {} : { 'if-none-match': etag };
  let answer = await get(path, [200], { accept: ownDiscovery, ...condition });
  if (answer.status === 406) answer = await get(path, [200], { accept: 'application/json' });
  if (answer.status === 304 && etag !== undefined) return { kind: 'kept' };
  const body = expectOk(answer, path);
  const textHash = `${name} ${createHash('sha256').update(body).digest('base64')}`;
  const known = pool.recall(textHash);
  if (known !== undefined) return { kind: 'read', ...known, etag: answer.etag };
  const { form, value } = parseRoot(body, name);
  if (form !== 'legacy') {
    const groups = pool.share(parseDiscoveryList(value));
    pool.remember(textHash, form, groups);
    return { kind: 'read', form, groups, etag: answer.etag };
  }
  const groups = await walkLegacyDiscovery(value, (listPath) => fetchLegacyList(get, listPath));
  // The ETag of the list of groups says nothing about their resources.
  return { kind: 'read', form, groups: pool.share(groups), etag: undefined };
}

async function fetchLegacyList(get: Get, path: string): Promise<LegacyResources> {
  const answer = await get(path, [200], { accept: 'application/json' });
  if (answer.status === 404 || answer.status === 503) return { kind: 'missing' };
  return { kind: 'list', list: parseJson(expectOk(answer, path), path) };
}

/** Joins both roots. If the content equals the previous one, returns the previous object. */
function decideFetch(api: Root, apis: Root, previous: PeerDocuments | undefined, pool: DocumentPool): FetchResult {
  if (previous !== undefined && api.kind === 'kept' && apis.kind === 'kept')
    return { kind: 'unchanged', documents: previous };
  const kept = (groups: readonly GroupDiscovery[] | undefined, etag: string | undefined) => ({
    form: previous?.form ?? 'legacy',
    groups: groups ?? [],
    etag,
  });
  const core = api.kind === 'read' ? api : kept(previous?.api, previous?.etags.api);
  const named = apis.kind === 'read' ? apis : kept(previous?.apis, previous?.etags.apis);
  const documents: PeerDocuments = {
    form: olderForm(core.form, named.form),
    api: core.groups,
    apis: named.groups,
    etags: {
      ...(core.etag === undefined ? {} : { api: core.etag }),
      ...(named.etag === undefined ? {} : { apis: named.etag }),
    },
    hash: createHash('sha256')
      .update(pool.hashOf(core.groups))
      .update(pool.hashOf(named.groups))
      .digest('hex')
      .slice(0, 16),
  };
  const same =
    previous !== undefined &&
    previous.hash === documents.hash &&
    previous.form === documents.form &&
    isDeepStrictEqual(previous.etags, documents.etags);
  return same ? { kind: 'unchanged', documents: previous } : { kind: 'fetched', documents };
}

const forms: readonly DiscoveryForm[] = ['v2', 'v2beta1', 'legacy'];

function olderForm(one: DiscoveryForm, other: DiscoveryForm): DiscoveryForm {
  return forms.indexOf(one) > forms.indexOf(other) ? one : other;
}

/** Detects the form by the document itself, because old servers answer with whatever they have. */
function parseRoot(body: Buffer, name: RootName): { readonly form: DiscoveryForm; readonly value: unknown } {
  const value = parseJson(body, `/${name}`);
  const fields = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  const { kind, apiVersion } = fields;
  // A missing list must not read as a server that serves nothing.
  if (kind === 'APIGroupDiscoveryList' && !Array.isArray(fields.items))
    throw new PeerError('Malformed', `/${name} has no list of groups`);
  if (kind === 'APIGroupDiscoveryList' && apiVersion === 'apidiscovery.k8s.io/v2') return { form: 'v2', value };
  if (kind === 'APIGroupDiscoveryList' && apiVersion === 'apidiscovery.k8s.io/v2beta1')
    // Field for field the same as v2.
    return { form: 'v2beta1', value: { ...fields, apiVersion: 'apidiscovery.k8s.io/v2' } };
  if (kind === (name === 'api' ? 'APIVersions' : 'APIGroupList')) return { form: 'legacy', value };
  throw new PeerError('Malformed', `/${name} is not a discovery document`);
}

function expectOk(answer: PeerAnswer, path: string): Buffer {
  if (answer.status === 200) return answer.body;
  const message = `HTTP ${answer.status} from ${path}`;
  throw new PeerError(answer.status === 401 || answer.status === 403 ? 'Unauthorized' : 'HTTPStatus', message);
}

function parseJson(body: Buffer, path: string): unknown {
  const excess = findJsonExcess(body);
  if (excess !== undefined) throw new PeerError('Malformed', `${path} is too large: ${excess}`);
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch (error) {
    throw new PeerError('Malformed', `${path} is not JSON: ${messageOf(error)}`, { cause: error });
  }
}

/** The failing lines of a kube-apiserver's health report, for people. */
function failingChecks(body: Buffer): string | undefined {
  const failing = body
    .toString('utf8')
    .split('\n')
    .filter((line) => line.startsWith('[-]'))
    .map((line) => line.slice(3).replace(/ failed: reason withheld$/, ' failed'));
  return failing.length > 0 ? cleanText(failing.join(', '), 300) : undefined;
}

/** A peer's text ends up in logs and status, so it is made printable and short. */
function cleanText(text: string, maxLength: number): string {
  const printable = text.replace(/[^\x20-\x7e]+/g, ' ');
  return printable.length > maxLength ? `${printable.slice(0, maxLength - 3)}...` : printable;
}

function untilAborted<Result>(promise: Promise<Result>, signal: AbortSignal): Promise<Result> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
