/** More than one has only who speaks for others. */
const maxAccepted = 64;

/** Which credentials of one client connection a server has accepted. */
export class AcceptedCredentials {
  readonly #accepted = new Set<string>();

  has(credential: string): boolean {
    return this.#accepted.has(credential);
  }

  /** Takes the status of an answer for what it says of the credential. */
  note(credential: string, status: number): void {
    // What is busy or shutting down says so before it looks at who asks.
    if (status >= 500 || status === 429) return;
    if (status === 401) this.#accepted.delete(credential);
    else {
      if (this.#accepted.size >= maxAccepted) this.#accepted.clear();
      this.#accepted.add(credential);
    }
  }
}
