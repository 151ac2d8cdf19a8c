import { randomBytes } from 'node:crypto';
import { request as httpsRequest } from 'node:https';
import type { ChaosClient, ClientRequest } from '../chaos/client.ts';
import { createHttp1Client, createHttp2Client } from '../chaos/client.ts';

/** The kinds of requests, in the namespaces that `start-scene.ts` fills. */
export const kinds = ['get', 'list', 'watch', 'patch', 'exec'] as const;
export type Kind = (typeof kinds)[number];

/** The results of the requests of one kind. */
export interface Asked {
  readonly requests: number;
  readonly failed: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Counts since they were last taken. */
export interface MixedTally {
  readonly kinds: Readonly<Record<Kind, Asked>>;
  /** The first failures. */
  readonly failures: readonly string[];
}

/** The proxy of the load, and its user. */
export interface LoadAccess {
  readonly url: string;
  readonly ca: string;
  readonly token: string;
}

export const loadNamespace = 'load';
/** The number of ConfigMaps to read and patch. */
export const mapCount = 20;
const maps = `/api/v1/namespaces/${loadNamespace}/configmaps`;
const clientsPerProtocol = 2;
const workersPerClient = 8;
const boundMs = 30_000;
const watchSeconds = 2;
const keptFailures = 20;

/** The weights of the kinds. A watch or an exec mostly waits. */
const weights: Readonly<Record<Kind, number>> = { get: 0.5, list: 0.25, patch: 0.15, watch: 0.08, exec: 0.02 };

function chooseKind(random: () => number): Kind {
  let left = random();
  for (const kind of kinds) {
    left -= weights[kind];
    if (left < 0) return kind;
  }
  return 'get';
}

function requestFor(kind: Exclude<Kind, 'exec'>, token: string, random: () => number): ClientRequest {
  const map = `map-${Math.floor(random() * mapCount)}`;
  const read = (path: string) => ({ method: 'GET', path, token });
  switch (kind) {
    case 'get':
      // Every fourth read is for a resource that the home server does not serve.
      return read(random() < 0.25 ? '/apis/resource.k8s.io/v1/deviceclasses/load' : `${maps}/${map}`);
    case 'list':
      return read(random() < 0.25 ? '/apis/resource.k8s.io/v1/deviceclasses' : maps);
    case 'watch':
      return read(`${maps}?watch=1&timeoutSeconds=${watchSeconds}`);
    case 'patch':
      return {
        method: 'PATCH',
        path: `${maps}/${map}`,
        token,
        body: JSON.stringify({ data: { at: String(random()) } }),
        contentType: 'application/merge-patch+json',
      };
  }
}

/** Runs a command in Pod `web` over WebSocket. Returns an error message, or undefined. */
function exec({ url, ca, token }: LoadAccess): Promise<string | undefined> {
  const { hostname, port } = new URL(url);
  const word = randomBytes(8).toString('hex');
  const path = `/api/v1/namespaces/default/pods/web/exec?command=echo&command=${word}&stdout=true`;
  const headers = {
    Authorization: `Bearer ${token}`,
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
    'Sec-WebSocket-Protocol': 'v4.channel.k8s.io',
  };
  return new Promise((resolve) => {
    const request = httpsRequest({ hostname, port, path, ca, headers, agent: false });
    const bound = setTimeout(() => request.destroy(new Error('no response in time')), boundMs);
    const finish = (failure?: string) => {
      clearTimeout(bound);
      resolve(failure);
    };
    request.once('error', (error) => finish(error.message));
    request.once('response', (response) => {
      response.resume();
      finish(`${response.statusCode}`);
    });
    request.once('upgrade', (_response, socket, head) => {
      let text = head.toString('latin1');
      const look = () => {
        if (!text.includes('"status":"Success"')) return;
        finish(text.includes(word) ? undefined : 'the output of the command is missing');
        socket.destroy();
      };
      socket.on('data', (bytes: Buffer) => {
        text += bytes.toString('latin1');
        look();
      });
      socket.on('error', () => {});
      socket.once('close', () => finish('it ended before the command did'));
      look();
    });
    request.end();
  });
}

/** Sends requests over both protocols, each as soon as the last one is answered. */
export function startMixedLoad(access: LoadAccess, random: () => number, now: () => number): { take(): MixedTally } {
  let took = newTimes();
  let failed = newCounts();
  let failures: string[] = [];
  const ask = async (client: ChaosClient, kind: Kind): Promise<string | undefined> => {
    if (kind === 'exec') return exec(access);
    const { status, text } = await client.ask(requestFor(kind, access.token, random), boundMs);
    return status === 200 ? undefined : `${status} ${text.slice(0, 200)}`;
  };
  const work = async (client: ChaosClient) => {
    for (;;) {
      const kind = chooseKind(random);
      const startedAt = now();
      const failure = await ask(client, kind);
      took[kind].push(now() - startedAt);
      if (failure === undefined) continue;
      failed[kind]++;
      if (failures.length < keptFailures) failures.push(`${kind}: ${failure}`);
    }
  };
  for (const create of [createHttp1Client, createHttp2Client])
    for (let at = 0; at < clientsPerProtocol; at++) {
      const client = create(access.url, access.ca);
      for (let worker = 0; worker < workersPerClient; worker++) void work(client);
    }
  return {
    take: () => {
      const tally = { kinds: summarize(took, failed), failures };
      took = newTimes();
      failed = newCounts();
      failures = [];
      return tally;
    },
  };
}

type Times = Record<Kind, number[]>;
const newTimes = (): Times => ({ get: [], list: [], watch: [], patch: [], exec: [] });
const newCounts = (): Record<Kind, number> => ({ get: 0, list: 0, watch: 0, patch: 0, exec: 0 });

function summarize(took: Times, failed: Readonly<Record<Kind, number>>): MixedTally['kinds'] {
  const of = (kind: Kind): Asked => {
    const times = [...took[kind]].sort((a, b) => a - b);
    const at = (share: number) => times[Math.floor(times.length * share)] ?? 0;
    return { requests: times.length, failed: failed[kind], p50Ms: at(0.5), p99Ms: at(0.99) };
  };
  return { get: of('get'), list: of('list'), watch: of('watch'), patch: of('patch'), exec: of('exec') };
}
