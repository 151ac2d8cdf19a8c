import { compareText } from './compare-text.ts';

/** What a server says of its version. */
export interface ServedVersion {
  /** `gitVersion` of its program. */
  readonly version?: string | undefined;
  /** The version that it emulates, such as `1.33`; absent where that is its program's own. */
  readonly emulatedVersion?: string | undefined;
}

/**
 * The version whose APIs and feature gates a server has, as `1.33`: the one that it emulates, else its program's.
 *
 * Undefined if it has not said.
 */
export function servedMinor({ version, emulatedVersion }: ServedVersion): string | undefined {
  return emulatedVersion ?? minorOf(version);
}

/** `1.36` of `v1.36.3+k3s1`. */
export function minorOf(version: string | undefined): string | undefined {
  return /^v?(\d+\.\d+)/.exec(version ?? '')?.[1];
}

/** Orders by the version that is served, then by the program's; who has not said comes first. */
export function compareServedVersions(a: ServedVersion, b: ServedVersion): number {
  return (
    compareVersions(servedMinor(a) ?? '', servedMinor(b) ?? '') || compareVersions(a.version ?? '', b.version ?? '')
  );
}

/** For people: `v1.36.3`, or `v1.36.3 as 1.33` where it emulates that. */
export function showServedVersion({ version, emulatedVersion }: ServedVersion): string | undefined {
  return version === undefined || emulatedVersion === undefined ? version : `${version} as ${emulatedVersion}`;
}

/** Orders by the numbers in them, so that `v1.9.0` is before `v1.10.0`; then as text. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [numbersOf(a), numbersOf(b)];
  for (let index = 0; index < 4; index += 1) {
    const difference = (left[index] ?? -1) - (right[index] ?? -1);
    if (difference !== 0) return difference;
  }
  return compareText(a, b);
}

function numbersOf(version: string): readonly number[] {
  return (version.match(/\d+/g) ?? []).slice(0, 4).map(Number);
}
