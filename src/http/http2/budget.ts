/** A token bucket for actions that cost this side more than the peer: `burst` at once, `perSecond` regained. */
export class Budget {
  readonly #burst: number;
  readonly #perSecond: number;
  readonly #now: () => number;
  #left: number;
  #at: number;

  /** `now` gives milliseconds. */
  constructor(burst: number, perSecond: number, now: () => number) {
    this.#burst = burst;
    this.#perSecond = perSecond;
    this.#now = now;
    this.#left = burst;
    this.#at = now();
  }

  /** Takes this many tokens. Returns false, and takes none, if fewer are left. */
  spend(cost = 1): boolean {
    if (this.#left < cost) {
      const now = this.#now();
      this.#left = Math.min(this.#burst, this.#left + ((now - this.#at) / 1_000) * this.#perSecond);
      this.#at = now;
      if (this.#left < cost) return false;
    }
    this.#left -= cost;
    return true;
  }
}
