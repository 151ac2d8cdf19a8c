import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { createHttp1Client, createHttp2Client } from '../chaos/client.ts';

/** The requests of others during a measurement, and how they were answered. */
export interface Served {
  readonly requests: number;
  /** Requests without an answer, or with a status other than 200. */
  readonly failed: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** The users of a proxy. */
export interface UsersScene {
  /** The URL of the proxy. */
  readonly url: string;
  readonly caFile: string;
  /** Tokens of two users that the servers know. */
  readonly tokens: readonly string[];
  /** The path that these users request. */
  readonly paths: readonly string[];
  readonly now: () => number;
}

/** The wait after which a request has failed. */
export const answerBoundMs = 20_000;

/** Counts the requests and orders their waits. Without any request, the wait is the whole time. */
export function summarize(tookMs: readonly number[], failed: number, forSeconds: number): Served {
  const sorted = tookMs.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor(sorted.length * share)] ?? forSeconds * 1_000;
  return { requests: sorted.length, failed, p50Ms: at(0.5), p99Ms: at(0.99) };
}

/** Two users, each over both protocols, send one request after another on kept connections, and some on new ones. */
export async function serveUsers({ url, caFile, tokens, paths, now }: UsersScene, forSeconds: number): Promise<Served> {
  const ca = readFileSync(caFile, 'utf8');
  const until = now() + forSeconds * 1_000;
  const took: number[] = [];
  let failed = 0;
  const ask = async (make: typeof createHttp1Client, token: string, renews: boolean) => {
    let client = make(url, ca);
    for (let at = 0; now() < until; at++) {
      const started = now();
      const { status } = await client.ask(
        { method: 'GET', path: paths[at % paths.length] ?? '', token },
        answerBoundMs,
      );
      took.push(now() - started);
      if (status !== 200) failed++;
      await sleep(20);
      if (!renews || at % 5 !== 4) continue;
      client.close();
      client = make(url, ca);
    }
    client.close();
  };
  const clients = [createHttp1Client, createHttp2Client];
  await Promise.all(
    clients.flatMap((make) => tokens.flatMap((token) => [false, true].map((renews) => ask(make, token, renews)))),
  );
  return summarize(took, failed, forSeconds);
}
