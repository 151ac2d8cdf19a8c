import type { GroupDiscovery } from '../../src/domain/discovery-document.ts';

/** The faults of a server's answers. Crashes, draining and false certificates are methods of the server instead. */
export type Fault =
  /** The server accepts every request and never answers. */
  | { readonly kind: 'hang' }
  /** The server answers every request late. */
  | { readonly kind: 'slow'; readonly delayMs: number }
  /** `/readyz` answers 500; everything else works. */
  | { readonly kind: 'notReady' }
  /** The discovery is wrong. */
  | { readonly kind: 'garbage'; readonly body: GarbageBody }
  /** Discovery omits served resources, given as `group/version/resource`, and lists others that are not served. */
  | { readonly kind: 'lie'; readonly hidden: readonly string[]; readonly invented: readonly GroupDiscovery[] };

/** The bytes that replace a discovery document. */
export type GarbageBody = 'endless' | 'gigabyte' | 'wrongTypes' | 'notJson' | 'halfBody';

/** The discovery list of a lying server. */
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

/** The bytes of a garbage body, which may never end; `breakOff` says that the connection breaks. */
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
