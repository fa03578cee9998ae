/** How a gateway (or an outbound client) compresses; `off` negotiates nothing. */
// @ts-nocheck

export type CompressionMode = 'shared' | 'dedicated' | 'off';

/** What the codecs of an application are tuned to. */
export interface CodecSettings {
  /** Base 2 logarithm of the largest LZ77 window we ask for and use: 9 to 15 (RFC 7692, 7.1.2). */
  readonly windowBits: number;
  /** zlib's memory level, 1 to 9. */
  readonly memLevel: number;
  /** zlib's compression level, 0 to 9. */
  readonly level: number;
}

/** Everything a gateway's compression depends on. */
export interface CompressionSettings extends CodecSettings {
  readonly mode: CompressionMode;
  /** Messages of fewer bytes than this go plain. */
  readonly threshold: number;
  /** Bytes a message may inflate to; more is an error with close code 1009. */
  readonly maxSize: number;
  /** Inflated bytes per received byte of a message; more is 1009. Unbounded when absent. */
  readonly maxRatio?: number;
}

/** The token of the extension (RFC 7692, 7); also the key under which `ws` looks for it. */
export const EXTENSION_NAME = 'permessage-deflate';

/**
 * Messages of at most this many bytes are compressed on the calling thread: about half a millisecond for the
 * largest. The thread pool never costs less CPU; it is for what would hold the event loop for longer than that
 * (`bench/compression/results.md`).
 */
export const SYNC_DEFLATE_BYTES = 32 * 1024;

/** Messages that inflate to at most this many bytes are inflated on the calling thread, in less than that time. */
export const SYNC_INFLATE_BYTES = 64 * 1024;

/** zlib jobs that may be in the thread pool at once, over the whole process: half of the pool stays free. */
export const MAX_ZLIB_JOBS = 2;
