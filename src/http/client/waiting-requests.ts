import { ConnectFault, type FaultKind } from './dispatch.ts';

/** Maximum handshakes at once in a pool, so that each can finish within its time. */
export const maxHandshakes = 32;

/** A request that waits for a connection. */
export interface WaitingRequest {
  /** True if its client has left. */
  readonly settled: boolean;
  fail(kind: FaultKind, error: Error): void;
}

/** How a pool serves the requests that wait. */
export interface WaitingRequestsOptions<Request extends WaitingRequest> {
  /** The number of waiting requests that one new connection can take. */
  readonly perConnection: number;
  /** Opens a connection, after which `start` returns true. Rejects with a ConnectFault. */
  connect(): Promise<void>;
  /** Starts or ends a request. Returns false, without any effect, if it must wait for a connection with room. */
  start(request: Request): boolean;
}

/**
 * The requests of a pool that wait for a connection, in order, and the handshakes that will serve them.
 *
 * At most `maxHandshakes` run at once, so that a flood of requests does not drown the server in handshakes. Each
 * waiting request gets a new connection or room on an old one, whichever comes first. A failed handshake fails all of
 * them: it takes the server out of use, and they can go elsewhere.
 */
export class WaitingRequests<Request extends WaitingRequest> {
  readonly #options: WaitingRequestsOptions<Request>;
  #requests: Request[] = [];
  #connecting = 0;

  constructor(options: WaitingRequestsOptions<Request>) {
    this.#options = options;
  }

  /** The number of requests; it may count some whose clients have left. */
  get size(): number {
    return this.#requests.length;
  }

  /** The number of handshakes that run. */
  get connecting(): number {
    return this.#connecting;
  }

  /**
   * Queues a request that no connection has room for. Opens another connection if those that are being opened will not
   * be enough.
   */
  add(request: Request): void {
    this.#requests.push(request);
    this.#open();
  }

  /** Forgets requests whose clients have left. */
  prune(): void {
    this.#requests = this.#requests.filter(({ settled }) => !settled);
  }

  /** Starts all requests for which there is room. Call it when there may be more. */
  serve(): void {
    const { start } = this.#options;
    // A request leaves the queue before it starts, since its start may end other requests or make room for more.
    for (let next = this.#requests.shift(); next !== undefined; next = this.#requests.shift())
      if (!next.settled && !start(next)) {
        this.#requests.unshift(next);
        break;
      }
    this.#open();
  }

  /** Fails all requests. */
  fail(kind: FaultKind, error: Error): void {
    for (const request of this.#requests.splice(0)) request.fail(kind, error);
  }

  /** Each opening connection will take its share. */
  #open(): void {
    while (this.#connecting < maxHandshakes && this.#requests.length > this.#connecting * this.#options.perConnection)
      void this.#connect();
  }

  async #connect(): Promise<void> {
    this.#connecting++;
    try {
      await this.#options.connect();
    } catch (error) {
      const fault = error instanceof ConnectFault ? error : new ConnectFault('connect', String(error), error);
      this.fail(fault.kind, fault);
    } finally {
      this.#connecting--;
    }
    this.serve();
  }
}
