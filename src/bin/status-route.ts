import { createHash } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { EndpointRoute } from '../adapters/serving/http-endpoint.ts';
import { buildReport, type StatusSnapshot } from '../operator/status-page/build-report.ts';
import { pageScript } from '../operator/status-page/page-script.ts';
import { pageStyle } from '../operator/status-page/page-style.ts';
import { renderMessage, renderPage } from '../operator/status-page/render-page.ts';

const hashOf = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

/** Allows only the page's own style and script, and requests to its own origin. */
const contentSecurityPolicy = [
  "default-src 'none'",
  `style-src ${hashOf(pageStyle)}`,
  `script-src ${hashOf(pageScript)}`,
  "connect-src 'self'",
  'img-src data:',
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ');

/**
 * Serves the status page, or its data with `?format=json`. It builds the page on request only.
 *
 * `read` returns undefined in a replica that does not lead; the answer is then 503.
 */
export function createStatusRoute(read: () => StatusSnapshot | undefined): EndpointRoute {
  return (request, response) => {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('Allow', 'GET, HEAD');
      return send(response, 405, 'text/plain; charset=utf-8', 'method not allowed\n');
    }
    const parameters = new URL(request.url ?? '/', 'http://endpoint').searchParams;
    const snapshot = read();
    if (snapshot === undefined) {
      response.setHeader('Retry-After', '1');
      const detail =
        'Another replica of the operator leads, or is about to lead. Ask again: the next answer may come from it.';
      return send(response, 503, 'text/html; charset=utf-8', renderMessage('This replica does not lead', detail));
    }
    const report = buildReport(snapshot, parameters.get('q') ?? '');
    if (parameters.get('format') === 'json')
      return send(response, 200, 'application/json', `${JSON.stringify(report)}\n`);
    return send(response, 200, 'text/html; charset=utf-8', renderPage(report));
  };
}

function send(response: ServerResponse, status: number, type: string, text: string): void {
  response.writeHead(status, {
    'Content-Type': type,
    'Content-Length': Buffer.byteLength(text),
    'Content-Security-Policy': contentSecurityPolicy,
    'Referrer-Policy': 'no-referrer',
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
  });
  response.end(response.req.method === 'HEAD' ? undefined : text);
}
