import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import { createSecureContext } from 'node:tls';
import type {
  AuthenticationMode,
  ClientAuthorities,
  FrontTls,
  ProxyMetrics,
  RequestHeaderNames,
} from '../../proxy/ports.ts';
import { readCertificates } from '../../runtime/certificates.ts';
import type { Log } from '../../runtime/log.ts';
import { messageOf } from '../../runtime/message-of.ts';
import { readAnchors } from '../../runtime/trust-anchors.ts';
import type { PeerTls } from '../peers/peer-tls.ts';
import { createPeerTls } from '../peers/peer-tls.ts';
import type { ReadinessCheck } from '../serving/http-endpoint.ts';

/** Files with the proxy's credentials, each by the flag that names it. */
export interface CredentialFiles {
  readonly authenticationMode: AuthenticationMode['kind'];
  /** True if the mode asks clients for certificates. */
  readonly verifiesClients: boolean;
  readonly tlsCertFile: string;
  readonly tlsPrivateKeyFile: string;
  readonly peerCaFile: string;
  readonly proxyClientCertFile: string | undefined;
  readonly proxyClientKeyFile: string | undefined;
  readonly clientCaFile: string | undefined;
  readonly requestHeader: {
    readonly clientCaFile: string | undefined;
    readonly allowedNames: readonly string[];
    readonly headerNames: RequestHeaderNames;
  };
  readonly impersonationTokenFile: string | undefined;
}

/** The proxy's own credentials and its trust anchors, from files that may change at any time. */
export interface ProxyCredentials {
  readonly peerTls: PeerTls;
  readonly authentication: AuthenticationMode;
  frontTls(): FrontTls;
  /** Passes once the CAs for client certificates are known, or if none are needed. */
  check(): ReadinessCheck;
  /** Takes the CAs from the ConfigMap, if no file was named. */
  replaceAuthorities(authorities: ClientAuthorities): void;
  /** Re-reads files that change until `signal` aborts. If a file cannot be used, the last good one stays in use. */
  follow(options: {
    readonly metrics: Pick<ProxyMetrics, 'certificateExpiry' | 'reloadFailures'>;
    readonly log: Log;
    readonly now: () => number;
    readonly onFrontTls: (tls: FrontTls) => void;
    readonly watch?: WatchFiles;
    readonly signal: AbortSignal;
  }): void;
}

/** Calls back whenever one of the files may have changed, until `signal` aborts. */
export type WatchFiles = (files: readonly string[], onChange: () => void, signal: AbortSignal) => void;

/** The credentials, or the error in each named file. */
export type LoadedCredentials =
  | { readonly kind: 'credentials'; readonly credentials: ProxyCredentials }
  | { readonly kind: 'problems'; readonly problems: readonly string[] };

interface Source {
  /** For metrics and logs. */
  readonly certificate: string;
  readonly flags: string;
  readonly files: readonly string[];
  /** Reads and activates the files, or throws and changes nothing. Returns the certificates as PEM. */
  readonly load: () => string;
}

/** Polling detects renames and symlink swaps alike, as in mounted Secrets. */
const pollFiles: WatchFiles = (files, onChange, signal) => {
  for (const file of files) watchFile(file, { interval: 2_000, persistent: false }, onChange);
  signal.addEventListener('abort', () => {
    for (const file of files) unwatchFile(file, onChange);
  });
};

