import { defaultLimits, type ProxyLimits } from '../proxy/limits.ts';
import type { GivenFlags } from './read-flags.ts';

const numbers = {
  'max-connections': 'maxConnections',
  'max-requests-inflight': 'maxRequests',
  'max-long-running-requests': 'maxLongRunning',
  'max-unauthenticated-requests': 'maxUnauthenticated',
  'max-buffered-bytes': 'maxBufferedBytes',
  'http2-max-streams-per-connection': 'maxStreamsPerConnection',
  'max-header-bytes': 'maxHeaderBytes',
  'max-header-fields': 'maxHeaderFields',
  'max-long-header-bytes': 'maxLongHeaderBytes',
} as const satisfies Readonly<Record<string, keyof ProxyLimits>>;

const durations = {
  'request-timeout': 'requestTimeoutMs',
  'read-header-timeout': 'readHeaderTimeoutMs',
  'idle-timeout': 'idleTimeoutMs',
} as const satisfies Readonly<Record<string, keyof ProxyLimits>>;

export const limitOptions = {
  'max-connections': { type: 'string' },
  'max-requests-inflight': { type: 'string' },
  'max-long-running-requests': { type: 'string' },
  'max-unauthenticated-requests': { type: 'string' },
  'max-buffered-bytes': { type: 'string' },
  'http2-max-streams-per-connection': { type: 'string' },
  'max-header-bytes': { type: 'string' },
  'max-header-fields': { type: 'string' },
  'max-long-header-bytes': { type: 'string' },
  'request-timeout': { type: 'string' },
  'read-header-timeout': { type: 'string' },
  'idle-timeout': { type: 'string' },
  'goaway-chance': { type: 'string' },
} as const;

export const limitUsage = `\
  --max-connections N               client connections at once; the proxy closes more (default ${defaultLimits.maxConnections})
  --max-requests-inflight N         requests at once without long-running ones; more get 429 (default ${defaultLimits.maxRequests})
  --max-long-running-requests N     watches, exec and the like at once; more get 429 (default ${defaultLimits.maxLongRunning})
  --max-unauthenticated-requests N  requests at once without a token, or whose token no server has accepted yet. These
                                    have their own places, and as many again for long-running ones (default ${defaultLimits.maxUnauthenticated})
  --max-buffered-bytes N            bytes of requests and answers in memory: at most half for one user, an eighth for
                                    all whose token no server has accepted. Beyond that, the proxy cuts off the largest
                                    (default ${defaultLimits.maxBufferedBytes})
  --http2-max-streams-per-connection N
                                    requests at once on one HTTP/2 connection (default ${defaultLimits.maxStreamsPerConnection})
  --max-header-bytes N              size of a request's head (default ${defaultLimits.maxHeaderBytes})
  --max-header-fields N             header fields of a request (default ${defaultLimits.maxHeaderFields})
  --max-long-header-bytes N         bytes of all request heads together, not counting 64 KiB for each; more get 429
                                    (default ${defaultLimits.maxLongHeaderBytes})
  --request-timeout TIME            for one request with its answer, unless it is long-running; give more than
                                    kube-apiserver's own, which is 1m (default 1m30s)
  --read-header-timeout TIME        for the head of a request to arrive (default 20s)
  --idle-timeout TIME               for a connection without requests (default 3m)
  --goaway-chance SHARE             share of requests, from 0 to 0.02, after which their connection ends and the client
                                    connects again, perhaps to another proxy: by GOAWAY over HTTP/2, and by
                                    "Connection: close" over HTTP/1.1; 0.001 is a good start behind a load balancer.
                                    Leave it at 0 if there is only one proxy (default 0)
`;

/** Reads the given flags over the defaults. Every problem names the flag and its cure. */
export function readLimitFlags(given: GivenFlags<keyof typeof limitOptions>): ProxyLimits {
  const limits: Record<keyof ProxyLimits, number> = { ...defaultLimits };
  for (const flag of namesOf(numbers))
    if (given.text(flag) !== undefined)
      limits[numbers[flag]] = given.number(flag, 1, 999_999_999, 'a whole number above 0');
  for (const flag of namesOf(durations))
    if (given.text(flag) !== undefined)
      limits[durations[flag]] = given.duration(flag, 'a duration such as 30s or 1m30s', 1);
  const chance = given.text('goaway-chance');
  if (chance !== undefined) {
    limits.goawayChance = /^[0-9.]+(?:e-?[0-9]+)?$/i.test(chance) ? Number(chance) : Number.NaN;
    if (!(limits.goawayChance >= 0 && limits.goawayChance <= 0.02))
      given.problems.push('--goaway-chance must be a number from 0 to 0.02, such as 0.001');
  }
  return limits;
}

function namesOf<Flag extends string>(flags: Readonly<Record<Flag, unknown>>): readonly Flag[] {
  return Object.keys(flags) as Flag[];
}
