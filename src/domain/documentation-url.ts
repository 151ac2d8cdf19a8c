/** The address of the folder `docs/`, ending with a slash: put in by a release build (`make release DOCS=…`). */
declare const RELEASE_DOCS: string | undefined;

/**
 * Where a page of `docs/` is to be read: `guides/install.md`.
 *
 * Without a release's address, it is the copy in the same package or archive: the project owns no domain, so that an
 * address made up here could become a stranger's.
 */
export function documentationUrl(page: string): string {
  return pageAt(typeof RELEASE_DOCS === 'string' ? RELEASE_DOCS : '', page);
}

/** The same for a given address; `''` is none. */
export function pageAt(address: string, page: string): string {
  return address === '' ? `docs/${page}, which comes with this program` : `${address}${page}`;
}
