import type { RawHeaders } from '../../http/fields.ts';
import type { HttpExchange } from '../../http/server/exchange.ts';
import type { Counted } from '../../http/server/held-bytes.ts';
import { passThrough } from '../identity/request-identity.ts';
import type { ClientConnection, Exchange } from './exchange.ts';

/** An exchange of the front, with the proxy's own facts about it. */
export class ClientRequest implements Exchange {
  readonly method: string;
  readonly target: string;
  readonly rawHeaders: RawHeaders;
  readonly protocol: Exchange['protocol'];
  readonly connection: ClientConnection;
  readonly hasBody: boolean;
  identity = passThrough;
  addedByHome?: RawHeaders;
  auditId?: string;
  heldElsewhere = 0;
  readonly #http: HttpExchange<ClientConnection>;

  constructor(http: HttpExchange<ClientConnection>) {
    this.#http = http;
    this.method = http.method;
    this.target = http.target;
    this.rawHeaders = http.rawHeaders;
    this.protocol = http.protocol;
    this.connection = http.connection;
    this.hasBody = http.hasBody;
  }

  keptBytes(counted: Counted): number {
    return this.#http.keptBytes(counted) + this.heldElsewhere;
  }

  bodyComplete(): boolean {
    return this.#http.bodyComplete();
  }

  body(): AsyncIterable<Uint8Array> | null {
    return this.#http.body();
  }

  status(): number {
    return this.#http.status();
  }

  interim(status: number, rawHeaders: RawHeaders): void {
    this.#http.interim(status, rawHeaders);
  }

  respond(status: number, rawHeaders: RawHeaders): void {
    this.#http.respond(status, rawHeaders);
  }

  write(chunk: Uint8Array): boolean {
    return this.#http.write(chunk);
  }

  end(chunk?: Uint8Array, rawTrailers?: RawHeaders): void {
    this.#http.end(chunk, rawTrailers);
  }

  destroy(): void {
    this.#http.destroy();
  }

  onDrain(listener: () => void): void {
    this.#http.onDrain(listener);
  }

  onClose(listener: (complete: boolean) => void): void {
    this.#http.onClose(listener);
  }
}
