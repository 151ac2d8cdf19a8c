/** RFC 9110, section 5.6.2. */
const token = /^[!#$%&'*+.^`|~0-9A-Za-z_-]+$/;
/** RFC 9110, section 5.5. A character above latin1 would be cut to another byte, possibly a line feed. */
const badValue = /[^\t\x20-\x7e\x80-\xff]/;

/** True if the text is a valid method or field name. */
export function isToken(text: string): boolean {
  return token.test(text);
}

/** True if the value has only one reading and is sent unchanged. */
export function isFieldValue(text: string): boolean {
  return !badValue.test(text);
}

/**
 * True if the value of an `Upgrade` field is valid: protocol names, each with an optional version. RFC 9110, section
 * 7.8.
 */
export function isProtocolList(value: string): boolean {
  return value.split(',').every((protocol) => {
    const parts = protocol.trim().split('/');
    return parts.length <= 2 && parts.every(isToken);
  });
}
