/** Minors of Kubernetes that the simulated fleet knows. */
export const simulatedVersions = [
  '1.27',
  '1.28',
  '1.29',
  '1.30',
  '1.31',
  '1.32',
  '1.33',
  '1.34',
  '1.35',
  '1.36',
] as const;

/** One minor of Kubernetes. */
export type SimulatedVersion = (typeof simulatedVersions)[number];

/** Differences between versions besides their APIs. */
export interface VersionProfile {
  readonly gitVersion: string;
  /** Forms of aggregated discovery, best first; empty if the server has only the legacy form. */
  readonly aggregatedForms: readonly ('v2' | 'v2beta1')[];
  /** True if its identity Lease contains its address. */
  readonly annotatesLease: boolean;
  /** True if a clean shutdown deletes its identity Lease. */
  readonly deletesLease: boolean;
}

/**
 * The behaviour of a server of this version.
 *
 * Aggregated discovery is v2beta1 from 1.26, v2 from 1.30, and without v2beta1 from 1.33 (KEP-3352). Leases contain an
 * address from 1.36 (KEP-4020).
 */
export function versionProfile(version: SimulatedVersion, legacyOnly = false): VersionProfile {
  const minor = Number(version.split('.')[1]);
  const forms = [...(minor >= 30 ? (['v2'] as const) : []), ...(minor < 33 ? (['v2beta1'] as const) : [])];
  return {
    gitVersion: `v${version}.${minor >= 36 ? 3 : 0}`,
    aggregatedForms: legacyOnly ? [] : forms,
    annotatesLease: minor >= 36,
    deletesLease: minor >= 36,
  };
}
