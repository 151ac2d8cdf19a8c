/** Whose a stream is: takes what comes on it. Nothing is called after `onClosed`. */
export interface StreamUser {
  /** False means: no more until `resume`. */
  onData(chunk: Buffer): boolean;
  /** The last byte has come. */
  onEnd(): void;
  /** More can be written. */
  onRoom(): void;
  /** Called once; `complete` if all that was written has been handed to the socket, and nobody has reset the stream. */
  onClosed(complete: boolean): void;
}

/** What a stream needs of its connection. */
export interface StreamHost {
  /** Has what was written sent soon. */
  flushSoon(stream: Http2Stream): void;
  reset(stream: Http2Stream, code: number): void;
  /** The user has read on after it had enough. */
  onResume(stream: Http2Stream): void;
  /** True if the socket takes no more for now. */
  isCongested(): boolean;
  sendInterim(stream: Http2Stream, block: string): void;
}

/** Unsent bytes above which `write` gives false. */
const highMark = 128 * 1024;

/** One request with its answer. What its connection alone changes, or reads, is marked so. */
export class Http2Stream {
  readonly id: number;
  user: StreamUser | undefined;
  /** For the connection: bytes that may be sent, and that may come. */
  sendWindow: number;
  receiveWindow: number;
  /** For the connection: of a body of announced length, what is to come; -1 if that is not known. */
  awaited = -1;
  /** For the connection: read, and not yet given back to the sender's window. */
  credit = 0;
  /** For the connection: given to the user although it had enough. */
  owed = 0;
  /** The same with what the pieces cost. */
  owedCost = 0;
  isPaused = false;
  /** With what code the other side has reset it; undefined if it has not. */
  resetCode: number | undefined;
  /** For a client's connection: the status of the answer; below 0, how many interim ones there were. */
  answered = 0;
  /** All has come, or all was sent. */
  remoteEnded = false;
  localEnded = false;
  isClosed = false;
  /** For the connection: fields that are to be sent before anything else. */
  head = '';
  chunks: Uint8Array[] | undefined;
  /** Bytes of the first chunk that were sent. */
  offset = 0;
  queued = 0;
  /** Nothing more will be written. */
  isEnding = false;
  trailers = '';
  /** For the connection: whether it is in the list of those that have something to send. */
  isReady = false;
  wantsDrain = false;
  /** For the table of streams. */
  next: Http2Stream | undefined;
  readonly #host: StreamHost;

  constructor(id: number, host: StreamHost, sendWindow: number, receiveWindow: number) {
    this.id = id;
    this.#host = host;
    this.sendWindow = sendWindow;
    this.receiveWindow = receiveWindow;
  }

  /** Sends fields, encoded, before any data. */
  begin(block: string): void {
    this.head = block;
    this.#host.flushSoon(this);
  }

  /** Sends the fields of an interim answer at once. */
  interim(block: string): void {
    if (!this.isClosed && !this.localEnded) this.#host.sendInterim(this, block);
  }

  /** False means: wait for `onRoom`. */
  write(chunk: Uint8Array): boolean {
    this.#add(chunk);
    if (this.queued === 0 || (this.queued < highMark && !this.#host.isCongested())) return true;
    this.wantsDrain = true;
    return false;
  }

  /** Ends what is sent, with trailers, encoded, if there are any. */
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

  /** Read on after `onData` said false. */
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

/** Few, so that an idle connection has little memory; their streams are found by walking. */
const buckets = 64;

/** The streams of one connection by id. (A Map's outgrown tables would keep ended streams in memory.) */
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

  /** A copy, so that streams may end meanwhile. */
  list(): Http2Stream[] {
    const streams: Http2Stream[] = [];
    for (const head of this.#heads)
      for (let stream = head; stream !== undefined; stream = stream.next) streams.push(stream);
    return streams;
  }
}
