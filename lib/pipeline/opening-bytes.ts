import { own } from '../connection/chunks.js';
import { Timed } from '../connection/wheel.js';
import type { Port } from '../listener/port.js';
import type { RequestHead } from '../request/head.js';
import type { AddressEntry } from '../stores/address-entry.js';
import type { HeadHolder } from './held-heads.js';
import type { Wire } from './wire.js';

/** Bytes behind the head that are kept while the guards think; then TCP keeps them. */
const MAX_EARLY = 16 * 1024;
const NOTHING = Buffer.alloc(0);

/** What a peer has sent before its 101, and what is held of it. */
export abstract class OpeningBytes extends Timed implements HeadHolder {
  /** For `HeldHeads`. */ heldBytes = 0;
  /** The head as it came, until it is known to be ours: somebody else's parser may want it. */
  protected head: Buffer | undefined = undefined;
  private early: Buffer[] | undefined = undefined;
  private headBytes = 0;
  private earlyBytes = 0;

  abstract readonly port: Port;
  protected abstract readonly wire: Wire;
  abstract get account(): AddressEntry;
  abstract crowdedOut(): void;

  protected hold(bytes: number): void {
    this.port.engine.heads.settle(this, bytes);
  }

  /** Somebody must be waited for: what the head says is held meanwhile, and counts. */
  protected holdHead(head: RequestHead): void {
    this.headBytes = sizeOf(head) + (this.head?.length ?? 0);
    this.hold(this.headBytes + this.earlyBytes);
  }

  protected keepEarly(chunk: Buffer): void {
    (this.early ??= []).push(own(chunk));
    this.earlyBytes += chunk.length;
    this.hold(this.headBytes + this.earlyBytes);
    if (this.earlyBytes > MAX_EARLY) this.wire.pause();
  }

  /** What came behind the head, in one piece. */
  protected get behindHead(): Buffer {
    const { early } = this;
    if (early === undefined) return NOTHING;
    return early.length === 1 ? early[0]! : Buffer.concat(early);
  }

  /** Nothing is kept any longer. */
  protected forgetBytes(): void {
    this.hold(0);
    this.head = this.early = undefined;
  }
}

/** Characters of a head. */
const sizeOf = ({ target, rawHeaders }: RequestHead): number =>
  rawHeaders.reduce((sum, text) => sum + text.length, target.length);
