import type { Role } from '../frame.js';
import type { Agreement, CompressionMode } from './negotiation.js';
import type { ZlibPool } from './pool.js';

export type { CompressionMode } from './negotiation.js';

/** What a deflating stream is tuned to. */
export interface CodecSettings {
  /** Base 2 logarithm of the largest LZ77 window we ask for and use: 9 to 15 (RFC 7692, 7.1.2). */
  readonly windowBits: number;
  /** zlib's memory level, 1 to 9. */
  readonly memLevel: number;
  /** zlib's compression level, 0 to 9. */
  readonly level: number;
}

/** One number for each tuning. */
export const tuningKey = ({ windowBits, memLevel, level }: CodecSettings): number =>
  (windowBits * 16 + memLevel) * 16 + level + 1;

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

/** What all connections with one agreement, of one gateway, have in common. */
export interface DeflateProfile {
  readonly agreement: Agreement;
  readonly role: Role;
  readonly settings: CompressionSettings;
  /** For what we send: the configured tuning, with the window agreed for our side. */
  readonly outgoing: CodecSettings;
  /** log2 of the window the other side may use. */
  readonly incomingBits: number;
  readonly pool: ZlibPool;
}
