import type { ExtensionOffer } from '../../http/extensions.js';
import type { Role } from '../frame.js';
import { type Agreement, acceptResponse, headerValue, negotiate, offer, type ResponseError } from './negotiation.js';
import { PerMessageDeflate, receivesWithContext, sendsWithContext } from './per-message-deflate.js';
import { type ZlibPool, zlibPool } from './pool.js';
import type { CodecSettings, CompressionMode, CompressionSettings, DeflateProfile } from './settings.js';

const KIB = 1024;

/**
 * What a context of Node's zlib really costs, in bytes: measured as resident memory per stream after one message
 * (`bench/compression/results.md`). zlib's own formula leaves out the stream object, its handle and its output
 * buffer, and the hash table, which Node's build makes 64 KiB large whatever the memory level below 9.
 */
export const STREAM_COST = 24 * KIB;
export const HASH_TABLE_COST = 64 * KIB;

/** Bytes of one compressing context: stream, hash table, window and chains (4 · 2^bits), pending output. */
export function deflateContextCost({ windowBits, memLevel }: Omit<CodecSettings, 'level'>): number {
  const hashTable = memLevel === 9 ? 2 * HASH_TABLE_COST : HASH_TABLE_COST;
  return STREAM_COST + hashTable + 4 * 2 ** windowBits + 4 * 2 ** (memLevel + 6);
}

/** Bytes of one inflating context: stream and window. */
export const inflateContextCost = (windowBits: number): number => STREAM_COST + 2 ** windowBits;

/** Bytes that the contexts of one connection of this profile cost. */
export function contextCost(profile: DeflateProfile): number {
  const sending = sendsWithContext(profile) ? deflateContextCost(profile.outgoing) : 0;
  return sending + (receivesWithContext(profile) ? inflateContextCost(profile.incomingBits) : 0);
}

/** The memory that all contexts of an application may take together. */
export class ContextBudget {
  private taken = 0;

  /** `bytes`: `compression.budget`. */
  constructor(readonly bytes: number) {}

  /** Bytes reserved. */
  get used(): number {
    return this.taken;
  }

  fits(cost: number): boolean {
    return this.taken + cost <= this.bytes;
  }

  /** Reserves `cost` bytes, whether they fit or not. The returned function releases them once. */
  take(cost: number): () => void {
    this.taken += cost;
    let held = cost;
    return () => {
      this.taken -= held;
      held = 0;
    };
  }
}

/** The client's side of one negotiation. */
export interface DeflateOffer {
  /** Value of `Sec-WebSocket-Extensions`; `undefined`: do not send the header. */
  readonly header: string | undefined;
  /** Reads the server's answer; `undefined` when it declined. A string says why the handshake is invalid. */
  accept(response: readonly ExtensionOffer[]): PerMessageDeflate | ResponseError | undefined;
}

/** Compression of one gateway, or of one configuration of the outbound client. */
export class Compression {
  private readonly profiles = new Map<string, DeflateProfile>();

  /** `budget` is the application's; only `dedicated` mode takes from it. */
  constructor(
    readonly settings: CompressionSettings,
    readonly budget: ContextBudget,
    readonly role: Role = 'server',
    private readonly pool: ZlibPool = zlibPool,
  ) {}

  /**
   * The server's side: the codec of the connection, or `undefined` where nothing was agreed. When contexts do not fit
   * the budget, the connection gets `shared` mode. Call `close` when the connection ends.
   */
  accept(offers: readonly ExtensionOffer[]): PerMessageDeflate | undefined {
    const { mode } = this.settings;
    if (mode === 'off' || offers.length === 0) return undefined;
    return (mode === 'dedicated' ? this.acceptDedicated(offers) : undefined) ?? this.acceptShared(offers);
  }

  /** The client's side. Contexts are offered only while they fit the budget. */
  offer(): DeflateOffer {
    const mode = this.modeToOffer();
    const settings = { mode, windowBits: this.settings.windowBits };
    return {
      header: offer(settings),
      accept: (response) => {
        const agreed = acceptResponse(response, settings);
        if (agreed === undefined || typeof agreed === 'string') return agreed;
        const profile = this.profile(agreed);
        return mode === 'dedicated' ? this.dedicated(profile) : new PerMessageDeflate(profile);
      },
    };
  }

  private acceptShared(offers: readonly ExtensionOffer[]): PerMessageDeflate | undefined {
    const agreed = negotiate(offers, { mode: 'shared', windowBits: this.settings.windowBits });
    return agreed && new PerMessageDeflate(this.profile(agreed));
  }

  private acceptDedicated(offers: readonly ExtensionOffer[]): PerMessageDeflate | undefined {
    const agreed = negotiate(offers, { mode: 'dedicated', windowBits: this.settings.windowBits });
    if (agreed === undefined) return undefined;
    const profile = this.profile(agreed);
    return this.budget.fits(contextCost(profile)) ? this.dedicated(profile) : undefined;
  }

  private dedicated(profile: DeflateProfile): PerMessageDeflate {
    return new PerMessageDeflate(profile, this.budget.take(contextCost(profile)));
  }

  private modeToOffer(): CompressionMode {
    const { mode } = this.settings;
    if (mode !== 'dedicated') return mode;
    const worst = { params: {}, serverBits: 15, clientBits: 15, serverTakeover: true, clientTakeover: true };
    return this.budget.fits(contextCost(this.describe(worst))) ? 'dedicated' : 'shared';
  }

  /** Connections with the same agreement share a profile; a few dozen agreements are possible. */
  private profile(agreement: Agreement): DeflateProfile {
    const key = headerValue(agreement.params);
    let profile = this.profiles.get(key);
    if (profile === undefined) this.profiles.set(key, (profile = this.describe(agreement)));
    return profile;
  }

  private describe(agreement: Agreement): DeflateProfile {
    const { settings, role, pool } = this;
    const { serverBits, clientBits } = agreement;
    const [ownBits, otherBits] = role === 'server' ? [serverBits, clientBits] : [clientBits, serverBits];
    const { memLevel, level } = settings;
    const outgoing = { windowBits: Math.min(settings.windowBits, ownBits), memLevel, level };
    return Object.freeze({ agreement, role, settings, outgoing, incomingBits: otherBits, pool });
  }
}
