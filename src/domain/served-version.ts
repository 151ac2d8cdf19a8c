import { compareText } from './compare-text.ts';

/** A server's version, as the server reports it. */
export interface ServedVersion {
  /** `gitVersion` of its program. */
  readonly version?: string | undefined;
  /** The version that it emulates, such as `1.33`; absent if it serves its program's own version. */
  readonly emulatedVersion?: string | undefined;
}

/**
 * The version of a server's APIs and feature gates, such as `1.33`: the emulated version, or else its program's.
 *
 * Undefined if the server has not reported any.
 */
export function servedMinor({ version, emulatedVersion }: ServedVersion): string | undefined {
  return emulatedVersion ?? minorOf(version);
}

/** Returns `1.36` for `v1.36.3+k3s1`. */
export function minorOf(version: string | undefined): string | undefined {
  return /^v?(\d+\.\d+)/.exec(version ?? '')?.[1];
}

/** Orders by the served version, then by the program's. Unknown versions come first. */
export function compareServedVersions(a: ServedVersion, b: ServedVersion): number {
  return (
    compareVersions(servedMinor(a) ?? '', servedMinor(b) ?? '') || compareVersions(a.version ?? '', b.version ?? '')
  );
}

/** For people: `v1.36.3`, or `v1.36.3 as 1.33` if it emulates 1.33. */
export function showServedVersion({ version, emulatedVersion }: ServedVersion): string | undefined {
  return version === undefined || emulatedVersion === undefined ? version : `${version} as ${emulatedVersion}`;
}

/** Orders by the numbers in the text, so that `v1.9.0` comes before `v1.10.0`, and then as text. */
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
