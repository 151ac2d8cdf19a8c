import type { AuthenticationMode, RequestHeaderNames } from '../proxy/ports.ts';
import { serviceAccountFolder } from './environment.ts';
import type { GivenFlags } from './read-flags.ts';

type ModeName = AuthenticationMode['kind'];

interface Mode {
  /** How the mode passes on users of client certificates, for `--help`. */
  readonly means: string;
  readonly verifiesClients: boolean;
  /** Flags that only this mode has. */
  readonly ownFlags: readonly (keyof typeof identityOptions)[];
  /** The cure if one of these flags is missing; absent if none is needed. */
  readonly needsThem?: string;
  /** Values of own flags that are not given. */
  readonly defaults: { readonly [Flag in keyof typeof identityOptions]?: string };
}

/** How the proxy passes users of client certificates on to kube-apiserver. */
export interface IdentityFlags {
  readonly authenticationMode: ModeName;
  /** True if the mode asks clients for certificates. */
  readonly verifiesClients: boolean;
  /** Undefined takes everything about clients from `kube-system/extension-apiserver-authentication`. */
  readonly clientCaFile: string | undefined;
  readonly requestHeader: {
    readonly clientCaFile: string | undefined;
    readonly allowedNames: readonly string[];
    readonly headerNames: RequestHeaderNames;
  };
  readonly proxyClientCertFile: string | undefined;
  readonly proxyClientKeyFile: string | undefined;
  /** Set only in mode Impersonation. */
  readonly impersonationTokenFile: string | undefined;
}

export const identityOptions = {
  'authentication-mode': { type: 'string', default: 'TokenPassthrough' },
  'client-ca-file': { type: 'string' },
  'proxy-client-cert-file': { type: 'string' },
  'proxy-client-key-file': { type: 'string' },
  'requestheader-client-ca-file': { type: 'string' },
  'requestheader-allowed-names': { type: 'string', multiple: true },
  'requestheader-username-headers': { type: 'string', multiple: true },
  'requestheader-uid-headers': { type: 'string', multiple: true },
  'requestheader-group-headers': { type: 'string', multiple: true },
  'requestheader-extra-headers-prefix': { type: 'string', multiple: true },
  'impersonation-token-file': { type: 'string' },
} as const;

const modes: Readonly<Record<ModeName, Mode>> = {
  TokenPassthrough: {
    means: 'not at all: the proxy asks for no client certificate',
    verifiesClients: false,
    ownFlags: [],
    defaults: {},
  },
  RequestHeader: {
    means: 'by X-Remote-* over the front-proxy client certificate',
    verifiesClients: true,
    ownFlags: ['proxy-client-cert-file', 'proxy-client-key-file'],
    needsThem: 'give the front-proxy client certificate, or use Impersonation',
    defaults: {},
  },
  Impersonation: {
    means: "by Impersonate-* with this proxy's own token",
    verifiesClients: true,
    ownFlags: ['impersonation-token-file'],
    defaults: { 'impersonation-token-file': `${serviceAccountFolder}/token` },
  },
};
const modeNames = Object.keys(modes) as [ModeName, ...ModeName[]];

export const identityUsage = `\
  --authentication-mode MODE        how kube-apiserver learns the user of a client certificate; bearer tokens pass
                                    through in every mode (default TokenPassthrough)
${modeNames.map((name) => `${' '.repeat(38)}${name.padEnd(18)}${modes[name].means}\n`).join('')}\
  --client-ca-file FILE             CAs of client certificates; re-read when it changes (default: these and the
                                    settings of --requestheader-* from the ConfigMap
                                    kube-system/extension-apiserver-authentication)
  --proxy-client-cert-file FILE     front-proxy client certificate; re-read when it changes (RequestHeader)
  --proxy-client-key-file FILE      its key
  --requestheader-client-ca-file FILE
                                    CAs of other proxies, whose X-Remote-* fields this proxy trusts
  --requestheader-allowed-names NAME,...
                                    common names of those proxies; empty allows any of them
  --requestheader-username-headers NAME,...     (default X-Remote-User)
  --requestheader-uid-headers NAME,...          (default X-Remote-Uid)
  --requestheader-group-headers NAME,...        (default X-Remote-Group)
  --requestheader-extra-headers-prefix NAME,... (default X-Remote-Extra-)
  --impersonation-token-file FILE   token to impersonate with; re-read when it changes
                                    (default: the Pod's ServiceAccount token)
`;

/** Reads the given flags. Every problem names the flag and its cure. */
export function readIdentityFlags({
  text: one,
  list: given,
  oneOf,
  problems,
}: GivenFlags<keyof typeof identityOptions>): IdentityFlags {
  const list = (flag: keyof typeof identityOptions, otherwise: readonly string[]) => {
    const names = given(flag).flatMap((value) => value.split(',').map((name) => name.trim()));
    if (flag !== 'requestheader-allowed-names')
      for (const name of names)
        if (!/^[0-9A-Za-z!#$&'*+.^`|~-]+$/.test(name))
          problems.push(`--${flag}: ${JSON.stringify(name)} is not a header name`);
    return names.length === 0 ? otherwise : names;
  };
  const isKnown = modeNames.some((name) => name === one('authentication-mode'));
  const mode = oneOf('authentication-mode', modeNames);
  const { verifiesClients } = modes[mode];

  const clientCaFile = one('client-ca-file');
  const needs = (flag: keyof typeof identityOptions, wanted: string, cure: string) => {
    if (given(flag).length > 0) problems.push(`--${flag} is for ${wanted}: ${cure}`);
  };
  for (const name of isKnown ? modeNames : [])
    for (const flag of modes[name].ownFlags) {
      const { needsThem } = modes[name];
      if (name !== mode) needs(flag, `mode ${name}`, `leave it out, or set --authentication-mode=${name}`);
      else if (needsThem !== undefined && one(flag) === undefined)
        problems.push(`--authentication-mode=${name} needs --${flag}: ${needsThem}`);
    }
  const requestHeaderFlags = [
    'requestheader-client-ca-file',
    'requestheader-allowed-names',
    'requestheader-username-headers',
    'requestheader-uid-headers',
    'requestheader-group-headers',
    'requestheader-extra-headers-prefix',
  ] as const;
  if (isKnown && !verifiesClients)
    for (const flag of ['client-ca-file', ...requestHeaderFlags] as const)
      needs(flag, 'modes that verify clients', 'leave it out, or set --authentication-mode');
  else if (clientCaFile === undefined)
    for (const flag of requestHeaderFlags)
      needs(flag, 'use with --client-ca-file', 'give that too, or leave both out to use the ConfigMap');
  return {
    authenticationMode: mode,
    verifiesClients,
    clientCaFile,
    requestHeader: {
      clientCaFile: one('requestheader-client-ca-file'),
      allowedNames: list('requestheader-allowed-names', []),
      headerNames: {
        user: list('requestheader-username-headers', ['X-Remote-User']),
        uid: list('requestheader-uid-headers', ['X-Remote-Uid']),
        group: list('requestheader-group-headers', ['X-Remote-Group']),
        extraPrefix: list('requestheader-extra-headers-prefix', ['X-Remote-Extra-']),
      },
    },
    proxyClientCertFile: one('proxy-client-cert-file'),
    proxyClientKeyFile: one('proxy-client-key-file'),
    impersonationTokenFile: one('impersonation-token-file') ?? modes[mode].defaults['impersonation-token-file'],
  };
}
