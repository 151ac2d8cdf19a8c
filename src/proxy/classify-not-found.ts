import { parse } from 'yaml';

/** What a 404 says: that an object is missing, that the server does not know the whole resource, or neither for sure. */
export type NotFoundKind = 'object' | 'resource' | 'unknown';

/** A body longer than this is not one by which a server says that it does not know a resource. */
export const classifiableBytes = 8 * 1024;

/**
 * Tells a missing object from a resource that the server does not know.
 *
 * kube-apiserver names the object in `details.name` in the first case only; an unknown group is `404 page not found` in
 * plain text. Seen on 1.33 and 1.36.
 */
export function classifyNotFound(contentType: string, contentEncoding: string | undefined, body: Buffer): NotFoundKind {
  if (contentEncoding !== undefined && contentEncoding !== 'identity') return 'unknown';
  const type = contentType.split(';', 1)[0]?.trim().toLowerCase() ?? '';
  try {
    if (type === 'text/plain') return body.toString('latin1').trim() === '404 page not found' ? 'resource' : 'unknown';
    if (type === 'application/json') return ofStatus(JSON.parse(body.toString('utf8')));
    if (type === 'application/yaml') return ofStatus(parse(body.toString('utf8'), { maxAliasCount: 0 }));
    if (type === 'application/vnd.kubernetes.protobuf') return ofProtobuf(body);
  } catch {
    // Not what its content type says.
  }
  return 'unknown';
}

function ofStatus(value: unknown): NotFoundKind {
  if (!isRecord(value) || value.kind !== 'Status') return 'unknown';
  const { details } = value;
  return isRecord(details) && typeof details.name === 'string' && details.name !== '' ? 'object' : 'resource';
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function ofProtobuf(body: Buffer): NotFoundKind {
  if (body.toString('latin1', 0, 4) !== 'k8s\0') return 'unknown';
  const unknown = readFields(body.subarray(4));
  const kind = unknown.get(1) === undefined ? undefined : readFields(unknown.get(1) ?? Buffer.alloc(0)).get(2);
  const raw = unknown.get(2);
  if (raw === undefined || kind?.toString('utf8') !== 'Status') return 'unknown';
  const details = readFields(raw).get(5);
  if (details === undefined) return 'resource';
  return (readFields(details).get(1)?.length ?? 0) > 0 ? 'object' : 'resource';
}

/** The length-delimited fields of one protobuf message; throws on a malformed one. */
function readFields(bytes: Buffer): Map<number, Buffer> {
  const fields = new Map<number, Buffer>();
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 0; shift < 49; shift += 7) {
      const byte = bytes.readUInt8(at++);
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
    throw new RangeError('varint too long');
  };
  while (at < bytes.length) {
    const tag = varint();
    const wire = tag % 8;
    if (wire === 0) varint();
    else if (wire === 1) at += 8;
    else if (wire === 5) at += 4;
    else if (wire === 2) {
      const length = varint();
      if (at + length > bytes.length) throw new RangeError('field too long');
      fields.set(Math.floor(tag / 8), bytes.subarray(at, at + length));
      at += length;
    } else throw new RangeError('unknown wire type');
  }
  return fields;
}
