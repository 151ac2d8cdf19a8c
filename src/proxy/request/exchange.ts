import type { RawHeaders } from '../../http/fields.ts';
import type { HttpConnection, HttpExchange } from '../../http/server/exchange.ts';
import type { AcceptedCredentials } from '../identity/accepted-credentials.ts';
import type { TokenMemo } from '../identity/bearer-token.ts';
import type { ClientCertificate } from '../identity/client-certificate.ts';
import type { RequestIdentity } from '../identity/request-identity.ts';
import type { PreparedFields } from './forwarded-headers.ts';

/** What is remembered of one client connection, so that its reads do not go back in time between servers. */
export interface ClientConnection extends HttpConnection {
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
}

/** One request and its answer, with what this proxy knows of it. */
export interface Exchange extends HttpExchange<ClientConnection> {
  /** The identity of every request sent on behalf of this one: stamp and kind of connection. Set by the handler. */
  identity: RequestIdentity;
  /** What home added to its answer to the same client for the same path. */
  homeFields?: RawHeaders;
  /** The audit id that was made for a client that has sent none. */
  auditId?: string;
  /** Bytes that whoever answers holds on its behalf, to be counted with its own. */
  heldElsewhere: number;
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
