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

/** True for the value of an `Upgrade` field: names of protocols, each perhaps with a version. RFC 9110, section 7.8. */
export function isProtocolList(value: string): boolean {
  return value.split(',').every((protocol) => {
    const parts = protocol.trim().split('/');
    return parts.length <= 2 && parts.every(isToken);
  });
}
