import { request as httpsRequest } from 'node:https';
import { connect as tlsConnect } from 'node:tls';
import { createProxyMetrics } from '../../src/adapters/metrics/proxy-metrics.ts';
import { createAddressPolicy } from '../../src/adapters/peers/address-policy.ts';
import { createPeerTls } from '../../src/adapters/peers/peer-tls.ts';
import { createPeerTransport } from '../../src/adapters/peers/peer-transport.ts';
import type { RoutingBundle, RoutingTable, TableGroupVersion } from '../../src/domain/routing-table.ts';
import { loadRequestParsers } from '../../src/http/llhttp/request-parser.ts';
import { defaultLimits, type ProxyLimits } from '../../src/proxy/limits.ts';
import type { AuthenticationMode } from '../../src/proxy/ports.ts';
import type { RunningProxy } from '../../src/proxy/start-proxy.ts';
import { startProxy } from '../../src/proxy/start-proxy.ts';
import { type Clock, systemClock } from '../../src/runtime/clock.ts';
import { type Log, silentLog } from '../../src/runtime/log.ts';
import type { LoopbackPeer } from './loopback-peer.ts';
import type { TestAuthority, TestCertificate } from './test-certificates.ts';

/** A group-version whose resources these peers serve. */
export function groupVersion(name: string, resources: Readonly<Record<string, readonly number[]>>): TableGroupVersion {
  const slash = name.indexOf('/');
  return {
    group: slash < 0 ? '' : name.slice(0, slash),
    version: name.slice(slash + 1),
    origin: 'BuiltIn',
    resources: Object.entries(resources).map(([resource, peers]) => ({ resource, peers, subresources: {} })),
  };
}

/** A bundle around a table. */
function routingBundle(table: RoutingTable): RoutingBundle {
  return { table, apis: '{"unified":"apis"}\n', apisEtag: 'A1', api: '{"unified":"api"}\n', apiEtag: 'B2' };
}

/** An answer as the client got it. */
export interface ClientAnswer {
  readonly status: number;
  readonly rawHeaders: readonly string[];
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** A proxy on loopback, and ways to talk to it. */
export interface ProxyUnderTest {
  readonly port: number;
  readonly caPem: string;
  readonly proxy: RunningProxy;
  /** Addresses that were reported to the table's owner. */
  readonly behind: string[];
  use(table: RoutingTable): void;
  /** The table's source reports that it may be behind. */
  doubt(why: string | undefined): void;
  get(
    path: string,
    headers?: Readonly<Record<string, string | string[]>>,
    method?: string,
    body?: string,
    certificate?: TestCertificate,
  ): Promise<ClientAnswer>;
  /** Sends raw bytes over TLS. Returns everything that arrives until the end. */
  sendRaw(text: string, alpn?: readonly string[]): Promise<string>;
  stop(): Promise<void>;
}

/** Differences from a proxy that passes tokens through. */
export interface ProxyUnderTestOptions {
  readonly allowCidrs?: readonly string[];
  readonly clientCa?: readonly string[];
  readonly authentication?: AuthenticationMode;
  readonly frontProxy?: { readonly cert: string; readonly key: string };
  readonly limits?: Partial<ProxyLimits>;
  readonly watchLevelingPeriodMs?: number;
  readonly random?: () => number;
  readonly clock?: Clock;
  /** With a logger, each request is logged. */
  readonly log?: Log;
}

/** Starts a proxy with the home `home` that trusts `authority` for its peers. */
export async function startProxyUnderTest(
  authority: Pick<TestAuthority, 'caPem' | 'issue'>,
  home: Pick<LoopbackPeer, 'address'> | undefined,
  options: ProxyUnderTestOptions = {},
): Promise<ProxyUnderTest> {
  const { certPem, keyPem } = authority.issue({ commonName: 'proxy', dnsNames: ['localhost'] });
  const behind: string[] = [];
  let doubt: (why: string | undefined) => void = () => {};
  let onBundle: (bundle: RoutingBundle) => void = () => {};
  const proxy = startProxy({
    transport: createPeerTransport({
      tls: createPeerTls({ ca: authority.caPem, frontProxy: options.frontProxy }),
      addressPolicy: createAddressPolicy(options.allowCidrs ?? ['127.0.0.1/32']),
    }),
    requestParsers: loadRequestParsers(),
    source: {
      start: (take, onTrouble, signal) => {
        onBundle = take;
        doubt = onTrouble;
        return new Promise((resolve) => signal.addEventListener('abort', () => resolve()));
      },
    },
    reportBehind: (address) => behind.push(address),
    createMetrics: createProxyMetrics,
    tls: { cert: certPem, key: keyPem, clientCa: options.clientCa },
    authentication: options.authentication ?? { kind: 'TokenPassthrough' },
    pinnedHome: home?.address,
    serverName: 'kubernetes.default.svc',
    accessLog: options.log !== undefined,
    clock: options.clock ?? systemClock,
    log: options.log ?? silentLog,
    limits: { ...defaultLimits, ...options.limits },
    watchLevelingPeriodMs: options.watchLevelingPeriodMs ?? 0,
    random: options.random ?? (() => 0.5),
  });
  const { port } = await proxy.server.listen(0, '127.0.0.1');
  const ca = authority.caPem;
  return {
    port,
    caPem: ca,
    proxy,
    behind,
    use: (table) => {
      onBundle(routingBundle(table));
      doubt(undefined);
    },
    doubt: (why) => doubt(why),
    get: (path, headers = {}, method = 'GET', body, certificate) =>
      new Promise((resolve, reject) => {
        const request = httpsRequest(
          {
            ...(certificate !== undefined && { cert: certificate.certPem, key: certificate.keyPem }),
            ...{ host: '127.0.0.1', port, path, method, headers, ca, servername: 'localhost', agent: false },
          },
          (response) => {
            const chunks: Buffer[] = [];
            response.on('data', (chunk: Buffer) => chunks.push(chunk));
            response.once('error', reject);
            response.once('end', () =>
              resolve({
                status: response.statusCode ?? 0,
                rawHeaders: response.rawHeaders,
                headers: response.headers,
                body: Buffer.concat(chunks).toString('utf8'),
              }),
            );
          },
        );
        request.once('error', reject);
        request.end(body);
      }),
    sendRaw: (text, alpn) =>
      new Promise((resolve, reject) => {
        let received = '';
        const socket = tlsConnect({
          host: '127.0.0.1',
          port,
          ca,
          servername: 'localhost',
          ...(alpn !== undefined && { ALPNProtocols: [...alpn] }),
        });
        socket.once('secureConnect', () => socket.write(text, 'latin1'));
        socket.on('data', (chunk: Buffer) => {
          received += chunk.toString('latin1');
        });
        socket.once('error', reject);
        socket.once('close', () => resolve(received));
      }),
    stop: async () => {
      await proxy.server.drain({ watchGraceMs: 0, deadlineMs: 0 });
      await proxy.stop();
    },
  };
}
