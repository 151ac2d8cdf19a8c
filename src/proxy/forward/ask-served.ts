import { findJsonExcess } from '../../domain/count-json.ts';
import type { RequestInfo } from '../../domain/request-info.ts';
import { headerValue } from '../../http/fields.ts';
import type { Clock } from '../../runtime/clock.ts';
import { bearerToken } from '../identity/bearer-token.ts';
import type { PeerTarget, PeerTransport } from '../ports.ts';
import type { Exchange } from '../request/exchange.ts';
import { fetchWhole } from '../servers/fetch-whole.ts';

/** Whether a server serves a resource, by its own discovery: `untold` if it does not say. */
export type ServedAnswer = 'served' | 'absent' | 'untold';

const maxListBytes = 4 * 1024 * 1024;

/**
 * Asks one server, now and as the client, whether it serves the resource of a request, or the
 * subresource that the request names.
 *
 * The answer is about the moment after one 404, so it is neither cached nor shared. The list of a group-version is a
 * server's own in every version, whatever it knows of its peers.
 */
export async function askServed(
  asking: { readonly transport: PeerTransport; readonly clock: Clock },
  target: PeerTarget,
  exchange: Exchange,
  info: RequestInfo,
): Promise<ServedAnswer> {
  // Only the server knows whether it serves a path that names no resource.
  if (!info.isResourceRequest) return 'absent';
  const { apiPrefix, group, version, resource, subresource } = info;
  const parts = group === '' ? [version] : [group, version];
  const answer = await fetchWhole(asking, target, exchange, {
    method: 'GET',
    path: `/${[apiPrefix, ...parts.map(encodeURIComponent)].join('/')}`,
    headers: ['Accept', 'application/json', ...tokenOfProtocols(exchange)],
    maxBytes: maxListBytes,
  });
  if (answer.kind === 'fault') return 'untold';
  if (answer.status === 404) return 'absent';
  const names = answer.status === 200 && !answer.cut ? readNames(answer.body) : undefined;
  if (names === undefined) return 'untold';
  return names.has(subresource === '' ? resource : `${resource}/${subresource}`) ? 'served' : 'absent';
}

function readNames(body: Buffer): ReadonlySet<string> | undefined {
  if (findJsonExcess(body) !== undefined) return undefined;
  try {
    const list: unknown = JSON.parse(body.toString('utf8'));
    if (typeof list !== 'object' || list === null || !('kind' in list) || list.kind !== 'APIResourceList')
      return undefined;
    const resources = 'resources' in list ? (list.resources ?? []) : [];
    if (!Array.isArray(resources)) return undefined;
    return new Set(resources.map(({ name }: { readonly name: string }) => name));
  } catch {
    return undefined;
  }
}

/** Takes the token of a browser's WebSocket from its protocols, since this question is no WebSocket. */
function tokenOfProtocols(exchange: Exchange): string[] {
  if (headerValue(exchange.rawHeaders, 'authorization') !== undefined) return [];
  const token = bearerToken(exchange);
  return token !== undefined && /^[\x21-\x7e]+$/.test(token) ? ['Authorization', `Bearer ${token}`] : [];
}
