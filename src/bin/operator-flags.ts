import { isIP } from 'node:net';
import { parseArgs } from 'node:util';
import { durationPattern, parseDuration } from '../api/duration.ts';
import { didYouMean } from '../domain/closest-name.ts';
import type { WantedCertificate } from '../operator/keep-certificates.ts';

/** What `peerdiscovery operator` was asked for. */
export interface OperatorFlags {
  readonly kubeconfig: string | undefined;
  readonly namespace: string | undefined;
  /** File that keeps the addresses of other kube-apiservers across restarts. */
  readonly knownServersFile: string | undefined;
  readonly leaderElect: boolean;
  /** `host:port`, or undefined for none. */
  readonly healthBindAddress: string | undefined;
  readonly metricsBindAddress: string | undefined;
  readonly metricsSecure: boolean;
  /** Certificate and key of the metrics' TLS; both or neither. */
  readonly tlsCertFile: string | undefined;
  readonly tlsPrivateKeyFile: string | undefined;
  /** Serving certificates to keep; may be empty. */
  readonly issueCertificates: readonly WantedCertificate[];
  readonly certificateLifetimeMs: number;
  readonly logFormat: 'text' | 'json';
  readonly logLevel: 'error' | 'warn' | 'info' | 'debug';
}

/** Flags, a request for help, or all problems. */
export type OperatorFlagsResult =
  | { readonly kind: 'flags'; readonly flags: OperatorFlags }
  | { readonly kind: 'help' }
  | { readonly kind: 'problems'; readonly problems: readonly string[] };

