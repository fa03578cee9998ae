// @ts-nocheck
import { compact } from './chunks.js';
import type { Connection } from './connection.js';
import { shifted } from './reading.js';
import type { PeerReceiver } from './receiver.js';
import { GET_INFO, INFLATING } from './ws-internals.js';

/** What an object that refers to bytes costs beside them. */
export const OVERHEAD = 256;
/** The slowest sender that is waited for: bytes per millisecond (16 KiB/s). */
const SLOWEST = 16.384;
const NEVER = Number.POSITIVE_INFINITY;

/** The message that is being received: what it holds, and until when it must be complete. */
export class Assembly {
  /** When its first byte came; 0: there is none. */
  private since = 0;
  /** A compressed message that is not inflated before it can be handled. */
  private compressed: Compressed | undefined = undefined;

  constructor(
    private readonly connection: Connection,
    private readonly receiver: PeerReceiver,
  ) {}

  get isUnderWay(): boolean {
    return this.since !== 0;
  }

  /** Bytes held, with what their objects cost. */
  get held(): number {
    const { receiver } = this;
    const objects = receiver._buffers.length + receiver._fragments.length;
    // What was read while a message is inflated waits in the stream.
    const unparsed = Math.max(receiver._bufferedBytes, receiver.writableLength);
    return unparsed + receiver._messageLength + this.compressedBytes + objects * OVERHEAD;
  }

  /** When it must be complete; while it is inflated, the peer is not waited for. */
  get by(): number {
    const { receiver } = this;
    if (this.since === 0 || receiver._state === INFLATING) return NEVER;
    const received = receiver._bufferedBytes + receiver._messageLength + this.compressedBytes;
    return this.since + this.connection.context.limits.assemblyTimeout + received / SLOWEST;
  }

  /** All that was read has been parsed. `completedOne`: what is unfinished now began with this read. */
  parsed(now: number, completedOne: boolean): void {
    const { receiver } = this;
    if (receiver._errored) this.forget();
    if (receiver._state === GET_INFO && receiver._fragmented === 0 && receiver._bufferedBytes === 0) {
      this.since = 0;
      return;
    }
    if (this.since === 0 || completedOne) this.since = Math.max(now, 1);
    compact(receiver);
    this.connection.schedule(this.by);
  }

  /** Instead of inflating: a small read may hold messages that inflate to many times what may wait. */
  postpone(data: Buffer, callback: Inflated): void {
    this.compressed = { data, callback };
  }

  /** Goes on with what was postponed; where the connection ends, without the message. */
  inflate(): void {
    const { compressed, receiver } = this;
    if (compressed === undefined) return;
    this.compressed = undefined;
    const { data, callback } = compressed;
    if (this.connection.isOpen) receiver.inflate(data, callback);
    else skip(receiver, callback);
  }

  standStill(silence: number, now: number): void {
    if (this.since !== 0) this.since = shifted(this.since, silence, now);
  }

  forget(): void {
    const { receiver } = this;
    const { socket } = this.connection;
    receiver._buffers = [];
    receiver._bufferedBytes = 0;
    receiver._fragments = [];
    receiver._messageLength = 0;
    socket.deflate?.forgetPartial();
    this.since = 0;
  }

  private get compressedBytes(): number {
    const { receiver } = this;
    const { socket } = this.connection;
    // A whole message that is being inflated has arrived as it was announced.
    return receiver._state === INFLATING ? receiver._totalPayloadLength : (socket.deflate?.heldBytes ?? 0);
  }
}

type Inflated = (error?: Error) => void;

interface Compressed {
  readonly data: Buffer;
  readonly callback: Inflated;
}

/** As if an empty message had come, which nobody hears of: what is behind it may be a close frame. */
function skip(receiver: PeerReceiver, callback: Inflated): void {
  receiver.dataMessage(callback);
  receiver.startLoop(callback);
}
