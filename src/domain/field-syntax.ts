/** RFC 9110, section 5.6.2. */
const token = /^[!#$%&'*+.^`|~0-9A-Za-z_-]+$/;
/** RFC 9110, section 5.5. Anything above latin1 would be cut to another byte, a line feed maybe. */
const badValue = /[^\t\x20-\x7e\x80-\xff]/;

/** True for a method or the name of a field. */
export function isToken(text: string): boolean {
  return token.test(text);
}

/** True for a value that can be read in one way only and stays what it is on the wire. */
export function isFieldValue(text: string): boolean {
  return !badValue.test(text);
}
