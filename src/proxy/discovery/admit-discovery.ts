import { hash } from 'node:crypto';
import { buildStatus } from '../../domain/status-error.ts';
import type { Fault } from '../../http/client/dispatch.ts';
import { headerValue, type RawHeaders } from '../../http/fields.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { PeerTarget, PeerTransport } from '../ports.ts';
import type { Exchange } from '../request/exchange.ts';
import { auditIdOf, fieldsForClient } from '../request/own-fields.ts';
import { writeStatus } from '../request/write-status.ts';
import { fetchWhole, identityHeaders } from '../servers/fetch-whole.ts';
import type { FleetPeer } from '../servers/fleet.ts';
import { pathOf } from './discovery-path.ts';

/** The servers to ask, in this order, and where to report a failed one. */
export interface Homes {
  /** Called only if a server must be asked. */
  readonly homes: () => readonly FleetPeer[];
  readonly onFault: (target: PeerTarget, fault: Fault) => void;
  /** False for a server that has not been seen ready since it failed: its refusal says nothing. */
  readonly knowsItsUsers: (target: PeerTarget) => boolean;
}

/** An admitted client, with the header fields of home's answer that are about the client. */
interface Admitted {
  readonly fields: RawHeaders;
}

/** How to refuse. */
export type Refusal = (exchange: Exchange) => void;

/** The path that the client asks for, and whether it wants the aggregated form. */
interface AdmissionQuestion {
  readonly path: string;
  readonly aggregated: boolean;
}

/** Decides which clients may see discovery. */
export interface DiscoveryAdmission {
  /**
   * Resolves to undefined if the client may see the path; at once if that is remembered.
   */
  admit(exchange: Exchange, question: AdmissionQuestion, homes: Homes): undefined | Promise<Refusal | undefined>;
}

const nopeer = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList;profile=nopeer';
const maxRemembered = 20_000;

/**
 * Admits a client if the home server does: the proxy asks home for the same path with the same method and the client's
 * own credentials. Any answer given after authorisation counts as a yes, even a 404 for a group that home does not
 * know.
 *
 * A yes is remembered for ten seconds, by the hash of method, path and everything that identifies the client; a no is
 * never remembered. Requests by the same client that wait for the same answer share it.
 */
export function createDiscoveryAdmission({
  transport,
  clock,
  admittedForMs = 10_000,
}: {
  readonly transport: PeerTransport;
  readonly clock: Clock;
  readonly admittedForMs?: number;
}): DiscoveryAdmission {
  const admitted = new Map<string, Admitted & { readonly until: number }>();
  const asking = new Map<string, Promise<Admitted | Refusal>>();
  const etags = new Map<string, string>();
  const remember = (key: string, { fields }: Admitted) => {
    // The oldest is first, so a bounded map is a queue.
    for (const oldest of admitted.keys()) {
      if (admitted.size < maxRemembered) break;
      admitted.delete(oldest);
    }
    admitted.delete(key);
    admitted.set(key, { fields, until: clock.now() + admittedForMs });
  };
  return {
    admit: (exchange, { path, aggregated }, homes) => {
      const key = keyOf(exchange, path);
      const known = admitted.get(key);
      if (known !== undefined && known.until > clock.now()) {
        exchange.addedByHome = known.fields;
        return undefined;
      }
      const running = asking.get(key) ?? ask(key, exchange, path, aggregated, homes);
      return running.then((outcome) => {
        if (typeof outcome === 'function') return outcome;
        exchange.addedByHome = outcome.fields;
        return undefined;
      });
    },
  };

  function ask(...[key, ...question]: [string, ...Parameters<typeof askHomes>]): Promise<Admitted | Refusal> {
    const answer = askHomes(...question)
      .then((outcome) => {
        if (typeof outcome !== 'function') remember(key, outcome);
        return outcome;
      })
      .finally(() => asking.delete(key));
    asking.set(key, answer);
    return answer;
  }

  async function askHomes(
    exchange: Exchange,
    path: string,
    aggregated: boolean,
    { homes, onFault, knowsItsUsers }: Homes,
  ): Promise<Admitted | Refusal> {
    const origin = headerValue(exchange.rawHeaders, 'origin');
    let refusal: Refusal = unavailable('no server can be home now');
    for (const { target } of homes()) {
      const etagKey = `${target.address} ${pathOf(path)}`;
      const condition = path.startsWith('/openapi/') ? '*' : aggregated ? etags.get(etagKey) : undefined;
      const answer = await fetchWhole({ transport, clock }, target, exchange, {
        method: exchange.method,
        path,
        headers: [
          'Accept',
          aggregated ? nopeer : 'application/json',
          ...(condition === undefined ? [] : ['If-None-Match', condition]),
          ...(origin === undefined ? [] : ['Origin', origin]),
          'Audit-Id',
          auditIdOf(exchange),
        ],
        maxBytes: 64 * 1024,
      });
      if (answer.kind === 'fault') {
        if (answer.fault.kind === 'request')
          return (asker) => writeStatus(asker, buildStatus(400, answer.fault.error.message));
        onFault(target, answer.fault);
        refusal = unavailable(answer.fault.error.message);
        continue;
      }
      const { status, headers, body } = answer;
      const etag = headerValue(headers, 'etag');
      if (aggregated && status === 200 && etag !== undefined) {
        if (etags.size >= 1_000) etags.clear();
        etags.set(etagKey, etag);
      }
      if (status !== 400 && status !== 401 && status !== 403 && status !== 429 && status < 500)
        return { fields: fieldsForClient(headers) };
      if ((status === 401 || status === 403) && !knowsItsUsers(target)) {
        refusal = unavailable(`${target.id} has not been ready since it failed`);
        continue;
      }
      refusal = (asker) => {
        asker.respond(status, asker === exchange ? headers : withAuditId(headers, auditIdOf(asker)));
        asker.end(asker.method === 'HEAD' ? undefined : body);
      };
      // These judge the request or its client. A server in trouble says nothing about either.
      if (status === 400 || status === 401 || status === 403) return refusal;
    }
    return refusal;
  }
}

/** Gives each client that waited for the same answer its own audit id. */
function withAuditId(rawHeaders: RawHeaders, id: string): RawHeaders {
  return rawHeaders.map((text, at) => (at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === 'audit-id' ? id : text));
}

function unavailable(why: string): Refusal {
  return (exchange) =>
    writeStatus(exchange, buildStatus(503, `cannot ask a home kube-apiserver whether this is allowed: ${why}`, 1));
}

/**
 * A hash, so that no credential stays in memory. Each text is hashed with its length, so that no two clients look
 * alike.
 */
function keyOf({ method, rawHeaders, identity }: Exchange, path: string): string {
  let asker = `${method} ${identity.connectAs} ${path.length}:${path}`;
  const origin = headerValue(rawHeaders, 'origin') ?? '';
  asker += `${origin.length}:${origin}`;
  for (const text of identityHeaders(rawHeaders)) asker += `${text.length}:${text}`;
  asker += '\n';
  for (const text of identity.stamp) asker += `${text.length}:${text}`;
  return hash('sha256', asker, 'base64');
}
