/** A head of up to this size needs no room. */
const freeBytes = 64 * 1024;

/**
 * Room for long heads, which all connections share, so that a flood of long heads cannot take the memory of the
 * process.
 */
export class HeadRoom {
  readonly #most: number;
  #taken = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /** Makes room for a head that grows from `before` to `after` bytes; false if there is none, and then takes none. */
  resize(before: number, after: number): boolean {
    const more = needOf(after) - needOf(before);
    if (more > 0 && this.#taken + more > this.#most) return false;
    this.#taken += more;
    return true;
  }
}

function needOf(bytes: number): number {
  return Math.max(0, bytes - freeBytes);
}
