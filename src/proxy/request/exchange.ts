import type { RawHeaders } from '../../http/fields.ts';
import type { HttpConnection, HttpExchange } from '../../http/server/exchange.ts';
import type { AcceptedCredentials } from '../identity/accepted-credentials.ts';
import type { TokenMemo } from '../identity/bearer-token.ts';
import type { ClientCertificate } from '../identity/client-certificate.ts';
import type { RequestIdentity } from '../identity/request-identity.ts';
import type { PreparedFields } from './forwarded-headers.ts';

/** The memory of one client connection, so that its reads do not go back in time between servers. */
export interface ClientConnection extends HttpConnection {
  /** The client's certificate from the handshake, if clients are asked for one. */
  readonly certificate: ClientCertificate | undefined;
  /** Address of the home server that was chosen for it. */
  home: string | undefined;
  /** The address of the peer that serves a resource here, by group, version and resource. */
  readonly sticky: Map<string, string>;
  /** The tokens on this connection that servers have accepted. */
  accepted?: AcceptedCredentials;
  /** The last token that was read. */
  token?: TokenMemo | undefined;
  /** The result of preparing the header fields of its last request without a body. */
  prepared?: PreparedFields | undefined;
  /** Knows the fields that its home server adds to every answer. Set by the handler. */
  homeFields?: HomeFields;
  /** The wall clock, in milliseconds since the epoch. */
  readonly date?: () => number;
  /** The known user of its last request; undefined until a server has accepted a credential on it. */
  owner?: string;
  /**
   * True once its client should reconnect. Its next watches go to the servers with the fewest, whatever its home is.
   */
  isLeaving?: boolean;
}

/** One request and its answer, with the proxy's facts about it. */
export interface Exchange extends HttpExchange<ClientConnection> {
  /** The identity of every request sent on behalf of this one: stamp and kind of connection. Set by the handler. */
  identity: RequestIdentity;
  /** The fields that home added to its answer to the same client for the same path. */
  addedByHome?: RawHeaders;
  /** The audit id that this proxy created for a client that has sent none. */
  auditId?: string;
  /** Bytes that answering code holds on its behalf. They count with its own bytes. */
  heldElsewhere: number;
}

/**
 * The header fields that a client's home server adds to every answer, for any path: for an `Origin`
 * (`--cors-allowed-origins`) and for HTTPS (`--strict-transport-security-directives`). They are learned from the
 * server's answers.
 */
export interface HomeFields {
  /** The known fields so far. */
  known(exchange: Exchange): RawHeaders;
  /** Asks home about the client's `Origin` if that is unknown; undefined if there is nothing to wait for. */
  learn(exchange: Exchange): undefined | Promise<void>;
  /** True if home allows the client's `Origin`, as far as is known now. */
  allowsOrigin(exchange: Exchange): boolean;
  /** Learns from any answer of the server at this address. */
  note(address: string, rawHeaders: RawHeaders): void;
}
