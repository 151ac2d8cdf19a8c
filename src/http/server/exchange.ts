import type { RawHeaders } from '../fields.ts';
import type { Counted } from './held-bytes.ts';

/** One client connection. */
export interface HttpConnection {
  readonly remoteAddress: string;
  /** Header fields of its last request, because most clients repeat them. */
  rawHeaders?: RawHeaders | undefined;
  /** True once its client should reconnect. */
  isLeaving?: boolean;
  /** Tells the client at once to reconnect, if the protocol has a way to do so. Set by the front. */
  leave?: () => void;
  /** The user whose memory it counts towards. */
  readonly owner?: string;
  /** Counts bytes that arrive, and bytes queued to be sent. */
  readonly keptBytes?: { note(bytes: number): void };
}

/** One request and its answer, the same for HTTP/1.1 and HTTP/2. */
export interface HttpExchange<Connection extends HttpConnection = HttpConnection> {
  readonly method: string;
  /** Request target in origin form. */
  readonly target: string;
  /** Without pseudo headers; `:authority` appears as `Host`. */
  readonly rawHeaders: RawHeaders;
  readonly protocol: 'HTTP/1.0' | 'HTTP/1.1' | 'HTTP/2';
  readonly connection: Connection;
  readonly hasBody: boolean;
  /** Bytes that it holds in memory, without those in `counted` and those of its connection. */
  keptBytes(counted: Counted): number;
  /** True once the last byte of the body has arrived. */
  bodyComplete(): boolean;
  /** Null without a body. Reading starts with iteration, and stopping early does not end the exchange. */
  body(): AsyncIterable<Uint8Array> | null;
  /** Status of the answer; 0 before it has begun. */
  status(): number;
  /**
   * Passes a server's interim answer on, before the answer itself. An HTTP/1.0 client gets none, and a client gets 100
   * Continue only once.
   */
  interim(status: number, rawHeaders: RawHeaders): void;
  respond(status: number, rawHeaders: RawHeaders): void;
  /** Returns false if the caller should wait for `onDrain`. */
  write(chunk: Uint8Array): boolean;
  end(chunk?: Uint8Array, rawTrailers?: RawHeaders): void;
  /** Cuts an answer off so that it does not look complete to the client. */
  destroy(): void;
  onDrain(listener: () => void): void;
  /** Called once, when the answer is complete or the client has left. */
  onClose(listener: (complete: boolean) => void): void;
}
