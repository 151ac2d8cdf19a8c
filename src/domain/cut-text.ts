/** The text, cut to `length` with an ellipsis if it is longer. */
export function cutText(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}
