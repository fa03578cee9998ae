import type { AddressEntry } from '../admission/address-table.js';
import type { RequestHead } from '../http/head.js';
import { ByteAccumulator } from '../http/partial-head.js';
import { Timed } from '../net/timer-wheel.js';
import type { Transport } from '../net/transport.js';
import type { HeadHolder } from './handshake-budget.js';
import type { HandshakeContext, HandshakeListener } from './upgrade-context.js';

/** Maximum bytes after the head that are read while guards decide; further bytes stay in TCP's buffers. */
const MAX_EARLY = 16 * 1024;
const NOTHING = Buffer.alloc(0);

/** The bytes that a peer has sent before its 101, and how many are held. */
export abstract class HandshakeBytes extends Timed implements HeadHolder {
  /** For `HandshakeBudget`. */ heldBytes = 0;
  /** The raw head, kept until the target is known: another library's parser may need it. */
  protected head: Buffer | undefined = undefined;
  private early: ByteAccumulator | undefined = undefined;
  private headBytes = 0;

  abstract readonly listener: HandshakeListener;
  protected abstract readonly transport: Transport;
  abstract get account(): AddressEntry;
  abstract evict(): void;

  protected get context(): HandshakeContext {
    return this.listener.context;
  }

  protected hold(bytes: number): void {
    this.context.headBudget.set(this, bytes);
  }

  /** Records the size of the parsed head, which is held while asynchronous guards decide. */
  protected holdHead(head: RequestHead): void {
    this.headBytes = sizeOf(head) + (this.head?.length ?? 0);
    // protection: what a pending handshake holds is counted
    this.hold(this.headBytes + (this.early?.capacity ?? 0));
    // end protection
  }

  /** Bytes after the head, in one buffer, so that bytes that arrive one by one take no more memory than their size. */
  protected keepEarly(chunk: Buffer): void {
    const early = (this.early ??= new ByteAccumulator());
    early.append(chunk);
    // protection: what a pending handshake holds is counted
    this.hold(this.headBytes + early.capacity);
    // end protection
    if (early.length > MAX_EARLY) this.transport.pause();
  }

  /** The bytes after the head. */
  protected get bytesAfterHead(): Buffer {
    return this.early?.take(NOTHING) ?? NOTHING;
  }

  /** Releases all bytes. */
  protected dropBytes(): void {
    this.hold(0);
    this.head = this.early = undefined;
  }
}

/** Bytes of a string object in addition to its characters. */
const STRING_BYTES = 32;

/** The size of the strings of a parsed head. */
const sizeOf = ({ target, rawHeaders }: RequestHead): number =>
  rawHeaders.reduce((sum, text) => sum + text.length + STRING_BYTES, target.length);
