import type { Dispatcher } from 'undici';
import { ApiError, type ApiErrorFields, type StatusBody } from './api-error.ts';

type ApiErrorOrigin = Pick<ApiErrorFields, 'method' | 'path'>;

/** The whole body, or undefined if it is longer than `maxBytes`. */
export async function readBounded(body: AsyncIterable<Uint8Array>, maxBytes: number): Promise<Buffer | undefined> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body) {
    length += chunk.length;
    if (length > maxBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}

/** The error that a refusal says, with its `Status` if it has one. */
export async function readRefusal(call: ApiErrorOrigin, response: Dispatcher.ResponseData): Promise<ApiError> {
  const body = await readBounded(response.body, 1024 * 1024).catch(() => undefined);
  const status = parseStatus(body);
  const text = status?.message ?? body?.toString('utf8', 0, 300).trim() ?? '';
  const code = response.statusCode;
  return new ApiError(`${call.method} ${call.path}: ${code} ${text.slice(0, 2000)}`, {
    code,
    reason: status?.reason || response.statusText || 'Unknown',
    method: call.method,
    path: call.path,
    retryAfterMs: parseRetryAfterMs(response.headers['retry-after'], status),
    status,
  });
}

function parseStatus(body: Buffer | undefined): StatusBody | undefined {
  try {
    const value: unknown = JSON.parse(body?.toString('utf8') ?? '');
    if (typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'Status') {
      return value as StatusBody;
    }
  } catch {
    // Plain text, as for unknown paths.
  }
  return undefined;
}

function parseRetryAfterMs(header: string | string[] | undefined, status: StatusBody | undefined): number | undefined {
  // Only the seconds form of RFC 9110, section 10.2.3: kube-apiserver sends no other.
  const text = Array.isArray(header) ? header[0] : header;
  const seconds = text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : status?.details?.retryAfterSeconds;
  return typeof seconds === 'number' && seconds >= 0 ? seconds * 1000 : undefined;
}
