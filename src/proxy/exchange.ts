import type { RawHeaders } from '../http/fields.ts';
import type { AcceptedCredentials } from './accepted-credentials.ts';
import type { TokenMemo } from './bearer-token.ts';
import type { ClientCertificate } from './client-certificate.ts';
import type { PreparedFields } from './forwarded-headers.ts';
import type { Counted, KeptBytes } from './kept-bytes.ts';
import type { RequestIdentity } from './request-identity.ts';

/** What is remembered of one client connection, so that its reads do not go back in time between servers. */
export interface ClientConnection {
  readonly remoteAddress: string;
  /** What the client showed in the handshake, where it was asked for. */
  readonly certificate: ClientCertificate | undefined;
  /** Address of the home server that was chosen for it. */
  home: string | undefined;
  /** Group, version and resource to the address of the peer that serves it here. */
  readonly sticky: Map<string, string>;
  /** The tokens on this connection that servers have accepted. */
  accepted?: AcceptedCredentials;
  /** The token that was read last. */
  token?: TokenMemo | undefined;
  /** Header fields of its last request: most clients send the same again and again. */
  rawHeaders?: RawHeaders | undefined;
  /** What was made of the header fields of its last request without a body. */
  prepared?: PreparedFields | undefined;
  /** What its home server adds to every answer. Set by the handler. */
  homeFields?: HomeFields;
  /** The wall clock, in milliseconds since the epoch. */
  readonly date?: () => number;
  /** The user that was let in on it last. */
  owner?: string;
  /** True once its client is to connect anew. Its next watches go where there are fewest, whatever its home is. */
  isLeaving?: boolean;
  /** Tells the client at once to connect anew, where the protocol has a way. Set by the front. */
  leave?: () => void;
  /** Counts bytes that arrive, and bytes queued to be sent. */
  readonly keptBytes?: Pick<KeptBytes, 'note'>;
}

/** One request and its answer, the same for HTTP/1.1 and HTTP/2. */
export interface Exchange {
  readonly method: string;
  /** Request target in origin form. */
  readonly target: string;
  /** Without pseudo headers; `:authority` appears as `Host`. */
  readonly rawHeaders: RawHeaders;
  readonly protocol: 'HTTP/1.0' | 'HTTP/1.1' | 'HTTP/2';
  readonly connection: ClientConnection;
  /** The identity of every request sent on behalf of this one: stamp and kind of connection. Set by the handler. */
  identity: RequestIdentity;
  /** What home added to its answer to the same client for the same path. */
  homeFields?: RawHeaders;
  /** The audit id that was made for a client that has sent none. */
  auditId?: string;
  readonly hasBody: boolean;
  /** Bytes that whoever answers holds on its behalf, to be counted with its own. */
  heldElsewhere: number;
  /** Bytes that it holds in memory, those in `counted` apart; what its connection holds is not among them. */
  keptBytes(counted: Counted): number;
  /** True once the last byte of the body has come. */
  bodyComplete(): boolean;
  /** Null without a body. Reading starts with iteration, and stopping early does not end the exchange. */
  body(): AsyncIterable<Uint8Array> | null;
  /** Status of the answer; 0 before it has begun. */
  status(): number;
  /**
   * Passes a server's interim answer on, before the answer itself. A client that HTTP/1.0 serves gets none, and one
   * that was told to go on with its body is not told so again.
   */
  interim(status: number, rawHeaders: RawHeaders): void;
  respond(status: number, rawHeaders: RawHeaders): void;
  /** Returns false if the caller should wait for `onDrain`. */
  write(chunk: Uint8Array): boolean;
  end(chunk?: Uint8Array, rawTrailers?: RawHeaders): void;
  /** Cuts an answer off so that the client cannot take it for whole. */
  destroy(): void;
  onDrain(listener: () => void): void;
  /** Called once, when the answer is complete or the client has left. */
  onClose(listener: (complete: boolean) => void): void;
}

/**
 * The header fields that a client's home server adds to every answer, whatever the path: for an `Origin`
 * (`--cors-allowed-origins`) and for HTTPS (`--strict-transport-security-directives`). The server's answers tell them.
 */
export interface HomeFields {
  /** As far as they are known now. */
  known(exchange: Exchange): RawHeaders;
  /** Asks home about the client's `Origin` if that is not known; undefined if there is nothing to wait for. */
  learn(exchange: Exchange): undefined | Promise<void>;
  /** True if home allows the client's `Origin`, as far as it is known now. */
  allowsOrigin(exchange: Exchange): boolean;
  /** Takes note of any answer of the server at this address. */
  note(address: string, rawHeaders: RawHeaders): void;
}
