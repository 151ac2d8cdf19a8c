import { sourceHash } from '../../runtime/source-hash.ts';
import { buildReport, type StatusSnapshot } from './build-report.ts';
import { pageScript } from './page-script.ts';
import { pageStyle } from './page-style.ts';
import { renderMessage, renderPage } from './render-page.ts';

/** A request for the page, without its body. */
export interface StatusRequest {
  readonly method: string;
  readonly parameters: URLSearchParams;
}

/** A whole answer. */
export interface StatusAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Allows only the page's own style and script, and requests to its own origin. */
const contentSecurityPolicy = [
  "default-src 'none'",
  `style-src ${sourceHash(pageStyle)}`,
  `script-src ${sourceHash(pageScript)}`,
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
export function createStatusRoute(read: () => StatusSnapshot | undefined): (request: StatusRequest) => StatusAnswer {
  return ({ method, parameters }) => {
    if (method !== 'GET' && method !== 'HEAD') {
      const answer = answerOf(405, 'text/plain; charset=utf-8', 'method not allowed\n');
      return { ...answer, headers: { ...answer.headers, Allow: 'GET, HEAD' } };
    }
    const snapshot = read();
    if (snapshot === undefined) {
      const detail =
        'Another replica of the operator leads, or is about to lead. Ask again: the next answer may come from it.';
      const answer = answerOf(503, 'text/html; charset=utf-8', renderMessage('This replica does not lead', detail));
      return { ...answer, headers: { ...answer.headers, 'Retry-After': '1' } };
    }
    const report = buildReport(snapshot, parameters.get('q') ?? '');
    if (parameters.get('format') === 'json') return answerOf(200, 'application/json', `${JSON.stringify(report)}\n`);
    return answerOf(200, 'text/html; charset=utf-8', renderPage(report));
  };
}

function answerOf(status: number, type: string, body: string): StatusAnswer {
  const headers = {
    'Content-Type': type,
    'Content-Security-Policy': contentSecurityPolicy,
    'Referrer-Policy': 'no-referrer',
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Cache-Control': 'no-store',
  };
  return { status, headers, body };
}
