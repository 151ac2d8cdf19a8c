import { parse } from 'yaml';
import { type Encoding, encodingOf, mediaTypeOf } from '../../domain/negotiate-media-type.ts';
import { readFields } from '../../domain/protobuf-reader.ts';
import { unwrapUnknown } from '../../domain/protobuf-unknown.ts';

/** No server's "unknown resource" answer is longer than this. */
export const classifiableBytes = 8 * 1024;

const unknownResource = 'the server could not find the requested resource';
const unknownPage = '404 page not found';

/**
 * True if a 404 has exactly the text of kube-apiserver for an unknown resource, or cannot be read.
 *
 * The text proves nothing: a webhook, a kubelet or an aggregated server may send the same. Any other text comes from
 * something that handled the resource. kube-apiserver sends it as a `Status` without details, in JSON, YAML or
 * protobuf, and for an unknown group as Go's plain text. Seen on 1.33 and 1.36.
 */
export function mayBeUnknownResource(contentType: string, contentEncoding: string | undefined, body: Buffer): boolean {
  if (contentEncoding !== undefined && contentEncoding !== 'identity') return true;
  const type = mediaTypeOf(contentType);
  const encoding = encodingOf(type);
  // This code does not read a Status in CBOR.
  if (encoding === undefined) return type === 'application/cbor' || body.toString('latin1').trim() === unknownPage;
  try {
    return readers[encoding](body);
  } catch {
    return false;
  }
}

/** How a Status for an unknown resource is recognized in each encoding. Each may throw on anything else. */
const readers: Readonly<Record<Encoding, (body: Buffer) => boolean>> = {
  json: (body) => isUnknownResource(JSON.parse(body.toString('utf8'))),
  yaml: (body) => isUnknownResource(parse(body.toString('utf8'), { maxAliasCount: 0 })),
  protobuf: isUnknownInProtobuf,
};

function isUnknownResource(value: unknown): boolean {
  if (!isRecord(value) || value.kind !== 'Status') return false;
  const { message, reason, details } = value;
  return message === unknownResource && reason === 'NotFound' && isEmpty(details);
}

function isEmpty(details: unknown): boolean {
  return details === undefined || details === null || (isRecord(details) && Object.keys(details).length === 0);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** For empty details, kube-apiserver writes six empty fields. */
function isUnknownInProtobuf(body: Buffer): boolean {
  const wrapped = unwrapUnknown(body);
  if (wrapped?.kind !== 'Status') return false;
  const status = readFields(wrapped.raw);
  const bytesOf = (id: number) => status.findLast((field) => field.id === id)?.value ?? new Uint8Array();
  const textOf = (id: number) => Buffer.from(bytesOf(id)).toString('utf8');
  return (
    textOf(3) === unknownResource &&
    textOf(4) === 'NotFound' &&
    readFields(bytesOf(5)).every(({ value }) => value === undefined || value.length === 0)
  );
}
