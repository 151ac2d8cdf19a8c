/** The text, or as much of it as fits with an ellipsis at its end. */
export function cutText(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}
