import { isProxied, parseRequestInfo } from '../../domain/request-info.ts';
import { isProtocolList } from '../../http/field-syntax.ts';

/**
 * True if an upgrade is passed on. kube-apiserver switches only to WebSocket and SPDY/3.1 and ignores every other
 * protocol (RFC 9110, section 7.8), unless a backend decides: under `proxy`, and in groups that may be aggregated.
 */
export function isUpgradePassedOn(
  protocol: string,
  method: string,
  target: string,
  { hasBody }: { readonly hasBody: boolean },
): boolean {
  if (/^(websocket|spdy\/3\.1)$/i.test(protocol)) return true;
  if (hasBody || !isProtocolList(protocol)) return false;
  const parsed = parseRequestInfo(method, target);
  return parsed.kind === 'ok' && (isProxied(parsed.info) || parsed.info.apiPrefix === 'apis');
}
