import { Agent, request } from 'node:https';
import { type Outcome, outcomeOf, type Sample } from './samples.ts';

/** An endpoint of the cluster: a server, or a proxy in front of one. */
export interface Way {
  /** `m1, proxy` */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** True for a proxy of this project. */
  readonly proxied: boolean;
}

/** The credentials of every client of the load, and its trusted authorities. */
export interface Credentials {
  /** All trusted authorities, PEM. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** The answer to a request. */
export interface Answer {
  /** 0 without an answer. */
  readonly status: number;
  readonly body: string;
  /** The reason if there was no answer. */
  readonly error?: string;
}

/** Sends requests to one endpoint over kept connections. */
export interface Client {
  readonly way: Way;
  send(method: string, path: string, body?: object, timeoutMs?: number): Promise<Answer>;
  /**
   * Follows a watch line by line. Resolves when it ends, for whatever reason, to the status of its answer, or 0 without
   * one.
   */
  watch(path: string, onLine: (line: string) => void): Promise<number>;
  /** Uses other credentials for new connections. Running requests go on. */
  renew(credentials: Credentials): void;
  close(): void;
}

/** How long a client of the load waits for an answer. */
const patienceMs = 20_000;

/** An administrator's client for one endpoint. */
export function createClient(way: Way, credentials: Credentials): Client {
  const makeAgent = ({ ca, cert, key }: Credentials) => new Agent({ keepAlive: true, ca, cert, key });
  const agents = [makeAgent(credentials)];
  const open = (method: string, path: string, hasBody: boolean) =>
    request({
      agent: agents.at(-1),
      host: way.host,
      port: way.port,
      method,
      path,
      headers: { accept: 'application/json', ...(hasBody ? { 'content-type': 'application/json' } : {}) },
    });
  return {
    way,
    send: (method, path, body, timeoutMs = patienceMs) =>
      new Promise((resolve) => {
        const sent = open(method, path, body !== undefined);
        const end = (answer: Answer) => {
          clearTimeout(timer);
          resolve(answer);
        };
        const timer = setTimeout(() => {
          // The request's own events may never come, and then the load would never end.
          end({ status: 0, body: '', error: 'no answer' });
          sent.destroy();
        }, timeoutMs);
        // With `once`, a second error would have no listener and end the whole run.
        sent.on('error', (error: Error) => end({ status: 0, body: '', error: error.message }));
        sent.once('response', (response) => {
          let text = '';
          response.setEncoding('utf8').on('data', (part: string) => {
            text += part;
          });
          response.on('error', (error) => end({ status: 0, body: text, error: error.message }));
          response.once('end', () => end({ status: response.statusCode ?? 0, body: text }));
          response.once('close', () => end({ status: 0, body: text, error: 'the response ended early' }));
        });
        sent.end(body === undefined ? undefined : JSON.stringify(body));
      }),
    watch: (path, onLine) =>
      new Promise((resolve) => {
        const sent = open('GET', path, false);
        // A watch without any event for this long counts as dead, as with TCP keep-alive or HTTP/2 pings.
        const idle = () => {
          end();
          sent.destroy();
        };
        let timer = setTimeout(idle, 60_000);
        let status = 0;
        const end = () => {
          clearTimeout(timer);
          resolve(status);
        };
        sent.on('error', end);
        sent.once('close', end);
        sent.once('response', (response) => {
          status = response.statusCode ?? 0;
          let rest = '';
          response.setEncoding('utf8').on('data', (text: string) => {
            clearTimeout(timer);
            timer = setTimeout(idle, 60_000);
            const lines = (rest + text).split('\n');
            rest = lines.pop() ?? '';
            if (status !== 200) return;
            try {
              for (const line of lines) if (line !== '') onLine(line);
            } catch {
              // An unreadable line ends this watch, not the run.
              end();
              sent.destroy();
            }
          });
          response.on('error', end);
          response.once('end', end);
        });
        sent.end();
      }),
    renew: (fresh) => void agents.push(makeAgent(fresh)),
    close: () => {
      for (const agent of agents) agent.destroy();
    },
  };
}

/** Sends a request, and records when it was sent and how it ended. */
export async function measure(
  client: Client,
  kind: Sample['kind'],
  [method, path, body]: readonly [string, string, object?],
): Promise<{ readonly sample: Sample; readonly answer: Answer }> {
  const startedAt = Date.now();
  const answer = await client.send(method, path, body);
  const { name: way, proxied } = client.way;
  const tookMs = Date.now() - startedAt;
  const outcome: Outcome = outcomeOf(answer.status, tookMs);
  const { status, error } = answer;
  return { sample: { way, proxied, kind, startedAt, tookMs, status, outcome, error }, answer };
}
