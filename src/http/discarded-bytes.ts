import type { Duplex } from 'node:stream';

/** The number of bytes that may be on their way when a connection ends. */
const mostBytes = 1024 * 1024;

/**
 * Counts the dropped bytes that arrive after a connection has ended. Beyond the limit, their sender must wait for the
 * close.
 */
export class DiscardedBytes {
  #bytes = 0;

  drop(socket: Duplex, bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > mostBytes) socket.pause();
  }
}
