import { randomUUID } from 'node:crypto';
import { headerValue, type RawHeaders } from '../../http/fields.ts';
import type { Exchange } from './exchange.ts';

/**
 * The fields of a kube-apiserver's answer besides its content, for answers that this proxy writes itself: the date, the
 * audit id, and the fields that the client's home server adds.
 */
export function ownFields(exchange: Exchange): RawHeaders {
  const { connection, addedByHome = connection.homeFields?.known(exchange) ?? [] } = exchange;
  const date = connection.date === undefined ? [] : ['Date', new Date(connection.date()).toUTCString()];
  return ['Audit-Id', auditIdOf(exchange), ...addedByHome, ...date];
}

/** The client's own id unchanged, or a new one. Source: `WithAuditInit` of k8s.io/apiserver. */
export function auditIdOf(exchange: Exchange): string {
  const given = headerValue(exchange.rawHeaders, 'audit-id');
  if (given !== undefined && given !== '') return given;
  exchange.auditId ??= randomUUID();
  return exchange.auditId;
}

/**
 * The fields of a home server's answer that are about the client rather than the document: all fields that do not
 * belong to one document, message or connection.
 */
export function fieldsForClient(rawHeaders: RawHeaders): string[] {
  const fields: string[] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? '';
    if (!isOfDocument(name.toLowerCase())) fields.push(name, rawHeaders[at + 1] ?? '');
  }
  return fields;
}

const ofDocument: ReadonlySet<string> = new Set([
  'accept-ranges',
  'age',
  'allow',
  'alt-svc',
  'audit-id',
  'cache-control',
  'connection',
  'date',
  'etag',
  'expires',
  'keep-alive',
  'last-modified',
  'location',
  'pragma',
  'retry-after',
  'set-cookie',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'vary',
  'via',
  'www-authenticate',
  'x-content-type-options',
]);

function isOfDocument(name: string): boolean {
  return name.startsWith('content-') || ofDocument.has(name);
}
