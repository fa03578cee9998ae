import type { Crowd } from '../admission/capacity/pending.js';
import type { RingMember } from './ring.js';

/** How many times the limits of one IPv6 prefix a whole /48 may hold. */
export const SITE_FACTOR = 8;

/**
 * What is remembered of one address (an IPv6 prefix is one address), shared by all its connections: each keeps
 * one pointer to it. The counts are exact; whoever raises one lowers it again.
 */
export class AddressEntry implements RingMember<AddressEntry> {
  /** Live connections: reserved or open. */
  connections = 0;
  /** Connections between accept and 101. */
  pending = 0;
  /** Those connections, where there are any. */
  crowd: Crowd<unknown> | undefined = undefined;
  /** Bytes held for its open connections: incomplete and waiting messages, output. */
  heldBytes = 0;
  /** Bucket of `connections.rate` (see token-bucket.ts). */
  attempts = 0;
  /** Bucket of `messages.byteRatePerIp`. */
  bytes = 0;
  /** How many hold this entry; at 0 it may be forgotten, once its buckets are full. */
  refs = 0;
  /** In the ring of idle entries. */
  next: AddressEntry = this;
  previous: AddressEntry = this;

  constructor(
    readonly key: string,
    /** The entry of the /48 around an IPv6 prefix, whose limits are eight times as high. */
    readonly site: AddressEntry | undefined = undefined,
    /** A trusted proxy: it is counted, and no limit per address applies. */
    readonly isExempt: boolean = false,
  ) {}

  /** Whether it, or the /48 around it, has as many connections as it may. */
  isFull(max: number): boolean {
    if (this.isExempt) return false;
    return this.connections >= max || (this.site !== undefined && this.site.connections >= max * SITE_FACTOR);
  }
}
