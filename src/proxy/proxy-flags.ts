import { BlockList, isIP } from 'node:net';
import { parseArgs } from 'node:util';
import { parseAddress } from '../domain/address.ts';
import { didYouMean } from '../domain/closest-name.ts';
import { readDuration } from '../domain/read-duration.ts';
import type { IdentityFlags } from './identity-flags.ts';
import { identityOptions, identityUsage, readIdentityFlags } from './identity-flags.ts';
import { limitOptions, limitUsage, readLimitFlags } from './limit-flags.ts';
import type { ProxyLimits } from './limits.ts';

/** What `peerdiscovery proxy` was asked for. */
export interface ProxyFlags extends IdentityFlags {
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
  /** `host:port`, or undefined for none. */
  readonly healthBindAddress: string | undefined;
  readonly metricsBindAddress: string | undefined;
  readonly metricsSecure: boolean;
  readonly logFormat: 'text' | 'json';
  readonly logLevel: 'error' | 'warn' | 'info' | 'debug';
  readonly accessLog: boolean;
  /** Processes that share the port. */
  readonly workers: number;
  /** 0 for never. */
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
  'metrics-bind-address': { type: 'string', default: '0' },
  'metrics-secure': { type: 'string', default: 'true' },
  'log-format': { type: 'string', default: 'json' },
  'log-level': { type: 'string', default: 'info' },
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
  --peer-ca-file FILE               authorities that kube-apiservers' certificates must chain to
  --peer-server-name NAME           name that those certificates must bear (default kubernetes.default.svc)
  --allow-peer-cidrs CIDR,...       connect to these ranges only; loopback and link-local need to be named here
  --home HOST:PORT                  home kube-apiserver of all clients (default: one chosen per client connection)
  --kubeconfig FILE                 kubeconfig to watch the routing table with (default: $KUBECONFIG, else in-cluster)
  --known-servers-file FILE         read at the start: other kube-apiservers to reach the API through when the
                                    kubeconfig's does not answer; kept up to date unless its file system is read-only,
                                    as of the table's ConfigMap, whose servers.json may be mounted (default: none)
  --namespace NAME                  namespace of the routing table (default: the Pod's, else peerdiscovery-system)
  --routing-table NAME              name of the routing table (default peerdiscovery-cluster)
  --routing-table-file FILE         read the routing table from a file instead; re-read when it changes. What it does
                                    not list is 503, not 404, once it was not written or touched for 30 s
  --health-bind-address HOST:PORT   /healthz, /livez and /readyz over plain HTTP; 0 for none (default 127.0.0.1:8081)
  --metrics-bind-address HOST:PORT  /metrics, such as :8443; 0 for none (default 0)
  --metrics-secure true|false       serve metrics over TLS, to whom the cluster lets get /metrics (default true)
  --log-format json|text            (default json)
  --log-level error|warn|info|debug (default info)
  --workers NUMBER                  processes that share the port, one for each core that is to be used (default 1)
  --access-log                      log a line for each request
  --watch-leveling-period TIME      how often to look whether some kube-apiservers have far more watches than others, as
                                    after a restart of each in turn; some of those are ended as a timeout ends them, and
                                    their clients resume them where there are fewer; 0s for never (default 5s)
  --shutdown-delay-duration TIME    keep serving, though not ready, after SIGTERM; such as 5s (default 0s)
  --shutdown-watch-termination-grace-period TIME
                                    then end watches evenly over this time (default 5s)
  --shutdown-timeout TIME           for requests to finish once no new ones are taken (default 30s)

Identity:

${identityUsage}
Limits (for each process):

${limitUsage}
Examples:

  # From a machine of yours, in front of one server
  peerdiscovery proxy --kubeconfig ~/.kube/config --tls-cert-file proxy.crt --tls-private-key-file proxy.key \\
    --peer-ca-file ca.crt --home 10.0.0.11:6443 --log-format text
  # Without a cluster's API: by a routing table that is a file
  peerdiscovery proxy --routing-table-file table.json --tls-cert-file proxy.crt --tls-private-key-file proxy.key \\
    --peer-ca-file ca.crt
`;

/** Reads the flags of `peerdiscovery proxy`; it reports every bad one, each with its cure. */
export function parseProxyFlags(args: readonly string[]): ProxyFlagsResult {
  const problems: string[] = [];
  const { values, tokens } = parseArgs({
    args: [...args],
    options,
    strict: false,
    tokens: true,
    allowPositionals: true,
  });
  if (values.help === true) return { kind: 'help' };
  const names = Object.keys(options).map((name) => `--${name}`);
  for (const token of tokens) {
    if (token.kind === 'positional') problems.push(`unexpected argument ${JSON.stringify(token.value)}`);
    if (token.kind !== 'option') continue;
    const known = Object.hasOwn(options, token.name) ? options[token.name as keyof typeof options] : undefined;
    if (known === undefined)
      problems.push(`unknown flag ${token.rawName}${didYouMean(token.rawName, names)}; see --help`);
    else if (known.type === 'string' && (token.value === undefined || token.value === ''))
      problems.push(`${token.rawName} needs a value`);
    else if (known.type === 'boolean' && token.value !== undefined) problems.push(`${token.rawName} takes no value`);
  }
  const text = (flag: keyof typeof options): string | undefined => {
    const value = values[flag];
    return typeof value === 'string' && value !== '' ? value : undefined;
  };
  const required = (flag: keyof typeof options) => {
    if (values[flag] === undefined) problems.push(`--${flag} is needed`);
    return text(flag) ?? '';
  };
  const oneOf = <Choice extends string>(flag: keyof typeof options, choices: readonly Choice[]): Choice | undefined => {
    const found = choices.find((choice) => choice === text(flag));
    if (found === undefined) problems.push(`--${flag} must be one of ${choices.join(', ')}`);
    return found;
  };
  const port = Number(text('secure-port'));
  if (!Number.isInteger(port) || port < 0 || port > 65535)
    problems.push('--secure-port must be a port from 0 to 65535');
  const workers = Number(text('workers'));
  if (!Number.isInteger(workers) || workers < 1 || workers > 128)
    problems.push('--workers must be a number from 1 to 128');
  const bindAddress = text('bind-address') ?? '';
  if (isIP(bindAddress) === 0) problems.push('--bind-address must be an IP address');
  const home = text('home');
  if (home !== undefined && parseAddress(home) === undefined) problems.push('--home must be HOST:PORT');
  const cidrs = [values['allow-peer-cidrs'] ?? []]
    .flat()
    .flatMap((list) => (typeof list === 'string' ? list.split(',') : []));
  for (const cidr of cidrs)
    if (!isCidr(cidr)) problems.push(`--allow-peer-cidrs: ${JSON.stringify(cidr)} is not a CIDR`);
  const endpoint = (flag: 'health-bind-address' | 'metrics-bind-address'): string | undefined => {
    const value = text(flag) ?? '';
    if (value !== '0' && !/^(?:\[[0-9a-f:.]+\]|[^\s:[\]]*):[0-9]{1,5}$/i.test(value))
      problems.push(`--${flag} must be HOST:PORT, or 0 for none`);
    return value === '0' ? undefined : value;
  };
  const healthBindAddress = endpoint('health-bind-address');
  const metricsBindAddress = endpoint('metrics-bind-address');
  const metricsSecure = oneOf('metrics-secure', ['true', 'false']) === 'true';
  const duration = (flag: keyof typeof options): number => {
    const parsed = parseDuration(text(flag) ?? '');
    if (parsed === undefined) problems.push(`--${flag} must be a duration such as 5s, 500ms or 1m30s`);
    return parsed ?? 0;
  };
  const watchLevelingPeriodMs = duration('watch-leveling-period');
  const shutdownDelayMs = duration('shutdown-delay-duration');
  const shutdownWatchGraceMs = duration('shutdown-watch-termination-grace-period');
  const shutdownTimeoutMs = duration('shutdown-timeout');
  if (shutdownWatchGraceMs > shutdownTimeoutMs)
    problems.push('--shutdown-watch-termination-grace-period must not be longer than --shutdown-timeout');
  const identity = readIdentityFlags(
    (flag) => [values[flag] ?? []].flat().filter((value) => typeof value === 'string' && value !== '') as string[],
    problems,
  );
  const limits = readLimitFlags((flag) => text(flag), parseDuration, problems);
  const logFormat = oneOf('log-format', ['text', 'json']);
  const logLevel = oneOf('log-level', ['error', 'warn', 'info', 'debug']);
  const tlsCertFile = required('tls-cert-file');
  const tlsPrivateKeyFile = required('tls-private-key-file');
  const peerCaFile = required('peer-ca-file');
  if (problems.length > 0) return { kind: 'problems', problems };
  const flags: ProxyFlags = {
    bindAddress,
    securePort: port,
    tlsCertFile,
    tlsPrivateKeyFile,
    peerCaFile,
    peerServerName: text('peer-server-name') ?? '',
    allowPeerCidrs: cidrs,
    home,
    kubeconfig: text('kubeconfig'),
    knownServersFile: text('known-servers-file'),
    namespace: text('namespace'),
    routingTable: text('routing-table') ?? '',
    routingTableFile: text('routing-table-file'),
    healthBindAddress,
    metricsBindAddress,
    metricsSecure,
    logFormat: logFormat ?? 'json',
    logLevel: logLevel ?? 'info',
    workers,
    accessLog: values['access-log'] === true,
    watchLevelingPeriodMs,
    shutdownDelayMs,
    shutdownWatchGraceMs,
    shutdownTimeoutMs,
    limits,
    ...identity,
  };
  return { kind: 'flags', flags };
}

function isCidr(cidr: string): boolean {
  const [, network, prefix] = /^([0-9a-f:.]+)\/([0-9]{1,3})$/i.exec(cidr) ?? [];
  if (network === undefined || isIP(network) === 0) return false;
  try {
    new BlockList().addSubnet(network, Number(prefix), isIP(network) === 4 ? 'ipv4' : 'ipv6');
    return true;
  } catch {
    return false;
  }
}

/** Go's flags take a bare 0 for a duration, too. */
function parseDuration(text: string): number | undefined {
  return text === '0' ? 0 : readDuration(text);
}
