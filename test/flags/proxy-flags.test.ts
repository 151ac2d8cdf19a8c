import { expect } from 'chai';
import { parseProxyFlags, proxyUsage, readsApi, readsAuthorities } from '../../src/flags/proxy-flags.ts';

const base = ['--tls-cert-file', 'a', '--tls-private-key-file', 'b', '--peer-ca-file', 'c'];
const requestHeader = [
  '--authentication-mode=RequestHeader',
  '--proxy-client-cert-file=d',
  '--proxy-client-key-file=e',
];

describe('parseProxyFlags', () => {
  const problemsOf = (args: readonly string[]) => {
    const parsed = parseProxyFlags([...base, ...args]);
    return parsed.kind === 'problems' ? parsed.problems : [];
  };

  for (const [title, args, why] of [
    ['a range that is none', ['--allow-peer-cidrs=10.0.0.0/8,x/8'], /--allow-peer-cidrs: not a CIDR: "x\/8"/],
    [
      'a range with bits beyond its prefix',
      ['--allow-peer-cidrs=10.0.0.1/8'],
      /--allow-peer-cidrs: "10\.0\.0\.1\/8" has bits set beyond its prefix: give 10\.0\.0\.0\/8/,
    ],
    [
      'an unknown mode',
      ['--authentication-mode=Token'],
      /must be one of TokenPassthrough, RequestHeader, Impersonation/,
    ],
    [
      'RequestHeader without its certificate',
      ['--authentication-mode=RequestHeader'],
      /needs --proxy-client-cert-file.*or use Impersonation/,
    ],
    [
      'a front-proxy certificate without its mode',
      ['--proxy-client-cert-file=d'],
      /set --authentication-mode=RequestHeader/,
    ],
    [
      'a token for impersonation in another mode',
      [...requestHeader, '--impersonation-token-file=f'],
      /--impersonation-token-file is for mode Impersonation: leave it out/,
    ],
    [
      'a client CA that nobody is asked for',
      ['--client-ca-file=f'],
      /--client-ca-file is for modes that verify clients/,
    ],
    [
      'half of what the ConfigMap says',
      [...requestHeader, '--requestheader-allowed-names=x'],
      /--requestheader-allowed-names is for use with --client-ca-file/,
    ],
    [
      'a header that is none',
      [...requestHeader, '--client-ca-file=f', '--requestheader-username-headers=X Remote'],
      /"X Remote" is not a header name/,
    ],
    ['a limit of none', ['--max-requests-inflight=0'], /--max-requests-inflight must be a whole number above 0/],
    ['a limit that is no number', ['--max-connections=many'], /--max-connections must be/],
    ['a time that is none', ['--request-timeout=90'], /--request-timeout must be a duration/],
    [
      'watches that outlive the end',
      ['--shutdown-watch-termination-grace-period=1m'],
      /must not be longer than --shutdown-timeout/,
    ],
  ] as const)
    it(`refuses ${title}, and names the cure`, () => {
      expect(problemsOf(args)).to.have.length(title.startsWith('RequestHeader') ? 2 : 1);
      expect(problemsOf(args)[0]).to.match(why);
    });

  it("reads identity and limits by kube-apiserver's flag names", () => {
    const parsed = parseProxyFlags([
      ...base,
      ...requestHeader,
      ...['--client-ca-file=f', '--requestheader-allowed-names=x,y', '--requestheader-username-headers=X-A,X-B'],
      ...['--max-requests-inflight=7', '--http2-max-streams-per-connection=9', '--request-timeout=2m'],
    ]);
    if (parsed.kind !== 'flags') throw new Error(JSON.stringify(parsed));
    const { flags } = parsed;
    expect(flags.requestHeader.allowedNames).to.deep.equal(['x', 'y']);
    expect(flags.requestHeader.headerNames.user).to.deep.equal(['X-A', 'X-B']);
    expect(flags.requestHeader.headerNames.group).to.deep.equal(['X-Remote-Group']);
    expect(flags.limits).to.include({ maxRequests: 7, maxStreamsPerConnection: 9, requestTimeoutMs: 120_000 });
  });

  it('takes the token of the Pod for impersonation by default', () => {
    const parsed = parseProxyFlags([...base, '--authentication-mode=Impersonation']);
    expect(parsed.kind === 'flags' && parsed.flags.impersonationTokenFile).to.equal(
      '/var/run/secrets/kubernetes.io/serviceaccount/token',
    );
  });

  it('lists every flag in its help', () => {
    for (const flag of ['authentication-mode', 'requestheader-uid-headers', 'max-header-fields', 'idle-timeout'])
      expect(proxyUsage).to.contain(`--${flag} `);
    expect(Math.max(...proxyUsage.split('\n').map((line) => line.length))).to.be.at.most(120);
  });
});

describe('readsApi', () => {
  const flagsOf = (...args: readonly string[]) => {
    const parsed = parseProxyFlags([...base, ...args]);
    if (parsed.kind !== 'flags') throw new Error(JSON.stringify(parsed));
    return parsed.flags;
  };

  for (const [what, args, api, authorities] of [
    ['a table from the cluster', [], true, false],
    ['a table from a file', ['--routing-table-file=t'], false, false],
    ['CAs of clients from the cluster', ['--routing-table-file=t', ...requestHeader], true, true],
    ['all from files', ['--routing-table-file=t', ...requestHeader, '--client-ca-file=f'], false, false],
  ] as const)
    it(`is ${api} for ${what}`, () => {
      expect([readsApi(flagsOf(...args)), readsAuthorities(flagsOf(...args))]).to.deep.equal([api, authorities]);
    });
});
