import { PluginError, type StatusPage } from '../../plugin/ports.ts';
import type { Clock } from '../../runtime/clock.ts';
import { delegatedTokenHeader, tokenAudience } from '../serving/review-access.ts';
import type { ApiClient } from './api-client.ts';
import { ApiError } from './api-error.ts';

const viewer = 'peerdiscovery-status-viewer';
const service = 'https:peerdiscovery-operator-metrics:metrics';
const tokenSeconds = 600;
/** One of three replicas leads, and the API server picks one at random. */
const maxAttempts = 16;

/**
 * Reads the status page from the leading replica, through the API server's proxy for Services.
 *
 * That proxy removes the user's own credential, and does not verify the operator's certificate. So the request carries
 * a token that is valid for ten minutes and only for the operator, of an account that may only read the page.
 */
export function createStatusPageReader(
  client: Pick<ApiClient, 'create' | 'read'>,
  namespace: string,
  clock: Clock,
): (search: string) => Promise<StatusPage> {
  const base = `/api/v1/namespaces/${encodeURIComponent(namespace)}`;
  let known: { readonly token: string; readonly renewAt: number } | undefined;

  async function viewerToken(): Promise<string> {
    if (known !== undefined && clock.now() < known.renewAt) return known.token;
    const { status } = await client.create<{ readonly status: { readonly token: string } }>(
      `${base}/serviceaccounts/${viewer}/token`,
      {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        spec: { audiences: [tokenAudience], expirationSeconds: tokenSeconds },
      },
    );
    known = { token: status.token, renewAt: clock.now() + (tokenSeconds * 1_000) / 2 };
    return known.token;
  }

  return async (search) => {
    const parameters = new URLSearchParams(search);
    const query = Object.fromEntries(parameters);
    for (let attempt = 1; ; attempt += 1)
      try {
        const headers = { [delegatedTokenHeader]: await viewerToken() };
        const { headers: received, body } = await client.read(`${base}/services/${service}/proxy/status`, {
          query,
          headers,
        });
        const one = (name: string) => String(received[name] ?? '');
        return { contentType: one('content-type'), policy: one('content-security-policy'), body };
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (error.code !== 503 || attempt === maxAttempts) throw explain(error, namespace);
      }
  };
}

/** An answer without a Status came from the operator, not from the API server. */
function explain(error: ApiError, namespace: string): Error {
  if (error.status !== undefined || error.code === 0) return error;
  const options = { cause: error };
  if (error.code === 503)
    return new PluginError(
      `no replica of the operator in namespace ${namespace} leads, or none can ask the API server who you are`,
      'wait a few seconds; "kubectl peerdiscovery doctor" looks for what is in the way',
      options,
    );
  return new PluginError(
    `the operator in namespace ${namespace} refuses to show its status page (${error.code})`,
    'apply config/rbac/operator again: it lets ServiceAccount peerdiscovery-status-viewer get /status',
    options,
  );
}
