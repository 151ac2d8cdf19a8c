import { X509Certificate } from 'node:crypto';

/**
 * Reads the distinct certificates of a CA file, like Go's `AppendCertsFromPEM`: it skips text between blocks, blocks of
 * another kind and unreadable blocks. Throws if none is left, because Node would then trust its own store.
 */
export function readAnchors(pem: string): X509Certificate[] {
  const anchors = new Map<string, X509Certificate>();
  for (const block of pemCertificates(pem)) {
    const certificate = tryReadCertificate(block);
    if (certificate !== undefined) anchors.set(certificate.fingerprint256, certificate);
  }
  if (anchors.size === 0) throw new Error('there is no certificate in it');
  return [...anchors.values()];
}

/** The blocks of a CA file that Go tries to read as certificates. Go skips blocks with headers. */
export function pemCertificates(pem: string): readonly string[] {
  return pem.match(/-----BEGIN CERTIFICATE-----[^-:]+-----END CERTIFICATE-----/g) ?? [];
}

/** One set of trust anchors, as options for Node's `createSecureContext` and `connect`. */
export interface AnchorOptions {
  readonly ca: string[];
  readonly allowPartialTrustChain: true;
}

/**
 * Sets of anchors for verifying a server, in the order to try. The server is trusted if one set verifies it.
 *
 * Go trusts every certificate of a CA file, even an intermediate, and tries every chain. OpenSSL follows the first
 * issuer with the right name, and fails if that was the wrong one. So the first set is the whole file. In the other
 * sets no two certificates share a name, and each set exists without intermediates too, because these could hide the
 * ones that the server sends. All anchors come from the file, so no set trusts more than the file lists.
 */
export function anchorSets(pem: string): readonly [AnchorOptions, ...AnchorOptions[]] {
  const anchors = readAnchors(pem);
  const bySubject = Map.groupBy(anchors, ({ subject }) => subject);
  const depth = Math.max(...[...bySubject.values()].map(({ length }) => length));
  const distinct = Array.from({ length: depth }, (_, at) =>
    [...bySubject.values()].flatMap((namesakes) => namesakes[at] ?? []),
  );
  const sets = [anchors, ...distinct, ...distinct.map((set) => set.filter(isRoot))];
  const unique = new Map(
    sets
      .filter(({ length }) => length > 0)
      .map((set) => [
        set
          .map(({ fingerprint256 }) => fingerprint256)
          .sort()
          .join(),
        set,
      ]),
  );
  const [first, ...others] = [...unique.values()].map(toOptions);
  return [first ?? toOptions(anchors), ...others];
}

/** True if OpenSSL found no chain to an anchor. Another set of anchors may have one. */
function isChainFault(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause)
    if (chainFaults.has(String((at as NodeJS.ErrnoException).code))) return true;
  return false;
}

/** Calls `open` with one item after another until one has no chain fault. */
export type TryEach<Item> = <Result>(server: string, open: (item: Item) => Promise<Result>) => Promise<Result>;

/** For each server, it starts with the item that last succeeded. */
export function tryEach<Item>(items: readonly [Item, ...Item[]]): TryEach<Item> {
  const good = new Map<string, Item>();
  return async (server, open) => {
    const before = good.get(server) ?? items[0];
    let fault: unknown;
    for (const item of [before, ...items.filter((other) => other !== before)]) {
      try {
        const result = await open(item);
        if (item !== before) good.set(server, item);
        return result;
      } catch (error) {
        // The first fault is the most useful one: it comes from the whole file.
        fault ??= error;
        if (!isChainFault(error)) throw error;
      }
    }
    throw fault;
  };
}

/** Undefined if the block is not a certificate. */
export function tryReadCertificate(block: string): X509Certificate | undefined {
  try {
    return new X509Certificate(block);
  } catch {
    return undefined;
  }
}

function isRoot({ subject, issuer }: X509Certificate): boolean {
  return subject === issuer;
}

function toOptions(anchors: readonly X509Certificate[]): AnchorOptions {
  return { ca: anchors.map((anchor) => anchor.toString()), allowPartialTrustChain: true };
}

/** Node's names for OpenSSL's verdicts on a chain. */
const chainFaults: ReadonlySet<string> = new Set([
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_DECRYPT_CERT_SIGNATURE',
  'UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_SIGNATURE_FAILURE',
  'CERT_NOT_YET_VALID',
  'CERT_HAS_EXPIRED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'CERT_CHAIN_TOO_LONG',
  'INVALID_CA',
  'PATH_LENGTH_EXCEEDED',
  'INVALID_PURPOSE',
  'CERT_UNTRUSTED',
  'CERT_REJECTED',
  'UNSPECIFIED',
]);
