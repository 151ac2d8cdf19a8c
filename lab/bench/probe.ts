import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';

/** One answer. `status` 0 means no answer. Times are those of `performance.now()`. */
export interface Answer {
  readonly askedAtMs: number;
  readonly answeredAtMs: number;
  readonly status: number;
  readonly body: string;
}

/** Requests one URL over one kept connection, one request at a time. A failure is an answer with status 0. */
export interface Probe {
  ask(): Promise<Answer>;
  close(): void;
}

/** Options of a probe. */
export interface ProbeOptions {
  readonly url: string;
  readonly token: string;
  readonly caFile: string;
}

/** Opens a probe. It sends nothing before the first `ask`. */
export function openProbe({ url, token, caFile }: ProbeOptions): Probe {
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: readFileSync(caFile) });
  const headers = { authorization: `Bearer ${token}`, accept: 'application/json', 'user-agent': 'peerdiscovery-bench' };
  return {
    ask: () =>
      new Promise((resolve) => {
        const askedAtMs = performance.now();
        const settle = (status: number, body = '') =>
          resolve({ askedAtMs, answeredAtMs: performance.now(), status, body });
        const outgoing = request(url, { agent, headers, timeout: 5_000 }, (response) => {
          let body = '';
          response.setEncoding('utf8');
          response.on('data', (text: string) => (body += text));
          response.once('error', () => settle(0));
          response.once('end', () => settle(response.statusCode ?? 0, body));
        });
        outgoing.once('timeout', () => outgoing.destroy(new Error('no answer within 5 s')));
        outgoing.once('error', () => settle(0));
        outgoing.end();
      }),
    close: () => agent.destroy(),
  };
}

/** Asks until `passes` accepts an answer; undefined if none did within `boundMs`. */
export async function askUntil(
  probe: Probe,
  passes: (answer: Answer) => boolean,
  { everyMs, boundMs }: { readonly everyMs: number; readonly boundMs: number },
): Promise<Answer | undefined> {
  const end = performance.now() + boundMs;
  while (performance.now() < end) {
    const answer = await probe.ask();
    if (passes(answer)) return answer;
    await sleep(everyMs);
  }
  return undefined;
}

/** A probe that runs in the background and keeps the status of every answer. */
export interface Recording {
  readonly answers: readonly Answer[];
  stop(): Promise<void>;
}

/** Asks every `everyMs` until stopped. */
export function record(options: ProbeOptions, everyMs: number): Recording {
  const probe = openProbe(options);
  const answers: Answer[] = [];
  let stopped = false;
  const running = (async () => {
    while (!stopped) {
      const answer = await probe.ask();
      answers.push({ ...answer, body: '' });
      await sleep(everyMs);
    }
  })();
  return {
    answers,
    async stop() {
      stopped = true;
      await running;
      probe.close();
    },
  };
}

/** Counts the answers by status, for requests sent from `fromMs` on and before `toMs`. */
export function countStatuses(answers: readonly Answer[], fromMs: number, toMs: number): ReadonlyMap<number, number> {
  const counts = new Map<number, number>();
  for (const { askedAtMs, status } of answers)
    if (askedAtMs >= fromMs && askedAtMs < toMs) counts.set(status, (counts.get(status) ?? 0) + 1);
  return counts;
}
