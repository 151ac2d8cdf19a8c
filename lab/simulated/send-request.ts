import { type Agent, request as httpsRequest } from 'node:https';

/** The request to send, and how to identify the server. */
export interface RequestToSend {
  readonly url: string;
  readonly method?: string;
  readonly ca: Buffer | string;
  /** The name that the server's certificate must have. */
  readonly serverName: string;
  readonly token: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Kept connections; by default a new one. */
  readonly agent?: Agent;
  /** Aborts the request. */
  readonly signal?: AbortSignal | undefined;
}

/** An answer that was read completely. */
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
