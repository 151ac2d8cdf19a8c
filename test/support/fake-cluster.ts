import type { PeerDiscovery } from '../../src/api/peer-discovery.ts';
import type { RoutingBundle } from '../../src/domain/routing-table.ts';
import {
  type AccessQuestion,
  type Cluster,
  type PluginContext,
  PluginError,
  type ServerInspection,
  type StatusPage,
} from '../../src/plugin/ports.ts';

/** The content of a fake cluster. Tests change it. */
export interface FakeCluster {
  readonly objects: Map<string, unknown>;
  bundle: RoutingBundle | undefined;
  metrics: string;
  /** The answers of certain servers at `/metrics`, by address. */
  readonly metricsOf: Map<string, string>;
  denies: (question: AccessQuestion) => boolean;
  inspections: Map<string, ServerInspection>;
  watched: readonly (PeerDiscovery | undefined)[];
  page: () => StatusPage;
  /** Paths that this user may not read; `review` stands for asking about the rights of others. */
  refuses: (path: string) => boolean;
}

/** A cluster without I/O for the kubectl plugin, and the output of a command. */
export function fakePlugin(now: number, files: Readonly<Record<string, string>> = {}) {
  const fake: FakeCluster = {
    objects: new Map(),
    bundle: undefined,
    metrics: '',
    metricsOf: new Map(),
    denies: () => false,
    inspections: new Map(),
    watched: [],
    refuses: () => false,
    page: () => ({ contentType: 'text/html', policy: '', body: Buffer.from('the page') }),
  };
  const allow = (path: string) => {
    if (fake.refuses(path)) throw new PluginError(`${path} is forbidden`, 'ask for a role', { refused: true });
  };
  const cluster: Cluster = {
    serverUrl: 'https://api.example:6443',
    get: async (path) => {
      allow(path);
      return fake.objects.get(path) as never;
    },
    list: async (path) => {
      allow(path);
      return [...fake.objects].filter(([key]) => key.startsWith(`${path}/`)).map(([, object]) => object) as never;
    },
    text: async () => fake.metrics,
    textOf: async ({ address }, path) => {
      allow(`${address}${path}`);
      return fake.metricsOf.get(address) ?? '';
    },
    may: async (question) => {
      allow('review');
      return !fake.denies(question);
    },
    readBundle: async () => {
      allow('bundle');
      return fake.bundle === undefined ? { ok: false, reason: 'it does not exist' } : { ok: true, bundle: fake.bundle };
    },
    watchObject: async (_name, onChange) => {
      for (const object of fake.watched) onChange(object);
    },
    statusPage: () => async () => fake.page(),
    inspectServer: async (address) =>
      fake.inspections.get(address) ?? { kind: 'unreachable', message: 'connect ECONNREFUSED' },
    close: async () => {},
  };
  const written = { stdout: '', stderr: '' };
  const readFile = async (path: string) => {
    const text = files[path];
    if (text === undefined) throw new Error(`ENOENT: ${path}`);
    return text;
  };
  const context: PluginContext = {
    connect: () => cluster,
    readFile,
    async *readLines(path) {
      yield* (await readFile(path)).split('\n');
    },
    serveDashboard: async () => 'http://127.0.0.1:1/secret/',
    stdout: (text) => {
      written.stdout += text;
    },
    stderr: (text) => {
      written.stderr += text;
    },
    color: false,
    columns: undefined,
    version: '0.1.0',
    now: () => now,
    signal: new AbortController().signal,
  };
  return { fake, context, written };
}
