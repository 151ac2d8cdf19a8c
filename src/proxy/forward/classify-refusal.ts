/**
 * Whether an answer is the refusal of a kube-apiserver that is shutting down and has not looked at the request.
 *
 * Sources: `waitGroupWriteRetryAfterToResponse` (503) and `WithRetryAfter` (429) in `pkg/server/filters` of
 * k8s.io/apiserver 0.36. Both come from filters before every handler, so nothing was carried out.
 */
export function isShutdownRefusal(status: number, body: Buffer): boolean {
  if (status !== 503 && status !== 429) return false;
  try {
    const { kind, message } = JSON.parse(body.toString('utf8')) as { kind?: unknown; message?: unknown };
    return kind === 'Status' && typeof message === 'string' && /^(The )?apiserver is shutting down\b/.test(message);
  } catch {
    return false;
  }
}
