import { isIP } from 'node:net';
import { parseAddress } from '../domain/address.ts';
import type { ProxyLimits } from '../proxy/limits.ts';
import { describeCidrFault } from '../runtime/cidr.ts';
import type { IdentityFlags } from './identity-flags.ts';
import { identityOptions, identityUsage, readIdentityFlags } from './identity-flags.ts';
import { limitOptions, limitUsage, readLimitFlags } from './limit-flags.ts';
import { readFlags } from './read-flags.ts';
import { readServingFlags, type ServingFlags, servingOptions } from './serving-flags.ts';

/** The settings of `peerdiscovery proxy`. */
export interface ProxyFlags extends IdentityFlags, ServingFlags {
  readonly bindAddress: string;
  readonly securePort: number;
  readonly tlsCertFile: string;
  readonly tlsPrivateKeyFile: string;
  readonly peerCaFile: string;
  readonly peerServerName: string;
  readonly allowPeerCidrs: readonly string[];
  readonly home: string | undefined;
  readonly kubeconfig: string | undefined;
  /** File that keeps the addresses of other kube-apiservers across restarts. */
  readonly knownServersFile: string | undefined;
  readonly namespace: string | undefined;
  readonly routingTable: string;
  readonly routingTableFile: string | undefined;
  readonly accessLog: boolean;
  /** Processes that share the port. */
  readonly workers: number;
  /** 0 means never. */
  readonly watchLevelingPeriodMs: number;
  readonly shutdownDelayMs: number;
  readonly shutdownWatchGraceMs: number;
  readonly shutdownTimeoutMs: number;
  readonly limits: ProxyLimits;
}

/** Flags, a request for help, or all problems. */
export type ProxyFlagsResult =
  | { readonly kind: 'flags'; readonly flags: ProxyFlags }
  | { readonly kind: 'help' }
  | { readonly kind: 'problems'; readonly problems: readonly string[] };

const options = {
  'bind-address': { type: 'string', default: '0.0.0.0' },
  'secure-port': { type: 'string', default: '6443' },
  'tls-cert-file': { type: 'string' },
  'tls-private-key-file': { type: 'string' },
  'peer-ca-file': { type: 'string' },
  'peer-server-name': { type: 'string', default: 'kubernetes.default.svc' },
  'allow-peer-cidrs': { type: 'string', multiple: true },
  home: { type: 'string' },
  kubeconfig: { type: 'string' },
  'known-servers-file': { type: 'string' },
  namespace: { type: 'string' },
  'routing-table': { type: 'string', default: 'peerdiscovery-cluster' },
  'routing-table-file': { type: 'string' },
  'health-bind-address': { type: 'string', default: '127.0.0.1:8081' },
  ...servingOptions,
  workers: { type: 'string', default: '1' },
  'access-log': { type: 'boolean', default: false },
  'watch-leveling-period': { type: 'string', default: '5s' },
  'shutdown-delay-duration': { type: 'string', default: '0s' },
  'shutdown-watch-termination-grace-period': { type: 'string', default: '5s' },
  'shutdown-timeout': { type: 'string', default: '30s' },
  ...identityOptions,
  ...limitOptions,
  help: { type: 'boolean', short: 'h', default: false },
} as const;

