import type { ObjectStore } from './object-store.ts';
import type { ServedApis } from './served-apis.ts';

/** A request that was read completely. */
export interface SimulatedRequest {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: unknown;
  /** Undefined for an anonymous user. */
  readonly user: SimulatedUser | undefined;
}

/** The user of a token. */
export interface SimulatedUser {
  readonly name: string;
  readonly groups: readonly string[];
}

/** The answer to send. */
export type Answer =
  | {
      readonly kind: 'object';
      readonly status: number;
      readonly object: object;
      readonly headers?: Readonly<Record<string, string>>;
    }
  | {
      readonly kind: 'text';
      readonly status: number;
      readonly text: string;
      readonly headers?: Readonly<Record<string, string>>;
    }
  | { readonly kind: 'watch'; readonly start: (watcher: Watcher) => () => void };

/** The stream of a watch. */
export interface Watcher {
  send(event: { readonly type: string; readonly object: object }): void;
  end(): void;
  /** Calls back once after this time, unless the watch has ended. */
  after(ms: number, act: () => void): void;
}

/** The state that answers depend on. */
export interface AnswerContext {
  readonly apis: ServedApis;
  readonly store: ObjectStore;
  readonly users: ReadonlyMap<string, SimulatedUser>;
}

/** An object with status 200. */
export function answerObject(object: object, status = 200): Answer {
  return { kind: 'object', status, object };
}

/** A failure in the form that Kubernetes uses. */
export function answerStatus(
  code: number,
  reason: string,
  message: string,
  details: object | undefined = undefined,
): Answer {
  return { kind: 'object', status: code, object: failure(code, reason, message, details) };
}

/** The Status object of a failure. */
export function failure(code: number, reason: string, message: string, details?: object): object {
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message,
    reason,
    ...(details !== undefined && { details }),
    code,
  };
}

/** The answer for a path without an API. */
export const pageNotFound: Answer = { kind: 'text', status: 404, text: '404 page not found\n' };

/** The answer for a version or resource that the server lacks, in a group that it has. Seen on 1.33 and 1.36. */
export const resourceNotFound: Answer = answerStatus(
  404,
  'NotFound',
  'the server could not find the requested resource',
  {},
);

/** The header's text, empty if there is none. */
export function headerText(request: SimulatedRequest, name: string): string {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(',') : (value ?? '');
}
