// @ts-nocheck
import type { Inflated } from './inflate-context.js';
import type { Agreement, DeflateParameters } from './parameters.js';
import { PartialMessage } from './partial-message.js';
import type { CodecSettings, CompressionSettings } from './settings.js';
import { deflateShared, deflatesAtOnce, inflateShared, inflateSharedLater } from './shared-codec.js';
import { deflateOnce } from './shared-payload.js';
import { type Callback, handOver } from './turn.js';
import { compressionError } from './ws-error.js';

/** What all connections with one agreement, of one gateway, have in common. */
export interface DeflateProfile {
  readonly agreement: Agreement;
  readonly isServer: boolean;
  readonly settings: CompressionSettings;
  /** For what we send: the configured tuning, with the window agreed for our side. */
  readonly outgoing: CodecSettings;
  /** log2 of the window the other side may use. */
  readonly incomingBits: number;
}

/** `later`: the calling function has returned since. */
export type InflateDone = (outcome: Inflated, later: boolean) => void;
/** `undefined`: the connection ended first. */
export type DeflateDone = (compressed: Buffer | undefined) => void;

const EMPTY = Buffer.alloc(0);

/** Synchronous results handed to a sender from within one another, before one goes round by the next tick. */
const MAX_DEPTH = 8;
let depth = 0;

/**
 * Stands in a `WebSocket`'s extensions where `ws` expects its `PerMessageDeflate`. It is all that compression costs
 * a connection in `shared` mode: a reference to the common profile, and while a fragmented message is open, what came
 * of it.
 */
export class PeerDeflate {
  #partial: PartialMessage | undefined;
  protected closed = false;

  constructor(readonly profile: DeflateProfile) {}

  /** For `ws`: the parameters of the 101, by which its sender also knows whether the threshold counts. */
  get params(): Readonly<DeflateParameters> {
    return this.profile.agreement.params;
  }

  /** For `ws`'s sender. */
  get _isServer(): boolean {
    return this.profile.isServer;
  }

  /** For `ws`'s sender, bytes. */
  get _threshold(): number {
    return this.profile.settings.threshold;
  }

  /** log2 of the window a frame may use that was compressed for several peers; `undefined`: this peer has a context. */
  get broadcastBits(): number | undefined {
    return this.profile.outgoing.windowBits;
  }

  /** Received bytes of an unfinished compressed message. */
  get heldBytes(): number {
    return this.#partial?.length ?? 0;
  }

  /** Lets go of an unfinished message: the rest of it will not be read. */
  forgetPartial(): void {
    this.#partial = undefined;
  }

  /**
   * One compressed fragment of a message, one at a time. The callback gets the whole message with the last fragment,
   * and nothing with the others; never before this returns, and always once. Errors carry 1009 or 1007 for `ws`.
   */
  decompress(fragment: Buffer, fin: boolean, callback: Callback): void {
    if (!fin) {
      this.#keep(fragment);
      handOver(callback, null, EMPTY);
      return;
    }
    const message = this.#whole(fragment);
    this.inflate(message, this.#limitFor(message.length), (outcome, later) => {
      const error = typeof outcome === 'string' ? compressionError(outcome) : null;
      const result = typeof outcome === 'string' ? undefined : outcome;
      if (later) callback(error, result);
      else handOver(callback, error, result);
    });
  }

  /**
   * Compresses a message, or a fragment of one. The callback may come before this returns: `ws`'s sender is made for
   * that, and what is sent in one turn then leaves in one write. Fails only after the connection has ended.
   */
  compress(data: Buffer | string, fin: boolean, callback: Callback): void {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    // zlib writes nothing when asked to flush twice; an empty stored block says the same (RFC 7692, 7.2.3.6).
    if (bytes.length === 0) deliver(callback, Buffer.alloc(fin ? 1 : 0));
    else
      this.deflate(bytes, fin, (compressed) => {
        if (compressed === undefined) callback(new Error('The connection ended before the message was compressed'));
        else deliver(callback, compressed);
      });
  }

  /** A whole message, compressed before this returns; `undefined` where that takes a context of the peer's own, or the pool. */
  compressAtOnce(payload: Buffer): Buffer | undefined {
    const isPossible = payload.length > 0 && this.broadcastBits !== undefined && deflatesAtOnce(payload.length);
    return isPossible ? deflateShared(payload, true, this.profile.outgoing) : undefined;
  }

  /** The connection has ended. Safe to call more than once; what still runs ends in callbacks that do no harm. */
  cleanup(): void {
    this.closed = true;
    this.#partial = undefined;
  }

  protected inflate(message: Buffer, limit: number, done: InflateDone): void {
    const { incomingBits } = this.profile;
    const outcome = inflateShared(message, limit, incomingBits);
    if (outcome !== undefined) done(outcome, false);
    else inflateSharedLater(this, message, limit, incomingBits, (later) => done(later, true));
  }

  protected deflate(data: Buffer, fin: boolean, done: DeflateDone): void {
    const { outgoing } = this.profile;
    if (deflatesAtOnce(data.length)) done(deflateShared(data, fin, outgoing));
    else deflateOnce(this, data, fin, outgoing, () => this.closed, done);
  }

  #keep(fragment: Buffer): void {
    if (fragment.length === 0 || this.closed) return;
    this.#partial ??= new PartialMessage();
    this.#partial.add(fragment);
  }

  #whole(last: Buffer): Buffer {
    const partial = this.#partial;
    if (partial === undefined) return last;
    this.#partial = undefined;
    partial.add(last);
    return partial.bytes;
  }

  #limitFor(received: number): number {
    const { maxSize, maxRatio } = this.profile.settings;
    return maxRatio === undefined ? maxSize : Math.min(maxSize, Math.floor(maxRatio * received));
  }
}

/** A sender with a long queue sends its next message from within the callback; that must not pile up the stack. */
function deliver(callback: Callback, compressed: Buffer): void {
  if (depth === MAX_DEPTH) {
    process.nextTick(callback, null, compressed);
    return;
  }
  depth++;
  try {
    callback(null, compressed);
  } finally {
    depth--;
  }
}
