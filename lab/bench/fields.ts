import { readFileSync } from 'node:fs';
import { createSecureServer, type Http2SecureServer } from 'node:http2';
import { Agent, request as httpsRequest } from 'node:https';
import { availableParallelism, release } from 'node:os';
import { buildProduct } from '../build/build-product.ts';
import { issue, type KeyPair, makeAuthority } from '../plane/certificates.ts';
import { type FrontSetting, startRouting } from './fronts.ts';
import { cpuSeconds } from './load.ts';
import { median } from './median.ts';
import { inFolder, publishReport } from './run-bench.ts';

/** How the servers know the fields of a kind, and so where its requests go. */
const kinds = {
  configmaps: { what: 'equal everywhere, or `fieldSkew: Ignore`: home', fields: {} },
  services: { what: 'different; home knows all fields: home', fields: { writers: [0], standIns: [] } },
  pods: { what: 'different; only the other server knows all: there', fields: { writers: [1], standIns: [] } },
} as const;
type Kind = keyof typeof kinds;
const names = Object.keys(kinds) as Kind[];
const methods = ['GET', 'PUT'] as const;
type Method = (typeof methods)[number];

const ports = { home: 20_101, other: 20_102, proxy: 20_103 };
const turns = 5;
const requestsPerTurn = 2_400;
const connections = 8;
const body = JSON.stringify({ kind: 'Thing', padding: 'x'.repeat(1_000) });

interface Sample {
  readonly cpuUs: number;
  readonly p50Ms: number;
}

function startServer({ cert, key }: KeyPair, port: number): Promise<Http2SecureServer> {
  // As in kube-apiserver, an idle connection stays open while the other kinds take their turns.
  const http1Options = { keepAliveTimeout: 120_000 };
  const server = createSecureServer({
    cert: readFileSync(cert),
    key: readFileSync(key),
    allowHTTP1: true,
    http1Options,
  });
  server.on('request', (request, response) => {
    request.resume();
    request.on('end', () => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': String(body.length) });
      response.end(body);
    });
  });
  return new Promise((resolve) => server.listen(port, '127.0.0.1', () => resolve(server)));
}

/** Sends requests one after another over each of a few kept connections. */
async function load(agent: Agent, kind: Kind, method: Method, pid: number): Promise<Sample> {
  const path = `/api/v1/namespaces/default/${kind}/one`;
  const took: number[] = [];
  const once = () =>
    new Promise<void>((resolve, reject) => {
      const startedAt = performance.now();
      const headers = { authorization: `Bearer ${'t'.repeat(800)}`, 'content-type': 'application/json' };
      const options = { host: '127.0.0.1', port: ports.proxy, path, method, agent, headers };
      const request = httpsRequest(options, (response) => {
        response.resume();
        response.once('end', () => {
          took.push(performance.now() - startedAt);
          if (response.statusCode === 200) resolve();
          else reject(new Error(`${method} ${path}: ${response.statusCode}`));
        });
      });
      request.once('error', reject);
      request.end(method === 'PUT' ? body : undefined);
    });
  const before = cpuSeconds([pid]);
  const each = Array.from({ length: connections }, async () => {
    for (let at = 0; at < requestsPerTurn / connections; at += 1) await once();
  });
  await Promise.all(each);
  took.sort((a, b) => a - b);
  return {
    cpuUs: ((cpuSeconds([pid]) - before) * 1e6) / took.length,
    p50Ms: took[Math.floor(took.length / 2)] ?? Number.NaN,
  };
}

/** One turn of each kind after the other, so that a slow moment of the machine hits all of them. */
async function measure(setting: FrontSetting): Promise<ReadonlyMap<string, readonly Sample[]>> {
  const resources = names.map((resource) => ({
    ...{ resource, peers: [0, 1], subresources: {}, scope: 'Namespaced' as const },
    ...kinds[resource].fields,
  }));
  const peers = (['home', 'other'] as const).map((id) => ({
    ...{ id, address: `127.0.0.1:${ports[id]}`, state: 'Ready' as const },
  }));
  const groupVersions = [{ group: '', version: 'v1', origin: 'BuiltIn' as const, resources }];
  const proxy = await startRouting(setting, ports.proxy, { home: `127.0.0.1:${ports.home}`, peers, groupVersions });
  const agent = new Agent({ keepAlive: true, maxSockets: connections, ca: readFileSync(setting.caFile) });
  const samples = new Map<string, Sample[]>();
  try {
    for (let turn = 0; turn <= turns; turn += 1)
      for (const method of methods)
        for (const kind of names) {
          const sample = await load(agent, kind, method, proxy.pid);
          const key = `${method} ${kind}`;
          // V8 compiles the code during the first turn.
          if (turn > 0) samples.set(key, [...(samples.get(key) ?? []), sample]);
        }
    return samples;
  } finally {
    agent.destroy();
    await proxy.stop();
  }
}

function writeFieldsReport(samples: ReadonlyMap<string, readonly Sample[]>): string {
  const of = (method: Method, kind: Kind, what: keyof Sample) =>
    median((samples.get(`${method} ${kind}`) ?? []).map((sample) => sample[what]));
  const rows = methods.flatMap((method) =>
    names.map((kind) => {
      const [cpu, p50] = [of(method, kind, 'cpuUs'), of(method, kind, 'p50Ms')];
      const ratio = (value: number, what: keyof Sample) => (value / of(method, 'configmaps', what)).toFixed(2);
      return `| ${method} | ${kinds[kind].what} | ${Math.round(cpu)} µs | ${ratio(cpu, 'cpuUs')} | ${p50.toFixed(2)} ms | ${ratio(p50, 'p50Ms')} |`;
    }),
  );
  return `# Cost of keeping fields in the proxy

Written by \`make bench ARGS=fields\`. The figures are from one machine: compare the ratios, and run it on yours.

- ${availableParallelism()} cores shared by the proxy, two servers that answer at once, and the client
- Linux ${release().split('-')[0]}, Node ${process.version}, loopback; medians of ${turns} turns of ${requestsPerTurn} requests each

| Method | Fields of the kind | Proxy's CPU for each request | Ratio | p50 | Ratio |
| --- | --- | --- | --- | --- | --- |
${rows.join('\n')}

## How it is measured

- All kinds are measured on one warmed-up proxy with one table. ${connections} HTTP/1.1 connections send one request after another. The kinds take turns, so that a slow moment of the machine hits all of them.
- Each ratio compares with a kind whose fields are equal everywhere. With \`spec.routing.fieldSkew: Ignore\`, the proxy treats every kind like that one.
- CPU is user and system time of the proxy from \`/proc/PID/stat\`.
`;
}

const servers: Http2SecureServer[] = [];
await inFolder(async (folder) => {
  const authority = makeAuthority(folder, 'ca');
  const hosts = ['DNS:localhost', 'IP:127.0.0.1'];
  const peer = issue(folder, 'peer', authority, '/CN=peer', ['DNS:kubernetes.default.svc', ...hosts]);
  for (const port of [ports.home, ports.other]) servers.push(await startServer(peer, port));
  const setting = {
    ...{ folder, caFile: authority.cert, peer, program: buildProduct(), core: undefined },
    serving: issue(folder, 'serving', authority, '/CN=front', hosts),
  };
  publishReport('fields', writeFieldsReport(await measure(setting)));
}).finally(() => {
  for (const server of servers) server.close();
});
process.exit(0);
