import type { Duplex } from 'node:stream';
import { writeSwitchHead } from './answer-head.ts';

/** Joins both sides. When one side ends, it passes that on without closing the other direction. */
export function splice(client: Duplex, head: Buffer, rawHeaders: readonly string[], peer: Duplex): void {
  const cut = () => {
    client.destroy();
    peer.destroy();
  };
  for (const side of [client, peer]) side.on('error', cut);
  const answer = writeSwitchHead(rawHeaders);
  if (answer === undefined) {
    cut();
    return;
  }
  client.write(answer, 'latin1');
  if (head.length > 0) peer.write(head);
  client.once('close', () => peer.destroy());
  peer.once('close', () => {
    if (!client.writableEnded) client.end();
  });
  client.pipe(peer);
  peer.pipe(client);
}
