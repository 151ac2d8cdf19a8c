import { stringify } from 'yaml';
import { type Encoding, encodingOf, mediaTypeOf, mediaTypes } from '../../domain/negotiate-media-type.ts';
import { wrapUnknown } from '../../domain/protobuf-unknown.ts';
import { bytesField, message as joinFields, numberField } from '../../domain/protobuf-writer.ts';
import type { StatusError } from '../../domain/status-error.ts';
import type { RawHeaders } from '../../http/fields.ts';
import { headerList } from '../../http/fields.ts';
import type { Exchange } from './exchange.ts';
import { ownFields } from './own-fields.ts';

/** Answers with a Status in the client's encoding, else JSON. */
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

/** The first accepted type in which a Status can be written. */
export function encodeStatus(status: StatusError, accept: string): { contentType: string; body: Buffer } {
  const encoding = chooseEncoding(accept);
  return { contentType: mediaTypes[encoding], body: encoders[encoding](status) };
}

const encoders: Readonly<Record<Encoding, (status: StatusError) => Buffer>> = {
  json: (status) => Buffer.from(`${JSON.stringify(status)}\n`),
  yaml: (status) => Buffer.from(stringify(status)),
  protobuf: (status) => Buffer.from(encodeProtobuf(status)),
};

function chooseEncoding(accept: string): Encoding {
  for (const clause of accept.split(',')) {
    const type = mediaTypeOf(clause);
    const encoding = type === '*/*' ? 'json' : encodingOf(type);
    if (encoding !== undefined) return encoding;
  }
  return 'json';
}

/** Source: `Status` in `pkg/apis/meta/v1/generated.proto` of k8s.io/apimachinery. */
function encodeProtobuf({ apiVersion, kind, status, message, reason, details, code }: StatusError): Uint8Array {
  const retryAfter = details?.retryAfterSeconds;
  const raw = joinFields(
    bytesField(1, ''),
    bytesField(2, status),
    bytesField(3, message),
    bytesField(4, reason),
    ...(retryAfter === undefined ? [] : [bytesField(5, numberField(5, retryAfter))]),
    numberField(6, code),
  );
  return wrapUnknown(apiVersion, kind, raw);
}
