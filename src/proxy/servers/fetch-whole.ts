import type { Fault } from '../../http/client/dispatch.ts';
import { headerValue } from '../../http/fields.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { PeerTarget, PeerTransport } from '../ports.ts';
import type { Exchange } from '../request/exchange.ts';
import { prepareRequestHeaders, prepareResponseHeaders } from '../request/forwarded-headers.ts';

/** A peer's complete answer, or why there is none. */
export type WholeAnswer =
  | {
      readonly kind: 'answer';
      readonly status: number;
      readonly headers: readonly string[];
      readonly body: Buffer;
      /** True if the answer exceeded the bound, so that `body` is only its beginning. */
      readonly cut: boolean;
    }
  | { readonly kind: 'fault'; readonly fault: Fault };

/** An answer without its body. */
export type FetchedAnswer = Omit<Extract<WholeAnswer, { readonly kind: 'answer' }>, 'body'>;

/** A request of the proxy itself on behalf of a client's request. */
export interface WholeRequest {
  readonly method: string;
  readonly path: string;
  /** Fields in addition to the client's identity. */
  readonly headers: readonly string[];
  readonly maxBytes: number;
  /** Ten seconds by default: others may be waiting for the same answer. */
  readonly withinMs?: number;
}

/**
 * Asks a peer with the credentials of the client's request, but nothing else of it.
 *
 * It ends whatever the peer does: with a fault of kind `answer` after `withinMs`, because a backend behind the peer may
 * be slow, and at the first byte beyond `maxBytes`.
 */
export async function fetchWhole(...[parts, target, exchange, request]: FetchArguments): Promise<WholeAnswer> {
  const chunks: Buffer[] = [];
  const answer = await fetchPieces(parts, target, exchange, request, (chunk) => chunks.push(chunk));
  return answer.kind === 'fault' ? answer : { ...answer, body: Buffer.concat(chunks) };
}

type FetchArguments = readonly [
  parts: { readonly transport: Pick<PeerTransport, 'dispatch'>; readonly clock: Clock },
  target: PeerTarget,
  exchange: Pick<Exchange, 'rawHeaders' | 'identity' | 'connection'>,
  request: WholeRequest,
];

/** Like {@link fetchWhole}, for a body that is too long to join at once. */
export function fetchPieces(
  ...[{ transport, clock }, target, exchange, request, onPiece]: [...FetchArguments, onPiece: (piece: Buffer) => void]
): Promise<FetchedAnswer | Extract<WholeAnswer, { readonly kind: 'fault' }>> {
  const { method, path, headers: extra, maxBytes, withinMs = 10_000 } = request;
  const { rawHeaders, identity, connection } = exchange;
  const prepared = prepareRequestHeaders(
    [
      'Host',
      headerValue(rawHeaders, 'host') ?? target.address,
      'User-Agent',
      headerValue(rawHeaders, 'user-agent') ?? 'peerdiscovery',
      ...identityHeaders(rawHeaders),
      ...extra,
    ],
    { remoteAddress: connection.remoteAddress, peerProxied: false, identity },
  );
  return new Promise((resolve) => {
    let status = 0;
    let headers: readonly string[] = [];
    let size = 0;
    const ended = new AbortController();
    const settle = (answer: Parameters<typeof resolve>[0]) => {
      ended.abort();
      resolve(answer);
    };
    const give = () => settle({ kind: 'answer', status, headers, cut: size > maxBytes });
    const call = transport.dispatch(
      target,
      {
        method,
        path,
        rawHeaders: prepared,
        body: null,
        longRunning: false,
        connectAs: identity.connectAs,
        upgrade: undefined,
      },
      {
        onHead: (code, raw) => {
          status = code;
          headers = prepareResponseHeaders(raw);
        },
        onData: (chunk) => {
          size += chunk.length;
          if (size <= maxBytes) onPiece(chunk);
          else if (!ended.signal.aborted) {
            give();
            call.abort(new Error(`the answer is longer than ${maxBytes} bytes`));
          }
        },
        onEnd: give,
        onFault: (fault) => settle({ kind: 'fault', fault }),
        onUpgrade: (_headers, socket) => socket.destroy(),
      },
    );
    const expire = () => {
      if (ended.signal.aborted) return;
      const error = new Error(`no whole answer within ${withinMs / 1_000} s`);
      settle({ kind: 'fault', fault: { kind: 'answer', sent: true, error } });
      call.abort(error);
    };
    // The end of the answer ends the sleep as well.
    clock.sleep(withinMs, ended.signal).then(expire, expire);
  });
}

/** All identity fields of a request. */
export function identityHeaders(rawHeaders: readonly string[]): string[] {
  const identity: string[] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? '';
    // Every request passes here, and length or one letter distinguishes most fields.
    if (name.length !== 13 && name[11] !== '-') continue;
    const lower = name.toLowerCase();
    if (lower === 'authorization' || lower.startsWith('impersonate-')) identity.push(lower, rawHeaders[at + 1] ?? '');
  }
  return identity;
}
