/** The URL of the folder `docs/`, with a slash at its end. A release build sets it (`make release DOCS=…`). */
declare const RELEASE_DOCS: string | undefined;

/**
 * The place of a page of `docs/`, such as `guides/install.md`.
 *
 * Without the URL of a release, it names the copy in the same package or archive. The project owns no domain, and a
 * stranger could register an invented one.
 */
export function documentationUrl(page: string): string {
  return pageAt(typeof RELEASE_DOCS === 'string' ? RELEASE_DOCS : '', page);
}

/** The same for a given URL; `''` means none. */
export function pageAt(address: string, page: string): string {
  return address === '' ? `docs/${page}, which comes with this program` : `${address}${page}`;
}