/** Reads every named file before anything listens. */
export function loadCredentials(flags: CredentialFiles): LoadedCredentials {
  const read = (file: string) => readFileSync(file, 'utf8');
  let front: { cert: string; key: string } = { cert: '', key: '' };
  let authorities: ClientAuthorities = {
    clientCa: [],
    requestHeaderCa: [],
    allowedNames: flags.requestHeader.allowedNames,
    headerNames: flags.requestHeader.headerNames,
  };
  let peerCa = '';
  let frontProxy: { cert: string; key: string } | undefined;
  let token: string | undefined;
  let peerTls: PeerTls | undefined;
  const usePeerTls = (ca: string, pair: typeof frontProxy) => {
    if (ca === '') return;
    if (peerTls === undefined) peerTls = createPeerTls({ ca, frontProxy: pair });
    else peerTls.replace({ ca, frontProxy: pair });
  };
  const sources: Source[] = [
    {
      certificate: 'serving',
      flags: '--tls-cert-file and --tls-private-key-file',
      files: [flags.tlsCertFile, flags.tlsPrivateKeyFile],
      load: () => {
        const pair = { cert: read(flags.tlsCertFile), key: read(flags.tlsPrivateKeyFile) };
        createSecureContext(pair);
        front = pair;
        return pair.cert;
      },
    },
    {
      certificate: 'peer-ca',
      flags: '--peer-ca-file',
      files: [flags.peerCaFile],
      load: () => {
        const ca = read(flags.peerCaFile);
        const anchors = readAnchors(ca);
        usePeerTls(ca, frontProxy);
        peerCa = ca;
        return anchors.map((anchor) => anchor.toString()).join('');
      },
    },
  ];
  const { proxyClientCertFile, proxyClientKeyFile, clientCaFile, impersonationTokenFile } = flags;
  if (proxyClientCertFile !== undefined && proxyClientKeyFile !== undefined)
    sources.push({
      certificate: 'front-proxy',
      flags: '--proxy-client-cert-file and --proxy-client-key-file',
      files: [proxyClientCertFile, proxyClientKeyFile],
      load: () => {
        const pair = { cert: read(proxyClientCertFile), key: read(proxyClientKeyFile) };
        createSecureContext(pair);
        usePeerTls(peerCa, pair);
        frontProxy = pair;
        return pair.cert;
      },
    });
  if (clientCaFile !== undefined)
    sources.push({
      certificate: 'client-ca',
      flags: '--client-ca-file',
      files: [clientCaFile],
      load: () => {
        const ca = read(clientCaFile);
        authorities = { ...authorities, clientCa: readCertificates(ca) };
        return ca;
      },
    });
  const requestHeaderCaFile = flags.requestHeader.clientCaFile;
  if (requestHeaderCaFile !== undefined)
    sources.push({
      certificate: 'requestheader-client-ca',
      flags: '--requestheader-client-ca-file',
      files: [requestHeaderCaFile],
      load: () => {
        const ca = read(requestHeaderCaFile);
        authorities = { ...authorities, requestHeaderCa: readCertificates(ca) };
        return ca;
      },
    });
  if (impersonationTokenFile !== undefined)
    sources.push({
      certificate: 'impersonation-token',
      flags: '--impersonation-token-file',
      files: [impersonationTokenFile],
      load: () => {
        const text = read(impersonationTokenFile).trim();
        if (!/^[\x21-\x7e]+$/.test(text)) throw new Error('it must be a token on one line');
        token = text;
        return '';
      },
    });

  const problems: string[] = [];
  const loadedAt = new Map<Source, number>();
  const pems = new Map<Source, string>();
  for (const source of sources) {
    try {
      pems.set(source, source.load());
    } catch (error) {
      problems.push(`${source.flags}: ${messageOf(error)}`);
    }
  }
  if (problems.length > 0 || peerTls === undefined) return { kind: 'problems', problems };

  const asksClients = flags.verifiesClients;
  const pem = () =>
    [...authorities.clientCa, ...authorities.requestHeaderCa].map((certificate) => certificate.toString());
  const frontTls = (): FrontTls => ({ ...front, clientCa: asksClients ? pem() : undefined });
  let useFrontTls: (tls: FrontTls) => void = () => {};
  let noteExpiry: (certificate: string, certificates: ReturnType<typeof readCertificates>) => void = () => {};
  const authentication = modeOf(
    flags.authenticationMode,
    () => authorities,
    () => token,
  );
  const credentials: ProxyCredentials = {
    peerTls,
    authentication,
    frontTls,
    check: () => ({
      name: 'client-ca',
      ok: !asksClients || authorities.clientCa.length > 0,
      message: 'the proxy has not read kube-system/extension-apiserver-authentication yet; see --client-ca-file',
    }),
    replaceAuthorities: (fresh) => {
      authorities = fresh;
      useFrontTls(frontTls());
      noteExpiry('client-ca', [...fresh.clientCa]);
      if (fresh.requestHeaderCa.length > 0) noteExpiry('requestheader-client-ca', [...fresh.requestHeaderCa]);
    },
    follow: ({ metrics, log, now, onFrontTls, signal, watch = pollFiles }) => {
      useFrontTls = onFrontTls;
      noteExpiry = (certificate, certificates) => {
        const expiry = Math.min(...certificates.map(({ validToDate }) => validToDate.getTime()));
        metrics.certificateExpiry.set({ certificate }, expiry / 1_000);
      };
      for (const source of sources) {
        const { certificate, flags: named, files } = source;
        const loaded = (text: string) => {
          loadedAt.set(source, now());
          if (text !== '') noteExpiry(certificate, readCertificates(text));
        };
        loaded(pems.get(source) ?? '');
        const reload = () => {
          try {
            loaded(source.load());
            if (certificate !== 'peer-ca' && certificate !== 'front-proxy') useFrontTls(frontTls());
            log.info('re-read changed files', { certificate, files });
          } catch (error) {
            metrics.reloadFailures.inc({ certificate });
            const inUseForSeconds = Math.round((now() - (loadedAt.get(source) ?? 0)) / 1_000);
            const why = messageOf(error);
            log.warn(`${named}: the changed file cannot be used; the last good one stays in use`, {
              certificate,
              files,
              inUseForSeconds,
              why,
            });
          }
        };
        watch(files, reload, signal);
      }
    },
  };
  return { kind: 'credentials', credentials };
}

function modeOf(
  kind: AuthenticationMode['kind'],
  authorities: () => ClientAuthorities,
  token: () => string | undefined,
): AuthenticationMode {
  switch (kind) {
    case 'TokenPassthrough':
      return { kind };
    case 'RequestHeader':
      return { kind, authorities };
    case 'Impersonation':
      return { kind, authorities, token };
  }
}
