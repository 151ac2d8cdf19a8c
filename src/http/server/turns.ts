/** What clients that nobody knows may have read in one turn of the event loop: about so many ordinary heads. */
const perTurn = 32;
/** A head of so many bytes costs as much again as an ordinary one. */
const unitBytes = 2 * 1024;

/**
 * Gives all connections together that nobody has vouched for a bounded part of each turn of the event loop, so that
 * their requests delay everybody else's by little. Those that wait take turns.
 */
export class Turns {
  readonly #schedule: (turn: () => void) => void;
  readonly #waiting: (() => void)[] = [];
  #left = perTurn;
  #isScheduled = false;
  #isServing = false;

  /** `schedule` calls a function once everybody else has had a turn. */
  constructor(schedule: (turn: () => void) => void = setImmediate) {
    this.#schedule = schedule;
  }

  /** Pays for a head, or a part of one; false if its connection has to `wait` first. */
  take(bytes: number): boolean {
    this.#scheduleTurn();
    if (this.#left <= 0 || (this.#waiting.length > 0 && !this.#isServing)) return false;
    this.#left -= 1 + bytes / unitBytes;
    return true;
  }

  /** Pays for a request that was not answered at once: it costs a whole turn, as somebody else has to be asked. */
  charge(): void {
    this.#left -= perTurn;
    this.#scheduleTurn();
  }

  /** Calls `goOn` when it is this connection's turn. The next `take` in it succeeds. */
  wait(goOn: () => void): void {
    this.#waiting.push(goOn);
    this.#scheduleTurn();
  }

  #scheduleTurn(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#schedule(this.#turn);
  }

  readonly #turn = (): void => {
    this.#isScheduled = false;
    // What one head has cost beyond this turn is missing from the next.
    this.#left = Math.min(perTurn, this.#left + perTurn);
    this.#isServing = true;
    try {
      while (this.#left > 0 && this.#waiting.length > 0) this.#waiting.shift()?.();
    } finally {
      this.#isServing = false;
      if (this.#waiting.length > 0 || this.#left < perTurn) this.#scheduleTurn();
    }
  };
}
