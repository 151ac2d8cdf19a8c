import { type Agent, request as httpsRequest } from 'node:https';

/** What to send, and how to know the server. */
export interface RequestToSend {
  readonly url: string;
  readonly method?: string;
  readonly ca: Buffer | string;
  /** Name that the server's certificate must have. */
  readonly serverName: string;
  readonly token: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Connections to keep; one of its own unless given. */
  readonly agent?: Agent;
  /** Ends it early. */
  readonly signal?: AbortSignal | undefined;
}

/** An answer, read whole. */
export interface WholeAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** Sends one request with a bearer token over TLS and reads the answer. */
export function sendRequest(options: RequestToSend): Promise<WholeAnswer> {
  const { url, method = 'GET', ca, serverName, token, headers, body, agent, signal } = options;
  return new Promise((resolve, reject) => {
    const all = { authorization: `Bearer ${token}`, 'user-agent': 'simulated-fleet', ...headers };
    const settings = { method, ca, servername: serverName, headers: all, agent: agent ?? false, signal };
    const request = httpsRequest(url, settings, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.once('error', reject);
      response.once('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }));
    });
    request.once('error', reject);
    request.end(body);
  });
}
