import {
  type ChaosClient,
  type ClientAnswer,
  type ClientRequest,
  createHttp1Client,
  createHttp2Client,
} from './client.ts';
import type { Answer, Ask, Asked } from './oracle.ts';

/** A proxy to load. */
export interface Target {
  readonly name: string;
  readonly url: string;
}

/** The inputs of the load. */
export interface LoadOptions {
  readonly targets: readonly Target[];
  readonly ca: string;
  readonly tokens: Readonly<Record<'admin' | 'reader', string>>;
  readonly random: () => number;
  readonly now: () => number;
  readonly onAsked: (asked: Asked) => void;
  /** The round of the writes at this moment. */
  readonly round: () => number;
}

/** A label of every object that the load writes; its value is the id of the write. */
export const writeLabel = 'chaos.example/id';
/** A second label; its value is the round of the write. */
export const roundLabel = 'chaos.example/round';

const aggregated = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';
const workersPerClient = 4;
const paceMs = 120;
const boundMs = 30_000;
const watchSeconds = 4;

/** Paths to read, by resource. */
const readable: Readonly<Record<string, string>> = {
  configmaps: '/api/v1/namespaces/default/configmaps?limit=5',
  jobs: '/apis/batch/v1/namespaces/default/jobs',
  resourceclaims: '/apis/resource.k8s.io/v1/resourceclaims',
  widgets: '/apis/chaos.example/v1/namespaces/default/widgets',
};

function chooseAsk(random: () => number, nextId: () => string, round: number): Ask {
  const resources = Object.keys(readable);
  const resource = resources[Math.floor(random() * resources.length)] ?? 'configmaps';
  const roll = random();
  if (roll < 0.5) return { kind: 'read', resource };
  if (roll < 0.6) return { kind: 'watch', resource };
  if (roll < 0.7) return { kind: 'unserved' };
  if (roll < 0.77) return { kind: 'discovery' };
  if (roll < 0.9) return { kind: 'write', id: nextId(), round };
  if (roll < 0.96) return { kind: 'identity', user: random() < 0.5 ? 'admin' : 'reader' };
  return { kind: 'forbidden' };
}

function requestFor(ask: Ask, tokens: LoadOptions['tokens'], asReader: boolean): ClientRequest {
  const get = (path: string, token = tokens.admin) => ({ method: 'GET', path, token });
  const post = (path: string, body: object, token = tokens.admin) => ({
    method: 'POST',
    path,
    token,
    body: JSON.stringify(body),
  });
  switch (ask.kind) {
    case 'read':
      return get(readable[ask.resource] ?? '', asReader ? tokens.reader : tokens.admin);
    case 'watch': {
      const path = readable[ask.resource] ?? '';
      const query = `watch=1&timeoutSeconds=${watchSeconds}`;
      return get(`${path}${path.includes('?') ? '&' : '?'}${query}`);
    }
    case 'unserved':
      return get('/apis/nobody.example/v1/things');
    case 'discovery':
      return { ...get('/apis'), accept: aggregated };
    case 'write':
      return post('/api/v1/namespaces/default/configmaps', {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { generateName: 'chaos-', labels: { [writeLabel]: ask.id, [roundLabel]: `${ask.round}` } },
      });
    case 'identity':
      return post(
        '/apis/authentication.k8s.io/v1/selfsubjectreviews',
        { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' },
        ask.user === 'reader' ? tokens.reader : tokens.admin,
      );
    case 'forbidden':
      return get('/api/v1/namespaces/default/secrets', tokens.reader);
  }
}

interface Body {
  readonly kind?: string;
  readonly message?: string;
  readonly items?: readonly {
    readonly metadata?: { readonly name?: string };
    readonly versions?: readonly { readonly version?: string }[];
  }[];
  readonly status?: { readonly userInfo?: { readonly username?: string } };
}

function parse(text: string): Body {
  try {
    return JSON.parse(text) as Body;
  } catch {
    return {};
  }
}

function readAnswer(ask: Ask, { status, retryAfter, text }: ClientAnswer): Answer {
  const body = ask.kind === 'watch' && status === 200 ? {} : parse(text);
  const names = () => {
    if (ask.kind === 'discovery')
      return (body.items ?? []).flatMap(({ metadata, versions }) =>
        (versions ?? []).map(({ version }) => `${metadata?.name}/${version}`),
      );
    return ask.kind === 'identity' ? [body.status?.userInfo?.username ?? 'nobody'] : [];
  };
  return {
    status,
    retryAfter,
    isStatus: body.kind === 'Status',
    message: body.message ?? '',
    names: status < 300 ? names() : [],
  };
}

/** Sends requests to every proxy over both protocols until `end` is called. `end` resolves after the last answer. */
export function startLoad(options: LoadOptions): { end(): Promise<void> } {
  const { targets, ca, tokens, random, now, onAsked, round } = options;
  let running = true;
  let ids = 0;
  const nextId = () => `w${ids++}`;
  const clients: ChaosClient[] = [];

  async function work(target: Target, client: ChaosClient): Promise<void> {
    while (running) {
      const ask = chooseAsk(random, nextId, round());
      const fromMs = now();
      const given = await client.ask(requestFor(ask, tokens, random() < 0.5), boundMs);
      onAsked({ ask, proxy: target.name, fromMs, toMs: now(), answer: readAnswer(ask, given) });
      await new Promise((resolve) => setTimeout(resolve, paceMs * (0.5 + random())));
    }
  }

  const workers = targets.flatMap((target) =>
    [createHttp1Client, createHttp2Client].flatMap((create) => {
      const client = create(target.url, ca);
      clients.push(client);
      return Array.from({ length: workersPerClient }, () => work(target, client));
    }),
  );
  return {
    async end() {
      running = false;
      await Promise.all(workers);
      for (const client of clients) client.close();
    },
  };
}
