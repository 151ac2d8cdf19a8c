import { stringify } from 'yaml';
import type { StatusError } from '../domain/status-error.ts';
import type { Exchange } from './exchange.ts';
import type { RawHeaders } from './headers.ts';
import { headerList } from './headers.ts';
import { ownFields } from './own-fields.ts';

/** Answers with a Status in the encoding that the client asked for (JSON, YAML or protobuf), else JSON. */
export function writeStatus(exchange: Exchange, status: StatusError, extra: RawHeaders = []): void {
  if (exchange.status() !== 0) {
    exchange.destroy();
    return;
  }
  const { contentType, body } = encodeStatus(status, headerList(exchange.rawHeaders, 'accept') ?? '');
  const headers = [
    'Content-Type',
    contentType,
    'Content-Length',
    String(body.length),
    'Cache-Control',
    'no-cache, private',
  ];
  const { retryAfterSeconds } = status.details ?? {};
  if (retryAfterSeconds !== undefined) headers.push('Retry-After', String(retryAfterSeconds));
  exchange.respond(status.code, [...headers, ...extra, ...ownFields(exchange)]);
  if (exchange.method === 'HEAD') exchange.end();
  else exchange.end(body);
}

/** The first of the accepted types that a Status can be written in. */
export function encodeStatus(status: StatusError, accept: string): { contentType: string; body: Buffer } {
  for (const clause of accept.split(',')) {
    const type = clause.split(';', 1)[0]?.trim().toLowerCase();
    if (type === 'application/vnd.kubernetes.protobuf')
      return { contentType: 'application/vnd.kubernetes.protobuf', body: encodeProtobuf(status) };
    if (type === 'application/yaml') return { contentType: 'application/yaml', body: Buffer.from(stringify(status)) };
    if (type === 'application/json' || type === '*/*') break;
  }
  return { contentType: 'application/json', body: Buffer.from(`${JSON.stringify(status)}\n`) };
}

/**
 * `k8s\0`, then `runtime.Unknown` around `metav1.Status`.
 *
 * Source: `generated.proto` of k8s.io/apimachinery, in `pkg/runtime` and `pkg/apis/meta/v1`.
 */
function encodeProtobuf(status: StatusError): Buffer {
  const retryAfter = status.details?.retryAfterSeconds;
  const raw = Buffer.concat([
    field(1, Buffer.alloc(0)),
    field(2, Buffer.from(status.status)),
    field(3, Buffer.from(status.message)),
    field(4, Buffer.from(status.reason)),
    ...(retryAfter === undefined ? [] : [field(5, number(5, retryAfter))]),
    number(6, status.code),
  ]);
  const typeMeta = Buffer.concat([field(1, Buffer.from(status.apiVersion)), field(2, Buffer.from(status.kind))]);
  return Buffer.concat([Buffer.from('k8s\0', 'latin1'), field(1, typeMeta), field(2, raw)]);
}

function field(id: number, bytes: Buffer): Buffer {
  return Buffer.concat([varint((id << 3) | 2), varint(bytes.length), bytes]);
}

function number(id: number, value: number): Buffer {
  return Buffer.concat([varint(id << 3), varint(value)]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest & 127) | 128);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
  return Buffer.from(bytes);
}