const options = {
  kubeconfig: { type: 'string' },
  namespace: { type: 'string' },
  'known-servers-file': { type: 'string' },
  'leader-elect': { type: 'string', default: 'true' },
  'health-bind-address': { type: 'string', default: '127.0.0.1:8080' },
  'metrics-bind-address': { type: 'string', default: '0' },
  'metrics-secure': { type: 'string', default: 'true' },
  'tls-cert-file': { type: 'string' },
  'tls-private-key-file': { type: 'string' },
  'issue-certificate': { type: 'string', multiple: true },
  'certificate-lifetime': { type: 'string', default: '2160h' },
  'log-format': { type: 'string', default: 'json' },
  'log-level': { type: 'string', default: 'info' },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

/** Text of `--help`. */
export const operatorUsage = `Watch the kube-apiservers, fill PeerDiscovery status, publish the routing table.

Usage: peerdiscovery operator [flags]

  --kubeconfig PATH                 kubeconfig of the API server to use (default: $KUBECONFIG, else in-cluster)
  --namespace NAME                  own namespace, for the election Lease and routing tables
                                    (default: the Pod's, else peerdiscovery-system)
  --known-servers-file FILE         read at the start: other kube-apiservers to reach the API through when the
                                    kubeconfig's does not answer; kept up to date unless its file system is read-only,
                                    as of the table's ConfigMap, whose servers.json may be mounted (default: none)
  --leader-elect true|false         work only while holding the election Lease (default true)
  --health-bind-address HOST:PORT   /healthz, /livez and /readyz over plain HTTP; 0 for none (default 127.0.0.1:8080)
  --metrics-bind-address HOST:PORT  /metrics and /status, such as :8443; 0 for none (default 0)
  --metrics-secure true|false       serve both over TLS, each to whom the cluster lets get it (default true)
  --tls-cert-file FILE              certificate to serve them with; re-read when it changes (default, and until the
                                    file is there: self-signed)
  --tls-private-key-file FILE       its key
  --issue-certificate NAMESPACE/SECRET=NAME[,NAME...]
                                    keep a serving certificate for these DNS names and IP addresses in this Secret, by a
                                    CA of the operator's own that is published in ConfigMap peerdiscovery-ca; the name
                                    control-plane-nodes stands for all their addresses; may be repeated
  --certificate-lifetime DURATION   how long such a certificate is valid; renewed at two thirds of it (default 2160h)
  --log-format json|text            (default json)
  --log-level error|warn|info|debug (default info)

Examples:
  # From a machine of yours, without an election; Ctrl-C ends it
  peerdiscovery operator --kubeconfig ~/.kube/config --leader-elect false --log-format text
  # With metrics and the status page
  peerdiscovery operator --metrics-bind-address :8443
`;

/** Parses the flags of `peerdiscovery operator`. It reports every bad flag with its cure. */
export function parseOperatorFlags(args: readonly string[]): OperatorFlagsResult {
  const known = new Set(Object.keys(options).map((name) => `--${name}`));
  const problems: string[] = [];
  const { tokens } = parseArgs({ args: [...args], options, strict: false, tokens: true, allowPositionals: true });
  for (const token of tokens) {
    if (token.kind === 'positional') problems.push(`unexpected argument ${JSON.stringify(token.value)}`);
    if (token.kind !== 'option') continue;
    if (!known.has(token.rawName) && token.rawName !== '-h')
      problems.push(`unknown flag ${token.rawName}${didYouMean(token.rawName, [...known])}; see --help`);
    else if (token.name !== 'help' && (token.value === undefined || token.value === ''))
      problems.push(`${token.rawName} needs a value`);
  }
  const { values } = parseArgs({ args: [...args], options, strict: false, allowPositionals: true });
  if (values.help === true) return { kind: 'help' };
  const oneOf = <T extends string>(flag: keyof typeof values, allowed: readonly [T, ...T[]]): T => {
    const found = allowed.find((value) => value === values[flag]);
    if (found === undefined)
      problems.push(`--${flag} is ${JSON.stringify(values[flag])}; give one of ${allowed.join(', ')}`);
    return found ?? allowed[0];
  };
  const leaderElect = oneOf('leader-elect', ['true', 'false']) === 'true';
  const logFormat = oneOf('log-format', ['json', 'text']);
  const logLevel = oneOf('log-level', ['info', 'error', 'warn', 'debug']);
  const metricsSecure = oneOf('metrics-secure', ['true', 'false']) === 'true';
  const address = (flag: 'health-bind-address' | 'metrics-bind-address'): string | undefined => {
    const value = String(values[flag]);
    if (value !== '0' && !/^(?:\[[0-9a-f:.]+\]|[^\s:[\]]*):[0-9]{1,5}$/i.test(value))
      problems.push(`--${flag} is ${JSON.stringify(value)}; give HOST:PORT, :PORT, or 0 for none`);
    return value === '0' ? undefined : value;
  };
  const healthBindAddress = address('health-bind-address');
  const metricsBindAddress = address('metrics-bind-address');
  if ((values['tls-cert-file'] === undefined) !== (values['tls-private-key-file'] === undefined))
    problems.push('--tls-cert-file and --tls-private-key-file go together; give both or neither');
  const issueCertificates = [values['issue-certificate'] ?? []].flat().flatMap((value) => {
    const wanted = typeof value === 'string' ? parseWantedCertificate(value) : undefined;
    if (wanted === undefined)
      problems.push(`--issue-certificate is ${JSON.stringify(value)}; give NAMESPACE/SECRET=NAME[,NAME...]`);
    return wanted ?? [];
  });
  const lifetime = String(values['certificate-lifetime']);
  const certificateLifetimeMs = new RegExp(durationPattern).test(lifetime) ? parseDuration(lifetime) : 0;
  if (certificateLifetimeMs < 30_000 || certificateLifetimeMs > 31_536_000_000)
    problems.push(
      `--certificate-lifetime is ${JSON.stringify(lifetime)}; give a duration from 30s to 8760h, such as 2160h`,
    );
  if (problems.length > 0) return { kind: 'problems', problems };
  const text = (value: unknown) => (typeof value === 'string' ? value : undefined);
  return {
    kind: 'flags',
    flags: {
      kubeconfig: text(values.kubeconfig),
      knownServersFile: text(values['known-servers-file']),
      namespace: text(values.namespace),
      leaderElect,
      healthBindAddress,
      metricsBindAddress,
      metricsSecure,
      tlsCertFile: text(values['tls-cert-file']),
      tlsPrivateKeyFile: text(values['tls-private-key-file']),
      issueCertificates,
      certificateLifetimeMs,
      logFormat,
      logLevel,
    },
  };
}

function parseWantedCertificate(text: string): WantedCertificate | undefined {
  const [, namespace, secret, list = ''] = /^([a-z0-9-]+)\/([a-z0-9.-]+)=(.+)$/.exec(text) ?? [];
  const names = list.split(',');
  const isName = (name: string) => isIP(name) !== 0 || /^(?:\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i.test(name);
  if (namespace === undefined || secret === undefined || !names.every(isName)) return undefined;
  return { namespace, secret, names };
}
