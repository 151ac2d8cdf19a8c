/** What an error of Node's TLS says, without Node's advice about its own flags, which nobody can follow here. */
export function withoutNodeAdvice(message: string): string {
  return message.replace(/[;,] (?:if the root CA|try running)[^"]*?--use-[a-z-]+/s, '');
}
