/** Removes Node's advice about its own flags from a TLS error, because no user of this program can follow it. */
export function withoutNodeAdvice(message: string): string {
  return message.replace(/[;,] (?:if the root CA|try running)[^"]*?--use-[a-z-]+/s, '');
}
