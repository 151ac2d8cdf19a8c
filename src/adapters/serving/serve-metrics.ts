import { hostname } from 'node:os';
import type { ServingFlags } from '../../flags/serving-flags.ts';
import { systemClock } from '../../runtime/clock.ts';
import { type CertificatePair, createSelfSignedCertificate } from '../../runtime/issue-certificate.ts';
import type { ApiClient } from '../kubernetes/api-client.ts';
import { type Endpoint, type EndpointOptions, serveEndpoint } from './http-endpoint.ts';
import { createReviewAccess } from './review-access.ts';

/** Serves metrics as the flags say: over TLS, to everybody whom the cluster lets `get /metrics`. */
export async function serveMetrics(
  flags: Pick<ServingFlags, 'metricsBindAddress' | 'metricsSecure'>,
  options: Pick<EndpointOptions, 'metrics' | 'extra'> & {
    /** Asked who a token belongs to. It connects only if access is reviewed. */
    readonly client: () => Pick<ApiClient, 'create'>;
    /** Without one, the process signs its own. */
    readonly certificate?: () => CertificatePair;
  },
  signal: AbortSignal,
): Promise<Endpoint | undefined> {
  const { client, certificate, ...content } = options;
  if (flags.metricsBindAddress === undefined) return undefined;
  const bindAddress = flags.metricsBindAddress;
  if (!flags.metricsSecure) return serveEndpoint({ bindAddress, ...content }, signal);
  const reviewAccess = createReviewAccess(client(), systemClock);
  const secured = { bindAddress, reviewAccess, certificate: orSelfSigned(certificate) };
  return serveEndpoint({ ...secured, ...content }, signal);
}

/** Uses a self-signed certificate until the wanted one can be read for the first time. */
function orSelfSigned(certificate: (() => CertificatePair) | undefined): () => CertificatePair {
  const selfSigned = createSelfSignedCertificate(hostname(), systemClock.date());
  if (certificate === undefined) return () => selfSigned;
  let own: CertificatePair | undefined = selfSigned;
  return () => {
    try {
      const pair = certificate();
      own = undefined;
      return pair;
    } catch (error) {
      if (own === undefined) throw error;
      return own;
    }
  };
}
