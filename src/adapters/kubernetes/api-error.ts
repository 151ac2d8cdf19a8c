/** The object of a 404: one object, or the whole resource that the server does not serve. */
export type Missing = 'Object' | 'Resource';

/** The fields of a Kubernetes `Status` that are of use here. */
export interface StatusBody {
  readonly kind?: string;
  readonly code?: number;
  readonly reason?: string;
  readonly message?: string;
  readonly details?: { readonly name?: string; readonly kind?: string; readonly retryAfterSeconds?: number };
}

/** The data of an `ApiError`. */
export interface ApiErrorFields {
  readonly code: number;
  readonly reason: string;
  readonly method: string;
  readonly path: string;
  readonly retryAfterMs?: number | undefined;
  readonly status?: StatusBody | undefined;
}

/**
 * A request that the API server refused, or that got no complete answer. Distinguish them by `code` and `reason`, never
 * by text.
 */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  /** HTTP status code; 0 if there was no whole answer. */
  readonly code: number;
  /** The `reason` of the Status; else `ConnectionFailed`, `Timeout`, `BodyTooLarge`, `Malformed` or the status text. */
  readonly reason: string;
  readonly method: string;
  readonly path: string;
  /** The delay that the server asked for, if it did. */
  readonly retryAfterMs: number | undefined;
  readonly status: StatusBody | undefined;

  constructor(message: string, fields: ApiErrorFields, options?: ErrorOptions) {
    super(message, options);
    this.code = fields.code;
    this.reason = fields.reason;
    this.method = fields.method;
    this.path = fields.path;
    this.retryAfterMs = fields.retryAfterMs;
    this.status = fields.status;
  }

  /**
   * The missing object, for a 404. kube-apiserver names the object in its Status, and sends plain text for an unknown
   * path.
   */
  get missing(): Missing | undefined {
    if (this.code !== 404) return undefined;
    return this.status?.details?.name ? 'Object' : 'Resource';
  }
}
