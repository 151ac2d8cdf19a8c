import type { Duplex } from 'node:stream';

/** So many bytes may be on their way when a connection ends. */
const mostBytes = 1024 * 1024;

/** Counts what comes after a connection has ended, and is dropped. Beyond a little, its sender waits for the close. */
export class DiscardedBytes {
  #bytes = 0;

  drop(socket: Duplex, bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > mostBytes) socket.pause();
  }
}
