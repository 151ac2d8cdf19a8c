/** How many are remembered: more than there are streams at once, by far. */
const remembered = 1024;

/** Ids of streams that were reset here, and of which more may be on its way. */
export class RecentIds {
  #ids: number[] | undefined;
  #count = 0;

  add(id: number): void {
    this.#ids ??= [];
    this.#ids[this.#count++ % remembered] = id;
  }

  /** True for what was added, save that it is true too for what is older than all that is remembered. */
  mayHave(id: number): boolean {
    if (this.#ids === undefined) return false;
    return this.#ids.includes(id) || (this.#count > remembered && id < Math.min(...this.#ids));
  }
}
