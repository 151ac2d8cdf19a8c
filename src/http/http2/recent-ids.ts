/** Ids remembered: far more than there are concurrent streams. */
const remembered = 1024;

/** Ids of streams that this side has reset and whose frames may still be on their way. */
export class RecentIds {
  #ids: number[] | undefined;
  #count = 0;

  add(id: number): void {
    this.#ids ??= [];
    this.#ids[this.#count++ % remembered] = id;
  }

  /** True for an id that was added, and for any id older than the remembered ones. */
  mayHave(id: number): boolean {
    if (this.#ids === undefined) return false;
    return this.#ids.includes(id) || (this.#count > remembered && id < Math.min(...this.#ids));
  }
}
