import type { Duplex } from 'node:stream';

/** Joins both sides; the end of one side is passed on without closing the other direction. */
export function splice(client: Duplex, head: Buffer, rawHeaders: readonly string[], peer: Duplex): void {
  const lines = ['HTTP/1.1 101 Switching Protocols'];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) lines.push(`${rawHeaders[at]}: ${rawHeaders[at + 1]}`);
  client.write(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
  if (head.length > 0) peer.write(head);
  const cut = () => {
    client.destroy();
    peer.destroy();
  };
  for (const side of [client, peer]) side.on('error', cut);
  client.once('close', () => peer.destroy());
  peer.once('close', () => {
    if (!client.writableEnded) client.end();
  });
  client.pipe(peer);
  peer.pipe(client);
}
