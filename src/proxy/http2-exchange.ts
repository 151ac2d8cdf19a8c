import type { ServerHttp2Stream } from 'node:http2';
import { constants } from 'node:http2';
import type { ClientConnection, Exchange } from './exchange.ts';
import type { RawHeaders } from './headers.ts';
import { headerValue, isSameHeaders } from './headers.ts';
import { passThrough } from './request-identity.ts';

/** One HTTP/2 stream as an Exchange; the session is to be made with `strictSingleValueFields: false`. */
export class Http2Exchange implements Exchange {
  readonly method: string;
  readonly target: string;
  readonly rawHeaders: RawHeaders;
  readonly protocol = 'HTTP/2';
  readonly connection: ClientConnection;
  readonly hasBody: boolean;
  identity = passThrough;
  readonly #stream: ServerHttp2Stream;
  #waitsForContinue: boolean;
  #status = 0;
  #trailers: RawHeaders | undefined;
  #closeListeners: ((complete: boolean) => void)[] = [];

  constructor(stream: ServerHttp2Stream, rawHeaders: RawHeaders, endOfStream: boolean, connection: ClientConnection) {
    const fields: string[] = [];
    let method = 'GET';
    let target = '';
    let authority: string | undefined;
    for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
      const name = rawHeaders[at] ?? '';
      const value = rawHeaders[at + 1] ?? '';
      if (name.charCodeAt(0) !== 0x3a) fields.push(name, value);
      else if (name === ':method') method = value;
      else if (name === ':path') target = value;
      else if (name === ':authority') authority = value;
    }
    // Both may be there if they agree; two Host fields are refused later. RFC 9113, section 8.3.1.
    if (authority !== undefined && headerValue(fields, 'host') !== authority) fields.unshift('Host', authority);
    // One array for all requests with the same fields: a watch holds on to nothing of its own but its path.
    const before = connection.rawHeaders;
    if (before !== undefined && isSameHeaders(before, fields)) this.rawHeaders = before;
    else {
      this.rawHeaders = fields;
      connection.rawHeaders = fields;
    }
    this.method = method;
    this.target = target;
    this.connection = connection;
    this.hasBody = !endOfStream;
    this.#stream = stream;
    this.#waitsForContinue = !endOfStream && headerValue(fields, 'expect')?.toLowerCase() === '100-continue';
    stream.on('error', ignore);
    stream.once('close', () => this.#onClosed());
  }

  bodyComplete(): boolean {
    return !this.hasBody || this.#stream.readableEnded;
  }

  body(): AsyncIterable<Uint8Array> | null {
    const stream = this.#stream;
    if (!this.hasBody) return null;
    if (this.#waitsForContinue && !stream.destroyed && !stream.headersSent)
      stream.additionalHeaders({ ':status': constants.HTTP_STATUS_CONTINUE });
    this.#waitsForContinue = false;
    return stream.iterator({ destroyOnReturn: false });
  }

  status(): number {
    return this.#status;
  }

  respond(status: number, rawHeaders: RawHeaders): void {
    const stream = this.#stream;
    if (stream.destroyed || stream.closed || stream.headersSent) return;
    this.#status = status;
    const announced = this.method !== 'HEAD' && headerValue(rawHeaders, 'trailer') !== undefined;
    if (announced) stream.once('wantTrailers', () => this.#sendTrailers());
    try {
      stream.respond([':status', String(status), ...rawHeaders], announced ? withTrailers : undefined);
    } catch {
      // Whatever Node will not write: a server's answer must not end this process.
      stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    }
  }

  write(chunk: Uint8Array): boolean {
    const stream = this.#stream;
    return stream.destroyed || stream.writableEnded || stream.write(chunk);
  }

  end(chunk?: Uint8Array, rawTrailers?: RawHeaders): void {
    const stream = this.#stream;
    if (stream.destroyed || stream.writableEnded) return;
    this.#trailers = rawTrailers;
    if (chunk === undefined) stream.end();
    else stream.end(chunk);
    // A client that still sends its body is told to stop. RFC 9113, section 8.1.
    if (this.hasBody && !stream.readableEnded) stream.resume();
  }

  destroy(): void {
    if (!this.#stream.destroyed) this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  }

  onDrain(listener: () => void): void {
    this.#stream.on('drain', listener);
  }

  onClose(listener: (complete: boolean) => void): void {
    this.#closeListeners.push(listener);
  }

  /** Node's session may keep a closed stream in memory for long; it is to keep nothing else with it. */
  #onClosed(): void {
    const listeners = this.#closeListeners;
    this.#closeListeners = [];
    const complete = this.#stream.writableFinished && this.#stream.rstCode === 0;
    for (const listener of listeners) listener(complete);
  }

  #sendTrailers(): void {
    try {
      this.#stream.sendTrailers(fieldsByName(this.#trailers ?? []));
    } catch {
      this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    }
  }
}

const withTrailers = { waitForTrailers: true };

function ignore(): void {}

/** Trailers can be given to Node in this form alone. */
function fieldsByName(rawHeaders: RawHeaders): Record<string, string[]> {
  const fields = Object.create(null) as Record<string, string[]>;
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = (rawHeaders[at] ?? '').toLowerCase();
    fields[name] = [...(fields[name] ?? []), rawHeaders[at + 1] ?? ''];
  }
  return fields;
}
