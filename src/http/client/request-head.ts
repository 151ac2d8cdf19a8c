import { readContentLength } from '../content-length.ts';
import { isFieldValue, isProtocolList, isToken } from '../field-syntax.ts';
import { isNamed } from '../fields.ts';
import { encodeAuthority, encodeFields, encodePseudoFields } from '../http2/hpack-encoder.ts';
import type { HttpOrigin, HttpRequest } from './dispatch.ts';

/** The bytes of a head as latin1, or why the request cannot be sent. */
export type RequestHead =
  | { readonly kind: 'ok'; readonly text: string }
  | { readonly kind: 'bad'; readonly message: string };

const badTarget = /[^\x21-\x7e\x80-\xff]/;

/** Writes a request's head so that no two servers can read it differently, whatever checks the caller has made. */
export function writeRequestHead(target: HttpOrigin, request: HttpRequest): RequestHead {
  const { method, path, body, upgrade, written } = request;
  const objection = objectToLine(method, path);
  if (objection !== undefined) return objection;
  const line = `${method} ${path} HTTP/1.1\r\n`;
  const plain = body === null && upgrade === undefined;
  const before = plain ? written?.headFor(target.address) : undefined;
  if (before !== undefined) return { kind: 'ok', text: line + before };
  const fields = writeFields(target, request);
  if (fields.kind === 'bad') return fields;
  if (plain) written?.keepHead(target.address, fields.text);
  return { kind: 'ok', text: line + fields.text };
}

function objectToLine(method: string, path: string): { readonly kind: 'bad'; readonly message: string } | undefined {
  if (!isToken(method)) return bad('the method is not a token');
  if (path.charCodeAt(0) !== 0x2f || badTarget.test(path)) return bad('the request target has a forbidden byte');
  return undefined;
}

function writeFields(target: HttpOrigin, request: HttpRequest): RequestHead {
  const { rawHeaders, body, upgrade } = request;
  const lines: string[] = [];
  let hosts = 0;
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
        if (isNamed(name, 'upgrade')) return bad('Upgrade must not be set: it belongs to the connection');
        break;
      case 10:
        if (isNamed(name, 'connection')) return bad('Connection must not be set: it belongs to the connection');
        break;
      case 17:
        if (isNamed(name, 'transfer-encoding'))
          return bad('Transfer-Encoding must not be set: it belongs to the connection');
        break;
      default:
    }
    lines.push(`${name}: ${value}\r\n`);
  }
  const length = readContentLength(rawHeaders);
  if (length === 'repeated') return bad('more than one Content-Length');
  if (length === 'invalid') return bad('an invalid Content-Length');
  if (body === null && length !== undefined && length > 0) return bad('a Content-Length without a body');
  if (upgrade !== undefined && (body !== null || !isFieldValue(upgrade) || !isProtocolList(upgrade)))
    return bad('an upgrade with a body or an invalid protocol');
  if (hosts === 0) lines.push(`Host: ${target.address}\r\n`);
  if (body !== null && length === undefined) lines.push('Transfer-Encoding: chunked\r\n');
  if (upgrade !== undefined) lines.push(`Connection: Upgrade\r\nUpgrade: ${upgrade}\r\n`);
  lines.push('\r\n');
  return { kind: 'ok', text: lines.join('') };
}

/** The same request with the same checks, as encoded HTTP/2 fields; only for requests without a body. */
export function encodeRequestFields(target: HttpOrigin, request: HttpRequest): RequestHead {
  const { method, path, body, upgrade, written } = request;
  if (body !== null || upgrade !== undefined) return bad('a body or an upgrade over HTTP/2');
  const objection = objectToLine(method, path);
  if (objection !== undefined) return objection;
  const pseudo = encodePseudoFields(method, path);
  const before = written?.blockFor(target.address);
  if (before !== undefined) return { kind: 'ok', text: pseudo + before };
  const checked = writeFields(target, request);
  if (checked.kind === 'bad') return checked;
  const { authority, fields } = splitHost(target, request);
  const encoded = encodeFields(fields);
  if (encoded === undefined) return bad('a header that HTTP/2 cannot carry');
  const block = encodeAuthority(authority) + encoded;
  written?.keepBlock(target.address, block);
  return { kind: 'ok', text: pseudo + block };
}

function splitHost({ address }: HttpOrigin, { rawHeaders }: HttpRequest): { authority: string; fields: string[] } {
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

function bad(message: string): { readonly kind: 'bad'; readonly message: string } {
  return { kind: 'bad', message };
}
