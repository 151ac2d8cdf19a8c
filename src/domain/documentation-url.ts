/** Where a page of `docs/` is to be read by somebody who has no clone: `guides/install.md`. */
export function documentationUrl(page: string): string {
  return `https://peerdiscovery.dev/docs/${page}`;
}
