import { X509Certificate } from 'node:crypto';
import { request } from 'node:https';
import { isIP } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { type HostPort, parseAddress } from '../../domain/address.ts';
import { checkServerName } from '../../http/client/open-verified.ts';
import type { ServerInspection } from '../../plugin/ports.ts';
import { messageOf } from '../../runtime/message-of.ts';
import { type AnchorOptions, anchorSets, tryEach } from '../../runtime/trust-anchors.ts';
import { withoutNodeAdvice } from '../../runtime/without-node-advice.ts';

/**
 * The facts that a server shows without a credential: whether its certificate chains to the CA and contains the name,
 * how long it is valid, and how far its clock differs from this one.
 */
export async function inspectServer(options: InspectionOptions): Promise<ServerInspection> {
  const { address, caPem } = options;
  const target = parseAddress(address);
  if (target === undefined) return { kind: 'unreachable', message: `${address} is not an address` };
  try {
    const anyOf = tryEach(anchorSets(caPem ?? ''));
    return await anyOf(address, (anchors) => inspectWith(anchors, target, options));
  } catch (error) {
    const message = messageOf(error);
    return { kind: 'refused', message: withoutNodeAdvice(message) };
  }
}

interface InspectionOptions {
  readonly address: string;
  readonly serverName: string;
  /** Without a CA nothing verifies, because the operator refuses its peers then. */
  readonly caPem: string | undefined;
  readonly timeoutMs: number;
  readonly now: () => number;
}

/** Rejects if the certificate does not verify. */
function inspectWith(
  anchors: AnchorOptions,
  target: HostPort,
  { serverName, timeoutMs, now }: InspectionOptions,
): Promise<ServerInspection> {
  return new Promise((resolve, reject) => {
    const askedAt = now();
    const asking = request({
      host: target.host,
      port: target.port,
      ...(isIP(serverName) === 0 && { servername: serverName }),
      path: '/livez',
      agent: false,
      timeout: timeoutMs,
      checkServerIdentity: (_host, { raw }) => checkServerName(serverName, raw),
      ...anchors,
    });
    asking.once('response', (response) => {
      const answeredAt = now();
      const date = Date.parse(response.headers.date ?? '');
      const { raw } = (response.socket as TLSSocket).getPeerCertificate();
      response.destroy();
      resolve({
        kind: 'verified',
        notAfter: Date.parse(new X509Certificate(raw).validTo),
        // `Date` is cut to the second, so it lacks half a second on average.
        skewMs: Number.isNaN(date) ? undefined : date + 500 - (askedAt + answeredAt) / 2,
      });
    });
    asking.once('timeout', () => asking.destroy(new Error(`no answer within ${timeoutMs} ms`)));
    asking.once('error', (error) => {
      const refused = Boolean((asking.socket as TLSSocket | null)?.authorizationError);
      if (refused) reject(error);
      else resolve({ kind: 'unreachable', message: error.message });
    });
    asking.end();
  });
}
