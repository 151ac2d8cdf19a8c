import type { Counted, Keeper } from '../../http/server/held-bytes.ts';
import type { Exchange } from '../request/exchange.ts';

/** The running requests of one user, by kind. */
export interface UserLoad {
  readonly user: string;
  short: number;
  long: number;
}

/** The place that an admitted request holds. */
export class RunningRequest implements Keeper {
  readonly exchange: Exchange;
  readonly startedAt: number;
  readonly user: UserLoad;
  readonly longRunning: boolean;
  /** True once a server, or this proxy, has accepted the user. */
  isKnown: boolean;
  /** The deadline, if its list has one. */
  dueAt = 0;
  /** True once it has given its place back. */
  hasLeft = false;
  /** Undefined if it is in no list. */
  list: RunningRequests | undefined;
  before: RunningRequest | undefined;
  after: RunningRequest | undefined;

  constructor(exchange: Exchange, startedAt: number, user: UserLoad, longRunning: boolean, isKnown: boolean) {
    this.exchange = exchange;
    this.startedAt = startedAt;
    this.user = user;
    this.longRunning = longRunning;
    this.isKnown = isKnown;
  }

  get owner(): string | undefined {
    return this.isKnown ? this.user.user : undefined;
  }

  keptBytes(counted: Counted): number {
    return this.exchange.keptBytes(counted);
  }

  cut(): void {
    this.exchange.destroy();
  }
}

/**
 * Requests in the order of admission.
 *
 * A list of our own, because each outgrown table of a Map refers to the next one: with requests coming and going all
 * the time, one such table in old memory keeps every later request there until the next full collection.
 */
export class RunningRequests {
  size = 0;
  first: RunningRequest | undefined;
  #last: RunningRequest | undefined;

  add(request: RunningRequest): void {
    request.list = this;
    request.before = this.#last;
    if (this.#last === undefined) this.first = request;
    else this.#last.after = request;
    this.#last = request;
    this.size++;
  }

  *[Symbol.iterator](): Iterator<RunningRequest> {
    for (let request = this.first; request !== undefined; request = request.after) yield request;
  }

  /** Does nothing for a request that is not in it. */
  remove(request: RunningRequest): void {
    if (request.list !== this) return;
    const { before, after } = request;
    if (before === undefined) this.first = after;
    else before.after = after;
    if (after === undefined) this.#last = before;
    else after.before = before;
    request.list = undefined;
    request.before = undefined;
    request.after = undefined;
    this.size--;
  }
}