/** Text of `--help`. */
export const proxyUsage = `Send each request to a kube-apiserver that can serve it.

Usage: peerdiscovery proxy --tls-cert-file FILE --tls-private-key-file FILE --peer-ca-file FILE [flags]

  --bind-address IP                 address to listen on (default 0.0.0.0)
  --secure-port PORT                port to listen on; 0 takes a free one (default 6443)
  --tls-cert-file FILE              certificate to serve with; re-read when it changes
  --tls-private-key-file FILE       its key
  --peer-ca-file FILE               CAs that kube-apiservers' certificates must chain to
  --peer-server-name NAME           name that those certificates must have (default kubernetes.default.svc)
  --allow-peer-cidrs CIDR,...       connect only to these ranges; loopback and link-local must be named here
  --home HOST:PORT                  home kube-apiserver of all clients (default: one chosen per client connection)
  --kubeconfig FILE                 kubeconfig to watch the routing table with (default: $KUBECONFIG, else in-cluster)
  --known-servers-file FILE         other kube-apiservers to reach the API through if the kubeconfig's does not answer;
                                    read at the start, and kept up to date unless its file system is read-only, such as
                                    a mounted servers.json of the table's ConfigMap (default: none)
  --namespace NAME                  namespace of the routing table (default: the Pod's, else peerdiscovery-system)
  --routing-table NAME              name of the routing table (default peerdiscovery-cluster)
  --routing-table-file FILE         read the routing table from a file instead; re-read when it changes. If
                                    nobody has written or touched it for 30 s, requests for what it does not list get
                                    503, not 404
  --health-bind-address HOST:PORT   /healthz, /livez and /readyz over plain HTTP; 0 for none (default 127.0.0.1:8081)
  --metrics-bind-address HOST:PORT  /metrics, such as :8443; 0 for none (default 0)
  --metrics-secure true|false       serve metrics over TLS, and only to clients that the cluster lets get /metrics
                                    (default true)
  --log-format json|text            (default json)
  --log-level error|warn|info|debug (default info)
  --workers NUMBER                  processes that share the port; give one for each core to use (default 1)
  --access-log                      log a line for each request
  --watch-leveling-period TIME      how often to check whether some kube-apiservers have far more watches than others,
                                    such as after a rolling restart. The proxy ends some of those watches as a timeout
                                    does, and their clients resume them where there are fewer; 0s for never (default 5s)
  --shutdown-delay-duration TIME    keep serving, though not ready, after SIGTERM; such as 5s (default 0s)
  --shutdown-watch-termination-grace-period TIME
                                    then end watches evenly over this time (default 5s)
  --shutdown-timeout TIME           for requests to finish once no new ones are taken (default 30s)

Identity:

${identityUsage}
Limits (for each process):

${limitUsage}
Examples:

  # On your own machine, in front of one server
  peerdiscovery proxy --kubeconfig ~/.kube/config --tls-cert-file proxy.crt --tls-private-key-file proxy.key \\
    --peer-ca-file ca.crt --home 10.0.0.11:6443 --log-format text
  # Without a cluster's API: with a routing table from a file
  peerdiscovery proxy --routing-table-file table.json --tls-cert-file proxy.crt --tls-private-key-file proxy.key \\
    --peer-ca-file ca.crt
`;

/** Reads the flags of `peerdiscovery proxy`. It reports every bad one with its cure. */
export function parseProxyFlags(args: readonly string[]): ProxyFlagsResult {
  const given = readFlags(args, options);
  const { problems } = given;
  if (given.help) return { kind: 'help' };
  const bindAddress = given.text('bind-address') ?? '';
  if (isIP(bindAddress) === 0) problems.push('--bind-address must be an IP address');
  const home = given.text('home');
  if (home !== undefined && parseAddress(home) === undefined) problems.push('--home must be HOST:PORT');
  const cidrs = given.list('allow-peer-cidrs').flatMap((list) => list.split(','));
  const cidrFault = describeCidrFault(cidrs);
  if (cidrFault !== undefined) problems.push(`--allow-peer-cidrs: ${cidrFault}`);
  const shutdownWatchGraceMs = given.duration('shutdown-watch-termination-grace-period');
  const shutdownTimeoutMs = given.duration('shutdown-timeout');
  if (shutdownWatchGraceMs > shutdownTimeoutMs)
    problems.push('--shutdown-watch-termination-grace-period must not be longer than --shutdown-timeout');
  const flags: ProxyFlags = {
    bindAddress,
    securePort: given.number('secure-port', 0, 65_535, 'a port from 0 to 65535'),
    allowPeerCidrs: cidrs,
    home,
    workers: given.number('workers', 1, 128, 'a number from 1 to 128'),
    watchLevelingPeriodMs: given.duration('watch-leveling-period'),
    shutdownDelayMs: given.duration('shutdown-delay-duration'),
    shutdownWatchGraceMs,
    shutdownTimeoutMs,
    ...readServingFlags(given),
    ...readIdentityFlags(given),
    limits: readLimitFlags(given),
    tlsCertFile: given.required('tls-cert-file'),
    tlsPrivateKeyFile: given.required('tls-private-key-file'),
    peerCaFile: given.required('peer-ca-file'),
    peerServerName: given.text('peer-server-name') ?? '',
    kubeconfig: given.text('kubeconfig'),
    knownServersFile: given.text('known-servers-file'),
    namespace: given.text('namespace'),
    routingTable: given.text('routing-table') ?? '',
    routingTableFile: given.text('routing-table-file'),
    accessLog: given.isOn('access-log'),
  };
  return problems.length > 0 ? { kind: 'problems', problems } : { kind: 'flags', flags };
}

/** True if the CAs of clients come from the API. */
export function readsAuthorities({
  verifiesClients,
  clientCaFile,
}: Pick<ProxyFlags, 'verifiesClients' | 'clientCaFile'>): boolean {
  return verifiesClients && clientCaFile === undefined;
}

/** False if the proxy works without the API of a cluster. */
export function readsApi(flags: Pick<ProxyFlags, 'routingTableFile' | 'verifiesClients' | 'clientCaFile'>): boolean {
  return flags.routingTableFile === undefined || readsAuthorities(flags);
}
