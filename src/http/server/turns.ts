/** The budget of unknown clients in one turn of the event loop: about this many ordinary heads. */
const perTurn = 32;
/** A head costs as much as an ordinary one for each of this many bytes. */
const unitBytes = 2 * 1024;

/**
 * Gives all unknown clients together a limited part of each turn of the event loop, so that their requests delay other
 * clients by little. Waiting connections take turns.
 */
export class Turns {
  readonly #schedule: (turn: () => void) => void;
  readonly #waiting: (() => void)[] = [];
  #left = perTurn;
  #isScheduled = false;
  #isServing = false;

  /** `schedule` calls a function once all others have had a turn. */
  constructor(schedule: (turn: () => void) => void = setImmediate) {
    this.#schedule = schedule;
  }

  /** Pays for a head, or a part of one. If it returns false, the connection must `wait` first. */
  take(bytes: number): boolean {
    this.#scheduleTurn();
    if (this.#left <= 0 || (this.#waiting.length > 0 && !this.#isServing)) return false;
    this.#left -= 1 + bytes / unitBytes;
    return true;
  }

  /** Pays for a request that was not answered at once. It costs a whole turn, because a server must be asked. */
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
    // The cost of one head beyond this turn is missing from the next turn.
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
