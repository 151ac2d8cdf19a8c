import type { GroupDiscovery } from '../../src/domain/discovery-document.ts';

/** How a server misbehaves; crashing, draining and false certificates are acts of the server, not answers. */
export type Fault =
  /** Takes every request and never answers. */
  | { readonly kind: 'hang' }
  /** Answers every request late. */
  | { readonly kind: 'slow'; readonly delayMs: number }
  /** `/readyz` says 500; all else works. */
  | { readonly kind: 'notReady' }
  /** Discovery is not what it should be. */
  | { readonly kind: 'garbage'; readonly body: GarbageBody }
  /** Discovery leaves out what is served, given as `group/version/resource`, and lists what is not. */
  | { readonly kind: 'lie'; readonly hidden: readonly string[]; readonly invented: readonly GroupDiscovery[] };

/** What comes instead of a discovery document. */
export type GarbageBody = 'endless' | 'gigabyte' | 'wrongTypes' | 'notJson' | 'halfBody';

/** What a lying server lists. */
export function applyLie(
  groups: readonly GroupDiscovery[],
  { hidden, invented }: Extract<Fault, { kind: 'lie' }>,
): readonly GroupDiscovery[] {
  const listed = groups.flatMap(({ versions = [], ...group }) => {
    const kept = versions.flatMap(({ resources = [], ...version }) => {
      const left = resources.filter(({ resource }) => !hidden.includes(`${group.name}/${version.version}/${resource}`));
      return left.length > 0 ? [{ ...version, resources: left }] : [];
    });
    return kept.length > 0 ? [{ ...group, versions: kept }] : [];
  });
  return [...listed, ...invented];
}

/** The bytes of a garbage body, the last of which may never come; `breakOff` says that the connection is to be cut. */
export function garbageBytes(body: GarbageBody): { readonly chunks: Iterable<Buffer>; readonly breakOff: boolean } {
  const list = '{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","metadata":{},"items":[';
  switch (body) {
    case 'endless':
      return { chunks: repeated(' ', Number.POSITIVE_INFINITY), breakOff: false };
    case 'gigabyte':
      return { chunks: repeated(list, 2 ** 30), breakOff: false };
    case 'wrongTypes':
      return { chunks: [Buffer.from(`${list}{"metadata":{"name":7},"versions":"v1"}]}`)], breakOff: false };
    case 'notJson':
      return { chunks: [Buffer.from('<html><body>It works!</body></html>')], breakOff: false };
    case 'halfBody':
      return { chunks: [Buffer.from(list)], breakOff: true };
  }
}

function* repeated(start: string, bytes: number): Generator<Buffer> {
  yield Buffer.from(start);
  const chunk = Buffer.alloc(64 * 1024, '{"metadata":{"name":"x"}},');
  for (let sent = 0; sent < bytes; sent += chunk.length) yield chunk;
}
