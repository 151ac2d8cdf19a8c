import type { ServerHttp2Session } from 'node:http2';
import { performServerHandshake } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import { buildStatus } from '../domain/status-error.ts';
import type { Log } from '../runtime/log.ts';
import type { ClientConnection } from './exchange.ts';
import type { RequestHandler } from './handler.ts';
import { Http2Exchange } from './http2-exchange.ts';
import type { FrontLimits } from './limits.ts';
import { objectToTarget } from './objections.ts';
import type { ProxyMetrics } from './ports.ts';
import { writeStatus } from './write-status.ts';

/** The HTTP/2 side of the front. */
export interface Http2Front {
  accept(socket: TLSSocket, connection: ClientConnection): void;
  sessions(): number;
  /**
   * Sends GOAWAY; streams that stand finish. It names the last stream that was taken up, so that clients send what came
   * after it elsewhere. RFC 9113, section 6.8. (A first notice that refuses nothing cannot be sent with Node.)
   */
  drain(): void;
}

/**
 * Serves HTTP/2 sessions within their limits.
 *
 * nghttp2 bounds what a client can make it remember: concurrent streams, resets (two full sets of streams
 * at once, 33 a second after that: CVE-2023-44487), CONTINUATION frames (CVE-2024-28182), unanswered SETTINGS and PINGs;
 * such a session is closed.
 */
export function createHttp2Front({
  handler,
  limits,
  log,
  metrics,
}: {
  readonly handler: RequestHandler;
  readonly limits: FrontLimits;
  readonly log: Log;
  readonly metrics: Pick<ProxyMetrics, 'limited'>;
}): Http2Front {
  const sessions = new Set<ServerHttp2Session>();
  let draining = false;
  return {
    sessions: () => sessions.size,
    drain: () => {
      draining = true;
      for (const session of sessions) session.close();
    },
    accept: (socket, connection) => {
      const session = performServerHandshake(socket, {
        maxHeaderListPairs: limits.maxHeaderFields + 4,
        maxSessionMemory: 64,
        maxSettings: 32,
        maxOutstandingPings: 10,
        maxSessionInvalidFrames: 100,
        maxSessionRejectedStreams: 100,
        streamResetBurst: 2 * limits.maxStreamsPerConnection,
        streamResetRate: 33,
        settings: {
          maxConcurrentStreams: limits.maxStreamsPerConnection,
          maxHeaderListSize: limits.maxHeaderBytes,
          initialWindowSize: 256 * 1024,
          enablePush: false,
        },
        // What a server says twice is passed on twice.
        strictSingleValueFields: false,
      });
      sessions.add(session);
      if (draining) session.close();
      session.once('close', () => sessions.delete(session));
      // The listener keeps half-closed connections for HTTP/1.1; a client of HTTP/2 that has closed its side has left.
      socket.once('end', () => session.destroy());
      session.on('error', (error) => {
        metrics.limited.inc({ limit: 'http2_session' });
        log.debug('HTTP/2 session failed', { error: error.message, client: connection.remoteAddress });
      });
      // Frames of any kind count, so PINGs keep a session; streams keep theirs by their own limits.
      session.setTimeout(limits.idleTimeoutMs, () => {
        if (openStreams === 0) session.close();
      });
      let openStreams = 0;
      const onStreamClose = () => {
        openStreams--;
      };
      session.on('stream', (stream, _headers, _flags, rawHeaders) => {
        openStreams++;
        const raw = Array.isArray(rawHeaders) ? (rawHeaders as string[]) : [];
        const exchange = new Http2Exchange(stream, raw, stream.endAfterHeaders, connection);
        exchange.onClose(onStreamClose);
        const objection = objectToTarget(exchange.method, exchange.target, exchange.rawHeaders);
        if (objection === undefined) return handler.handle(exchange);
        metrics.limited.inc({ limit: 'ambiguous' });
        writeStatus(exchange, buildStatus(400, objection));
      });
    },
  };
}
