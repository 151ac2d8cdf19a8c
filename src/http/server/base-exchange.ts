import type { RawHeaders } from '../fields.ts';
import type { HttpConnection } from './exchange.ts';
import { type Counted, fieldsCost } from './held-bytes.ts';
import type { RequestBody } from './request-body.ts';

/** The facts of a request's head, and its body. */
export interface ReceivedRequest {
  readonly method: string;
  readonly target: string;
  readonly rawHeaders: RawHeaders;
  readonly body: RequestBody | undefined;
  /** The client waits for 100 Continue before it sends its body. */
  readonly waitsForContinue: boolean;
}

/** The common parts of a request and its answer in HTTP/1.1 and HTTP/2. */
export abstract class BaseExchange<Connection extends HttpConnection> {
  readonly method: string;
  readonly target: string;
  readonly rawHeaders: RawHeaders;
  readonly connection: Connection;
  readonly hasBody: boolean;
  protected readonly requestBody: RequestBody | undefined;
  /** 0 before the answer has begun. */
  protected answered = 0;
  protected drainListener: (() => void) | undefined;
  #waitsForContinue: boolean;
  #toldToContinue = false;
  #closeListeners: ((complete: boolean) => void)[] = [];

  constructor(request: ReceivedRequest, connection: Connection) {
    this.method = request.method;
    this.target = request.target;
    this.rawHeaders = request.rawHeaders;
    this.connection = connection;
    this.hasBody = request.body !== undefined;
    this.requestBody = request.body;
    this.#waitsForContinue = request.waitsForContinue;
  }

  /** Bytes of the answer in memory. */
  protected abstract answerBytes(counted: Counted): number;

  /** Returns false if this client cannot be sent such an answer. */
  protected abstract sendInterim(status: number, rawHeaders: RawHeaders): boolean;

  keptBytes(counted: Counted): number {
    const ofRequest = 2 * this.target.length + fieldsCost(this.rawHeaders, counted);
    return ofRequest + (this.requestBody?.held ?? 0) + this.answerBytes(counted);
  }

  bodyComplete(): boolean {
    return this.requestBody === undefined || this.requestBody.complete;
  }

  body(): AsyncIterable<Uint8Array> | null {
    // A server can accept the body, so the client may send it. RFC 9110, section 10.1.1.
    if (this.#waitsForContinue && this.requestBody?.complete === false) this.interim(100, []);
    this.#waitsForContinue = false;
    return this.requestBody ?? null;
  }

  status(): number {
    return this.answered;
  }

  interim(status: number, rawHeaders: RawHeaders): void {
    if (this.answered !== 0 || (status === 100 && this.#toldToContinue)) return;
    if (this.sendInterim(status, rawHeaders) && status === 100) this.#toldToContinue = true;
  }

  onDrain(listener: () => void): void {
    this.drainListener = listener;
  }

  onClose(listener: (complete: boolean) => void): void {
    this.#closeListeners.push(listener);
  }

  /** Call it once: the answer is complete, or the client has left. */
  protected noteClose(complete: boolean): void {
    this.drainListener = undefined;
    this.requestBody?.fail(new Error(complete ? 'the request has been answered' : 'the client has left'));
    const listeners = this.#closeListeners;
    this.#closeListeners = [];
    for (const listener of listeners) listener(complete);
  }
}
