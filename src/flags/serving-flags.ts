import type { GivenFlags } from './read-flags.ts';

/** The serving flags that all programs share. */
export interface ServingFlags {
  /** `host:port`, or undefined for none. */
  readonly healthBindAddress: string | undefined;
  readonly metricsBindAddress: string | undefined;
  /** HTTPS with a review of access, or plain HTTP for everybody. */
  readonly metricsSecure: boolean;
  readonly logFormat: 'text' | 'json';
  readonly logLevel: 'error' | 'warn' | 'info' | 'debug';
}

export const servingOptions = {
  'metrics-bind-address': { type: 'string', default: '0' },
  'metrics-secure': { type: 'string', default: 'true' },
  'log-format': { type: 'string', default: 'json' },
  'log-level': { type: 'string', default: 'info' },
} as const;

/** Reads these flags. `--health-bind-address` has a different default in each program. */
export function readServingFlags(given: GivenFlags<keyof typeof servingOptions | 'health-bind-address'>): ServingFlags {
  return {
    healthBindAddress: given.endpoint('health-bind-address'),
    metricsBindAddress: given.endpoint('metrics-bind-address'),
    metricsSecure: given.oneOf('metrics-secure', ['true', 'false']) === 'true',
    logFormat: given.oneOf('log-format', ['json', 'text']),
    logLevel: given.oneOf('log-level', ['info', 'error', 'warn', 'debug']),
  };
}
