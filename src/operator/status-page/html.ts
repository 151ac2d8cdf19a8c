/** Text that is already HTML. */
export class Html {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/** The values that a template accepts: text is escaped, HTML is not, and empty values add nothing. */
export type Fragment = string | number | Html | false | undefined | readonly Fragment[];

/** A template that escapes every value that is not HTML. Values reach the page in no other way. */
export function html(strings: TemplateStringsArray, ...values: readonly Fragment[]): Html {
  return new Html(strings.map((text, index) => text + (index < values.length ? show(values[index]) : '')).join(''));
}

function show(value: Fragment): string {
  if (value === undefined || value === false) return '';
  if (value instanceof Html) return value.text;
  if (typeof value === 'object') return value.map(show).join('');
  return escapeText(String(value));
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/**
 * Makes text safe inside elements and quoted attributes. Invisible characters that could reorder or break a line become
 * spaces.
 */
function escapeText(text: string): string {
  return text
    .replace(/[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+/gu, ' ')
    .replace(/[&<>"']/g, (character) => entities[character] ?? '');
}
