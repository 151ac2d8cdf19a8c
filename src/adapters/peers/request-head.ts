import { isFieldValue, isProtocolList, isToken } from '../../http/field-syntax.ts';
import { encodeAuthority, encodeFields, encodePseudoFields } from '../../http/http2/hpack-encoder.ts';
import type { PeerRequest, PeerTarget } from '../../proxy/ports.ts';

/** The bytes of a head as latin1, or why the request cannot be sent. */
export type RequestHead =
  | { readonly kind: 'ok'; readonly text: string }
  | { readonly kind: 'bad'; readonly message: string };

const badTarget = /[^\x21-\x7e\x80-\xff]/;

/**
 * Writes a request's head so that no two servers can read it differently, whatever the caller checked before.
 *
 * A token never goes with the front proxy's certificate: there, a stray `X-Remote-User` would outrank it.
 */
export function writeRequestHead(target: PeerTarget, request: PeerRequest): RequestHead {
  const { method, path, body, upgrade, connectAs, memo } = request;
  const objection = objectToLine(method, path);
  if (objection !== undefined) return objection;
  const line = `${method} ${path} HTTP/1.1\r\n`;
  const written = memo?.written;
  const plain = body === null && upgrade === undefined;
  if (plain && written?.address === target.address && written.connectAs === connectAs)
    return { kind: 'ok', text: line + written.text };
  const fields = writeFields(target, request);
  if (fields.kind === 'bad') return fields;
  if (plain && memo !== undefined) memo.written = { address: target.address, connectAs, text: fields.text };
  return { kind: 'ok', text: line + fields.text };
}

function objectToLine(method: string, path: string): { readonly kind: 'bad'; readonly message: string } | undefined {
  if (!isToken(method)) return bad('the method is not a token');
  if (path.charCodeAt(0) !== 0x2f || badTarget.test(path)) return bad('the request target has a forbidden byte');
  return undefined;
}

function writeFields(target: PeerTarget, request: PeerRequest): RequestHead {
  const { rawHeaders, body, upgrade, connectAs } = request;
  const lines: string[] = [];
  let hosts = 0;
  let length: string | undefined;
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? '';
    const value = rawHeaders[at + 1] ?? '';
    if (!isToken(name)) return bad('a header name is not a token');
    if (!isFieldValue(value)) return bad(`the value of header ${name} has a forbidden byte`);
    switch (name.length) {
      case 4:
        if (isNamed(name, 'host') && ++hosts > 1) return bad('more than one Host');
        break;
      case 7:
        if (isNamed(name, 'upgrade')) return bad('Upgrade belongs to the connection');
        break;
      case 10:
        if (isNamed(name, 'connection')) return bad('Connection belongs to the connection');
        break;
      case 13:
        if (connectAs === 'frontProxy' && isNamed(name, 'authorization'))
          return bad('a token cannot go over a front-proxy connection');
        break;
      case 14:
        if (!isNamed(name, 'content-length')) break;
        if (length !== undefined) return bad('more than one Content-Length');
        if (!/^[0-9]{1,15}$/.test(value)) return bad('an invalid Content-Length');
        length = value;
        break;
      case 17:
        if (isNamed(name, 'transfer-encoding')) return bad('Transfer-Encoding belongs to the connection');
        break;
      default:
    }
    lines.push(`${name}: ${value}\r\n`);
  }
  if (body === null && length !== undefined && Number(length) > 0) return bad('a Content-Length without a body');
  if (upgrade !== undefined && (body !== null || !isFieldValue(upgrade) || !isProtocolList(upgrade)))
    return bad('an upgrade like this');
  if (hosts === 0) lines.push(`Host: ${target.address}\r\n`);
  if (body !== null && length === undefined) lines.push('Transfer-Encoding: chunked\r\n');
  if (upgrade !== undefined) lines.push(`Connection: Upgrade\r\nUpgrade: ${upgrade}\r\n`);
  lines.push('\r\n');
  return { kind: 'ok', text: lines.join('') };
}

/** The same request, checked in the same way, as the encoded fields of HTTP/2; only for requests without a body. */
export function encodeRequestFields(target: PeerTarget, request: PeerRequest): RequestHead {
  const { method, path, body, upgrade, connectAs, memo } = request;
  if (body !== null || upgrade !== undefined) return bad('a body or an upgrade over HTTP/2');
  const objection = objectToLine(method, path);
  if (objection !== undefined) return objection;
  const pseudo = encodePseudoFields(method, path);
  const before = memo?.encoded;
  if (before?.address === target.address && before.connectAs === connectAs)
    return { kind: 'ok', text: pseudo + before.block };
  const checked = writeFields(target, request);
  if (checked.kind === 'bad') return checked;
  const { authority, fields } = splitHost(target, request);
  const encoded = encodeFields(fields);
  if (encoded === undefined) return bad('a header that HTTP/2 cannot carry');
  const block = encodeAuthority(authority) + encoded;
  if (memo !== undefined) memo.encoded = { address: target.address, connectAs, block };
  return { kind: 'ok', text: pseudo + block };
}

function splitHost({ address }: PeerTarget, { rawHeaders }: PeerRequest): { authority: string; fields: string[] } {
  let authority = address;
  const fields: string[] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? '';
    const value = rawHeaders[at + 1] ?? '';
    if (isNamed(name, 'host')) authority = value;
    else fields.push(name, value);
  }
  return { authority, fields };
}

const isNamed = (name: string, lower: string) => name.toLowerCase() === lower;

function bad(message: string): { readonly kind: 'bad'; readonly message: string } {
  return { kind: 'bad', message };
}
