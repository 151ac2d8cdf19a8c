import { bearsNames, readCertificates, readPair } from '../runtime/certificates.ts';
import type { Clock } from '../runtime/clock.ts';
import { type CertificatePair, clockSkewMs, issueCertificate } from '../runtime/issue-certificate.ts';
import type { Log } from '../runtime/log.ts';
import { messageOf } from '../runtime/message-of.ts';
import type { Authority, CertificateStore, WantedCertificate } from './ports.ts';

/** Stands for the addresses of the control-plane Nodes in a list of names. */
const controlPlaneNodes = 'control-plane-nodes';

export interface KeepCertificatesOptions {
  readonly store: CertificateStore;
  /** Namespace of the CA's own Secret. */
  readonly namespace: string;
  readonly wanted: readonly WantedCertificate[];
  /** Lifetime of a serving certificate. It is renewed when a third of that is left. */
  readonly lifetimeMs: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}

const dayMs = 24 * 60 * 60 * 1_000;
const authorityLifetimeMs = 3_650 * dayMs;
/** How long before its end a CA gets a successor. */
const authorityRenewalMs = 365 * dayMs;
/** How long clients have to learn of a CA before it signs anything. */
const authorityPublishedMs = 30 * dayMs;
const longestIntervalMs = 60_000;

/**
 * Keeps a CA, the serving certificates that it signs, and the CA's certificates where clients read them, until the
 * signal aborts. It checks each one every minute, and replaces it if it is missing, about to expire, or not as
 * required.
 */
export async function keepCertificates(options: KeepCertificatesOptions): Promise<void> {
  const { clock, lifetimeMs, log, signal } = options;
  const intervalMs = Math.min(longestIntervalMs, lifetimeMs / 10);
  const troubles = new Map<string, string>();
  /** Logs a trouble when it begins and changes, not every minute. */
  const attempt = async (what: string, work: () => Promise<void>): Promise<void> => {
    try {
      await work();
      if (troubles.delete(what)) log.info('certificates can be issued again', { what });
    } catch (error) {
      const why = messageOf(error);
      if (signal.aborted || troubles.get(what) === why) return;
      troubles.set(what, why);
      log.error('cannot issue a certificate', { what, why });
    }
  };
  while (!signal.aborted) {
    await attempt('CA', async () => {
      const authority = await keepAuthority(options);
      for (const wanted of options.wanted)
        await attempt(`${wanted.namespace}/${wanted.secret}`, () => keepServing(options, wanted, authority));
    });
    await clock.sleep(intervalMs, signal);
  }
}

async function keepAuthority({ store, namespace, clock, log }: KeepCertificatesOptions): Promise<Authority> {
  const stored = await store.readAuthority(namespace);
  const authority = renewed(stored, namespace, clock.date());
  if (authority !== stored) {
    await store.writeAuthority(namespace, authority);
    log.info('the CA was renewed', { namespace, until: readPair(authority.signing).validTo });
  }
  await store.publishAuthority(namespace, bundleOf(authority, clock.date()));
  return authority;
}

function renewed(stored: Authority | undefined, namespace: string, now: number): Authority {
  try {
    return renewAuthority(stored, now);
  } catch (error) {
    const why = messageOf(error);
    throw new Error(
      `the CA's Secret in ${namespace} cannot be used: ${why}; delete it, and the operator makes a new CA`,
      {
        cause: error,
      },
    );
  }
}

/**
 * The CA to use from now on; `stored` itself if nothing has to change. If the CA is unusable, it throws and changes
 * nothing.
 */
export function renewAuthority(stored: Authority | undefined, now: number): Authority {
  if (stored === undefined) return { signing: newAuthority(now) };
  const { signing, next } = stored;
  const certificate = readPair(signing);
  if (!certificate.ca) throw new Error('its certificate is not a CA certificate');
  const endsAt = certificate.validToDate.getTime();
  if (endsAt <= now) return { signing: next ?? newAuthority(now), previous: signing.cert };
  if (endsAt - now > authorityRenewalMs) return stored;
  if (next === undefined) return { ...stored, next: newAuthority(now) };
  const knownSince = readPair(next).validFromDate.getTime() + clockSkewMs;
  return now - knownSince < authorityPublishedMs ? stored : { signing: next, previous: signing.cert };
}

/** The CAs that clients should trust: every one that has not expired, the signing one first. */
export function bundleOf({ signing, next, previous }: Authority, now: number): string {
  return [signing.cert, next?.cert, previous]
    .flatMap((pem) => (pem === undefined ? [] : readCertificates(pem)))
    .filter(({ validToDate }) => validToDate.getTime() > now)
    .map((certificate) => certificate.toString())
    .join('');
}

async function keepServing(
  { store, namespace: authorityNamespace, lifetimeMs, clock, log }: KeepCertificatesOptions,
  { namespace, secret, names: wantedNames }: WantedCertificate,
  authority: Authority,
): Promise<void> {
  const addresses = wantedNames.includes(controlPlaneNodes) ? await store.readNodeAddresses() : [];
  const names = [...new Set(wantedNames.flatMap((name) => (name === controlPlaneNodes ? addresses : [name])))].sort();
  if (names.length === 0) throw new Error('no control-plane Node has an address');
  const now = clock.date();
  // Clients learn about a CA before it signs anything; those in its own namespace already have.
  if (namespace !== authorityNamespace) await store.publishAuthority(namespace, bundleOf(authority, now));
  const why = whyRenew(await store.readServing(namespace, secret), names, authority, lifetimeMs, now);
  if (why === undefined) return;
  const { signing } = authority;
  const notAfter = Math.min(now + lifetimeMs, readPair(signing).validToDate.getTime());
  const validity = { notBefore: now - clockSkewMs, notAfter };
  const [commonName = ''] = names;
  const pair = issueCertificate({
    // X.520 allows 64 characters, and nobody reads it.
    commonName: commonName.slice(0, 64),
    usage: 'Server',
    names,
    issuer: signing,
    ...validity,
  });
  await store.writeServing(namespace, secret, pair);
  log.info('a serving certificate was issued', {
    namespace,
    name: secret,
    names,
    until: new Date(notAfter).toISOString(),
    why,
  });
}

/** Why a serving certificate must be replaced; undefined if it need not. */
export function whyRenew(
  pair: CertificatePair | undefined,
  names: readonly string[],
  authority: Authority,
  lifetimeMs: number,
  now: number,
): string | undefined {
  if (pair === undefined) return 'there is none';
  let certificate: ReturnType<typeof readPair>;
  try {
    certificate = readPair(pair);
  } catch {
    return "the Secret's certificate cannot be used";
  }
  const believed = readCertificates(bundleOf(authority, now));
  if (!believed.some((ca) => certificate.checkIssued(ca) && certificate.verify(ca.publicKey)))
    return 'the CA has not issued it';
  if (certificate.validToDate.getTime() - now < lifetimeMs / 3) return 'it expires soon';
  if (!bearsNames(certificate, names)) return 'it has other names';
  return undefined;
}

function newAuthority(now: number): CertificatePair {
  const validity = { notBefore: now - clockSkewMs, notAfter: now + authorityLifetimeMs };
  // Each CA has a name of its own, because verifiers look up issuers by name.
  return issueCertificate({ commonName: `peerdiscovery-ca@${Math.floor(now / 1_000)}`, usage: 'CA', ...validity });
}
