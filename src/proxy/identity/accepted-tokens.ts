/** The number of remembered tokens, and the time until a server must accept one again. */
const maxTokens = 10_000;
const rememberedMs = 600_000;

/** The tokens that servers have accepted, on any connection. */
export class AcceptedTokens {
  readonly #acceptedAt = new Map<string, number>();
  readonly #now: () => number;

  /** `now` gives milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
  }

  has(token: string): boolean {
    const acceptedAt = this.#acceptedAt.get(token);
    return acceptedAt !== undefined && this.#now() - acceptedAt < rememberedMs;
  }

  add(token: string): void {
    this.#acceptedAt.delete(token);
    const oldest = this.#acceptedAt.size >= maxTokens ? this.#acceptedAt.keys().next().value : undefined;
    if (oldest !== undefined) this.#acceptedAt.delete(oldest);
    this.#acceptedAt.set(token, this.#now());
  }

  delete(token: string): void {
    this.#acceptedAt.delete(token);
  }
}
