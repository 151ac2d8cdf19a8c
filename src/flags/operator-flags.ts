import { isIP } from 'node:net';
import type { WantedCertificate } from '../operator/ports.ts';
import { readFlags } from './read-flags.ts';
import { readServingFlags, type ServingFlags, servingOptions } from './serving-flags.ts';

/** The settings of `peerdiscovery operator`. */
export interface OperatorFlags extends ServingFlags {
  readonly kubeconfig: string | undefined;
  readonly namespace: string | undefined;
  /** File that keeps the addresses of other kube-apiservers across restarts. */
  readonly knownServersFile: string | undefined;
  readonly leaderElect: boolean;
  /** Certificate and key of the metrics' TLS; both or neither. */
  readonly tlsCertFile: string | undefined;
  readonly tlsPrivateKeyFile: string | undefined;
  /** Serving certificates to keep; may be empty. */
  readonly issueCertificates: readonly WantedCertificate[];
  readonly certificateLifetimeMs: number;
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
  'tls-cert-file': { type: 'string' },
  'tls-private-key-file': { type: 'string' },
  'issue-certificate': { type: 'string', multiple: true },
  'certificate-lifetime': { type: 'string', default: '2160h' },
  ...servingOptions,
  help: { type: 'boolean', short: 'h', default: false },
} as const;

/** Text of `--help`. */
export const operatorUsage = `Watch the kube-apiservers, fill PeerDiscovery status, publish the routing table.

Usage: peerdiscovery operator [flags]

  --kubeconfig PATH                 kubeconfig of the API server to use (default: $KUBECONFIG, else in-cluster)
  --namespace NAME                  own namespace, for the election Lease and routing tables
                                    (default: the Pod's, else peerdiscovery-system)
  --known-servers-file FILE         other kube-apiservers to reach the API through if the kubeconfig's does not answer;
                                    read at the start, and kept up to date unless its file system is read-only, such as
                                    a mounted servers.json of the table's ConfigMap (default: none)
  --leader-elect true|false         work only while holding the election Lease (default true)
  --health-bind-address HOST:PORT   /healthz, /livez and /readyz over plain HTTP; 0 for none (default 127.0.0.1:8080)
  --metrics-bind-address HOST:PORT  /metrics and /status, such as :8443; 0 for none (default 0)
  --metrics-secure true|false       serve both over TLS, and only to clients that the cluster lets get them
                                    (default true)
  --tls-cert-file FILE              certificate to serve them with; re-read when it changes (default, and until the
                                    file exists: self-signed)
  --tls-private-key-file FILE       its key
  --issue-certificate NAMESPACE/SECRET=NAME[,NAME...]
                                    keep a serving certificate for these DNS names and IP addresses in this Secret. The
                                    operator's own CA issues it; ConfigMap peerdiscovery-ca has that CA. The name
                                    control-plane-nodes stands for the addresses of these Nodes. May be repeated
  --certificate-lifetime DURATION   how long such a certificate is valid; renewed at two thirds of it (default 2160h)
  --log-format json|text            (default json)
  --log-level error|warn|info|debug (default info)

Examples:
  # On your own machine, without an election; Ctrl-C ends it
  peerdiscovery operator --kubeconfig ~/.kube/config --leader-elect false --log-format text
  # With metrics and the status page
  peerdiscovery operator --metrics-bind-address :8443
`;

/** Parses the flags of `peerdiscovery operator`. It reports every bad flag with its cure. */
export function parseOperatorFlags(args: readonly string[]): OperatorFlagsResult {
  const given = readFlags(args, options);
  const { problems } = given;
  if (given.help) return { kind: 'help' };
  if ((given.text('tls-cert-file') === undefined) !== (given.text('tls-private-key-file') === undefined))
    problems.push('--tls-cert-file and --tls-private-key-file go together; give both or neither');
  const flags: OperatorFlags = {
    kubeconfig: given.text('kubeconfig'),
    knownServersFile: given.text('known-servers-file'),
    namespace: given.text('namespace'),
    leaderElect: given.oneOf('leader-elect', ['true', 'false']) === 'true',
    ...readServingFlags(given),
    tlsCertFile: given.text('tls-cert-file'),
    tlsPrivateKeyFile: given.text('tls-private-key-file'),
    issueCertificates: given.list('issue-certificate').flatMap((value) => {
      const wanted = parseWantedCertificate(value);
      if (wanted === undefined)
        problems.push(`--issue-certificate is ${JSON.stringify(value)}; give NAMESPACE/SECRET=NAME[,NAME...]`);
      return wanted ?? [];
    }),
    certificateLifetimeMs: given.duration(
      'certificate-lifetime',
      'a duration from 30s to 8760h, such as 2160h',
      30_000,
      31_536_000_000,
    ),
  };
  return problems.length > 0 ? { kind: 'problems', problems } : { kind: 'flags', flags };
}

function parseWantedCertificate(text: string): WantedCertificate | undefined {
  const [, namespace, secret, list = ''] = /^([a-z0-9-]+)\/([a-z0-9.-]+)=(.+)$/.exec(text) ?? [];
  const names = list.split(',');
  const isName = (name: string) => isIP(name) !== 0 || /^(?:\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i.test(name);
  if (namespace === undefined || secret === undefined || !names.every(isName)) return undefined;
  return { namespace, secret, names };
}
