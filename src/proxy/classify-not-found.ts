import { parse } from 'yaml';

/** No "unknown resource" answer of a server is longer than this. */
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
  const type = contentType.split(';', 1)[0]?.trim().toLowerCase() ?? '';
  try {
    if (type === 'application/json') return isUnknownResource(JSON.parse(body.toString('utf8')));
    if (type === 'application/yaml') return isUnknownResource(parse(body.toString('utf8'), { maxAliasCount: 0 }));
    if (type === 'application/vnd.kubernetes.protobuf') return isUnknownInProtobuf(body);
  } catch {
    return false;
  }
  // A Status in CBOR is not read here.
  return type === 'application/cbor' || body.toString('latin1').trim() === unknownPage;
}

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

/** `runtime.Unknown` around `metav1.Status`; its details have six empty fields where there is nothing in them. */
function isUnknownInProtobuf(body: Buffer): boolean {
  if (body.toString('latin1', 0, 4) !== 'k8s\0') return false;
  const unknown = readFields(body.subarray(4));
  const kind = readFields(unknown.get(1) ?? Buffer.alloc(0)).get(2);
  const raw = unknown.get(2);
  if (raw === undefined || kind?.toString('utf8') !== 'Status') return false;
  const status = readFields(raw);
  const details = readFields(status.get(5) ?? Buffer.alloc(0));
  return (
    status.get(3)?.toString('utf8') === unknownResource &&
    status.get(4)?.toString('utf8') === 'NotFound' &&
    [...details.values()].every((value) => value.length === 0)
  );
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
