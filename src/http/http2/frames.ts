/** Frame types. RFC 9113, section 6. */
export const frameType = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const flag = { ack: 1, endStream: 1, endHeaders: 4, padded: 8, priority: 32 } as const;

/** Error codes. RFC 9113, section 7. */
export const errorCode = {
  none: 0,
  protocol: 1,
  internal: 2,
  flowControl: 3,
  streamClosed: 5,
  frameSize: 6,
  refusedStream: 7,
  cancel: 8,
  compression: 9,
  enhanceYourCalm: 11,
} as const;

/** Identifiers of SETTINGS. RFC 9113, section 6.5.2. */
export const setting = {
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
} as const;

/** The client's connection preface. RFC 9113, section 3.4. */
export const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
export const frameHeadBytes = 9;
/** Default and least SETTINGS_MAX_FRAME_SIZE. RFC 9113, section 6.5.2. */
export const defaultFrameBytes = 16 * 1024;
export const defaultWindow = 65_535;
export const maxWindow = 2 ** 31 - 1;

/** A frame header, as latin1. */
export function frameHead(length: number, type: number, flags: number, stream: number): string {
  return String.fromCharCode(
    length >>> 16,
    (length >>> 8) & 0xff,
    length & 0xff,
    type,
    flags,
    stream >>> 24,
    (stream >>> 16) & 0xff,
    (stream >>> 8) & 0xff,
    stream & 0xff,
  );
}

/** 32 bits in network byte order, as latin1. */
export function uint32(value: number): string {
  return String.fromCharCode(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);
}

/** A SETTINGS frame. */
export function settingsFrame(values: readonly (readonly [number, number])[]): string {
  let payload = '';
  for (const [id, value] of values) payload += String.fromCharCode(id >>> 8, id & 0xff) + uint32(value);
  return frameHead(payload.length, frameType.settings, 0, 0) + payload;
}

/** A field block as one HEADERS frame and as many CONTINUATION frames as it needs. */
export function fieldFrames(block: string, stream: number, flags: 0 | typeof flag.endStream): string {
  if (block.length <= defaultFrameBytes)
    return frameHead(block.length, frameType.headers, flags | flag.endHeaders, stream) + block;
  let frames = frameHead(defaultFrameBytes, frameType.headers, flags, stream) + block.slice(0, defaultFrameBytes);
  for (let at = defaultFrameBytes; at < block.length; at += defaultFrameBytes) {
    const part = block.slice(at, at + defaultFrameBytes);
    const last = at + defaultFrameBytes >= block.length ? flag.endHeaders : 0;
    frames += frameHead(part.length, frameType.continuation, last, stream) + part;
  }
  return frames;
}
