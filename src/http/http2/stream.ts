/** Receives the events of a stream. Nothing is called after `onClosed`. */
export interface StreamUser {
  /** Returning false pauses the stream until `resume`. */
  onData(chunk: Buffer): boolean;
  /** The last byte has arrived. */
  onEnd(): void;
  /** The stream takes more writes. */
  onRoom(): void;
  /**
   * Called once. `complete` means that the socket has accepted every write and that neither side has reset the stream.
   */
  onClosed(complete: boolean): void;
}

/** The parts of a connection that a stream uses. */
export interface StreamHost {
  /** Schedules sending the stream's queue. */
  flushSoon(stream: Http2Stream): void;
  reset(stream: Http2Stream, code: number): void;
  /** The user reads again after a pause. */
  onResume(stream: Http2Stream): void;
  /** True while the socket accepts no more. */
  isCongested(): boolean;
  sendInterim(stream: Http2Stream, block: string): void;
}

/** `write` returns false above this many unsent bytes. */
const highMark = 128 * 1024;

/** One request and its answer. Members marked "for the connection" are the connection's alone. */
export class Http2Stream {
  readonly id: number;
  user: StreamUser | undefined;
  /** For the connection: bytes that may be sent, and that the peer may send. */
  sendWindow: number;
  receiveWindow: number;
  /** For the connection: bytes of the body still to come; undefined without a Content-Length. */
  awaited: number | undefined;
  /** For the connection: bytes read and not yet given back to the sender's window. */
  credit = 0;
  /** For the connection: bytes handed to the user while it was paused. */
  owed = 0;
  /** The same, plus the cost of the chunks. */
  owedCost = 0;
  isPaused = false;
  /** Error code with which the peer has reset the stream, if it has. */
  resetCode: number | undefined;
  /** For a client's connection: the answer's status; a negative number counts the interim answers so far. */
  answered = 0;
  /** True once everything has arrived (remote) or was sent (local). */
  remoteEnded = false;
  localEnded = false;
  isClosed = false;
  /** For the connection: fields to send before anything else. */
  head = '';
  chunks: Uint8Array[] | undefined;
  /** Bytes of the first chunk already sent. */
  offset = 0;
  queued = 0;
  /** Nothing more will be written. */
  isEnding = false;
  trailers = '';
  /** For the connection: whether the stream is queued to send. */
  isReady = false;
  wantsDrain = false;
  /** For `StreamTable`. */
  next: Http2Stream | undefined;
  readonly #host: StreamHost;

  constructor(id: number, host: StreamHost, sendWindow: number, receiveWindow: number) {
    this.id = id;
    this.#host = host;
    this.sendWindow = sendWindow;
    this.receiveWindow = receiveWindow;
  }

  /** Sends encoded fields before any data. */
  begin(block: string): void {
    this.head = block;
    this.#host.flushSoon(this);
  }

  /** Sends the fields of an interim answer at once. */
  interim(block: string): void {
    if (!this.isClosed && !this.localEnded) this.#host.sendInterim(this, block);
  }

  /** Returns false if the caller should wait for `onRoom`. */
  write(chunk: Uint8Array): boolean {
    this.#add(chunk);
    if (this.queued === 0 || (this.queued < highMark && !this.#host.isCongested())) return true;
    this.wantsDrain = true;
    return false;
  }

  /** Ends the sending side, with encoded trailers if given. */
  end(chunk?: Uint8Array, trailers = ''): void {
    if (this.isClosed || this.isEnding) return;
    if (chunk !== undefined) this.#add(chunk);
    this.isEnding = true;
    this.trailers = trailers;
    this.#host.flushSoon(this);
  }

  reset(code: number): void {
    this.#host.reset(this, code);
  }

  /** Reads on after `onData` returned false. */
  resume(): void {
    if (!this.isPaused) return;
    this.isPaused = false;
    this.#host.onResume(this);
  }

  #add(chunk: Uint8Array): void {
    if (this.isClosed || this.isEnding || chunk.length === 0) return;
    if (this.chunks === undefined) this.chunks = [chunk];
    else this.chunks.push(chunk);
    this.queued += chunk.length;
    this.#host.flushSoon(this);
  }
}

/** Few, so that an idle connection needs little memory. */
const buckets = 64;

/** The streams of one connection by id. A Map's outgrown tables would keep ended streams in memory. */
export class StreamTable {
  size = 0;
  readonly #heads: (Http2Stream | undefined)[] = new Array<Http2Stream | undefined>(buckets).fill(undefined);

  get(id: number): Http2Stream | undefined {
    let stream = this.#heads[(id >>> 1) % buckets];
    while (stream !== undefined && stream.id !== id) stream = stream.next;
    return stream;
  }

  add(stream: Http2Stream): void {
    const at = (stream.id >>> 1) % buckets;
    stream.next = this.#heads[at];
    this.#heads[at] = stream;
    this.size++;
  }

  remove(stream: Http2Stream): void {
    const at = (stream.id >>> 1) % buckets;
    let before: Http2Stream | undefined;
    let found = this.#heads[at];
    while (found !== undefined && found !== stream) {
      before = found;
      found = found.next;
    }
    if (found === undefined) return;
    if (before === undefined) this.#heads[at] = stream.next;
    else before.next = stream.next;
    stream.next = undefined;
    this.size--;
  }

  /** Returns a copy, so that streams may close during iteration. */
  list(): Http2Stream[] {
    const streams: Http2Stream[] = [];
    for (const head of this.#heads)
      for (let stream = head; stream !== undefined; stream = stream.next) streams.push(stream);
    return streams;
  }
}
