/** The end of a message about an unknown name, such as `; did you mean status?`. Empty if no name is close. */
export function didYouMean(text: string, names: readonly string[]): string {
  const close = closestName(text, names);
  return close === undefined ? '' : `; did you mean ${close}?`;
}

/** The name that starts with this text, or that differs from it in at most a third of its letters. */
export function closestName(text: string, names: readonly string[]): string | undefined {
  const bare = text.replace(/^-+/, '');
  const [best] = names
    .map((name) => ({ name, edits: countEdits(bare.toLowerCase(), name.replace(/^-+/, '').toLowerCase()) }))
    .sort((a, b) => a.edits - b.edits);
  if (best !== undefined && best.edits <= Math.max(1, Math.floor(bare.length / 3))) return best.name;
  const begun = names.filter((name) => bare.length > 1 && name.replace(/^-+/, '').startsWith(bare));
  return begun.length === 1 ? begun[0] : undefined;
}

/** Counts letters inserted, deleted, replaced, or swapped with the next. */
function countEdits(from: string, to: string): number {
  const rows: number[][] = [Array.from({ length: to.length + 1 }, (_, at) => at)];
  for (let i = 1; i <= from.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= to.length; j += 1) {
      const replaced = (rows[i - 1]?.[j - 1] ?? 0) + (from[i - 1] === to[j - 1] ? 0 : 1);
      const swapped =
        from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1] ? (rows[i - 2]?.[j - 2] ?? Infinity) + 1 : Infinity;
      row.push(Math.min((rows[i - 1]?.[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, replaced, swapped));
    }
    rows.push(row);
  }
  return rows[from.length]?.[to.length] ?? 0;
}
