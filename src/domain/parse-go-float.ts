const digits = '\\d+(?:_\\d+)*';
const hexDigits = '[\\da-f]+(?:_[\\da-f]+)*';
const decimal = new RegExp(`^[+-]?(?:${digits}(?:\\.(?:${digits})?)?|\\.${digits})(?:e[+-]?${digits})?$`, 'i');
const hexadecimal = new RegExp(`^([+-]?)0x((?:_?${hexDigits})?)(?:\\.((?:${hexDigits})?))?p([+-]?${digits})$`, 'i');
const infinite = /^([+-]?)inf(?:inity)?$/i;

/**
 * The result of Go's `strconv.ParseFloat(text, 32)`, ignoring errors: 0 for text that is not a number.
 *
 * Source: `readFloat`, `special` and `underscoreOK` in `internal/strconv` of Go 1.26.
 */
export function parseGoFloat(text: string): number {
  const plain = text.replaceAll('_', '');
  if (decimal.test(text)) return Math.fround(Number(plain));
  const [, infinitySign] = infinite.exec(text) ?? [];
  if (infinitySign !== undefined) return infinitySign === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  if (/^nan$/i.test(text)) return Number.NaN;
  if (!hexadecimal.test(text)) return 0;
  const [, sign, whole = '', fraction = '', exponent] = hexadecimal.exec(plain) ?? [];
  if (whole === '' && fraction === '') return 0;
  const mantissa = Number.parseInt(whole + fraction, 16) * 2 ** (Number(exponent) - 4 * fraction.length);
  return Math.fround(sign === '-' ? -mantissa : mantissa);
}
