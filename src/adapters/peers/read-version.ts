import { minorOf, type ServedVersion } from '../../domain/served-version.ts';

/**
 * Reads the answer of `/version`. Undefined if it is not a version.
 *
 * Servers of 1.33 and later report the version that they emulate, which is nearly always their own. Source: `Info` in
 * `pkg/version/types.go` of k8s.io/apimachinery.
 */
export function readVersion(value: unknown): ServedVersion | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { gitVersion: version, emulationMajor, emulationMinor } = value as Readonly<Record<string, unknown>>;
  if (typeof version !== 'string' || !/^[\w.+-]{1,64}$/.test(version)) return undefined;
  const emulated = `${emulationMajor}.${emulationMinor}`;
  const emulates = /^\d{1,3}\.\d{1,3}$/.test(emulated) && emulated !== minorOf(version);
  return { version, ...(emulates && { emulatedVersion: emulated }) };
}
