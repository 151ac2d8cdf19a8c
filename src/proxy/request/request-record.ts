import { headerValue } from '../../http/fields.ts';
import type { Log } from '../../runtime/log.ts';
import type { Route } from '../ports.ts';
import type { Exchange } from './exchange.ts';

/**
 * The outcome of one request. When its exchange closes, the access log and the metric of durations read it. The other
 * metrics count each event as it happens.
 */
export class RequestRecord {
  readonly startedAt = performance.now();
  route: Route = 'rejected';
  /** A watch or the like. Its duration says nothing about the time of answers. */
  isLong = false;
  /** The server that answered. */
  peer = '';
  /** 0 for an answer by discovery, or by admission to an overdue request. Then the exchange knows the status. */
  code = 0;
  /** The server's audit id, for a client that sent none. */
  auditId = '';
  /** Why it went to its server, or was refused. */
  reason = '';
  /** Servers that were tried before, each with its fault. */
  failed: string[] | undefined;

  noteFailed(id: string, what: string): void {
    this.failed ??= [];
    this.failed.push(`${id}: ${what}`);
  }
}

/** Writes a line of the access log. */
export function logRequest(record: RequestRecord, exchange: Exchange, log: Log): void {
  const { method, target, protocol, connection, rawHeaders, identity } = exchange;
  const { startedAt, route, peer, code, auditId, reason, failed } = record;
  // Query strings may contain tokens of WebSocket clients. The path says enough.
  const queryAt = target.indexOf('?');
  log.info('request', {
    method,
    path: queryAt < 0 ? target : target.slice(0, queryAt),
    protocol,
    client: connection.remoteAddress,
    who: identity.who || 'unauthenticated',
    userAgent: headerValue(rawHeaders, 'user-agent') ?? '',
    auditId: headerValue(rawHeaders, 'audit-id') ?? (auditId || exchange.auditId || ''),
    route,
    peer,
    code,
    ...(reason !== '' && { reason }),
    ...(failed !== undefined && { failed: failed.join(', ') }),
    durationMs: Math.round((performance.now() - startedAt) * 10) / 10,
  });
}
