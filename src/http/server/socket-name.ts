import type { Socket } from 'node:net';

/** A name that a TCP connection and its TLS socket share, because Node does not link the two. */
export function socketName({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
