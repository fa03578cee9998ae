// @ts-nocheck
import { compact, own } from '../connection/chunks.js';
import { shifted } from '../connection/reading.js';
import { GET_INFO, INFLATING, Receiver, type ReceiverInternals, writeUntilError } from '../connection/ws-internals.js';
import type { ClientSocket } from './client-socket.js';

/** The slowest sender that is waited for: bytes per millisecond (16 KiB/s). */
const SLOWEST = 16.384;
const NEVER = Number.POSITIVE_INFINITY;

/** A complete message that nobody may have yet. */
interface Postponed {
  /** What is to be inflated; `undefined`: the message came as it is, and the receiver has it. */
  readonly compressed: Buffer | undefined;
  readonly callback: Callback;
}
type Callback = (error?: Error) => void;

/**
 * The message that is being received. A complete one waits here, compressed where it came so, for as long as reading
 * is paused, and everything behind it in bytes: one read may hold thousands, or what inflates a thousandfold.
 */
export class Assembly {
  /** When the first byte of the unfinished message came; 0: there is none. */
  private since = 0;
  private completedOne = false;
  private postponed: Postponed | undefined = undefined;

  constructor(
    private readonly socket: ClientSocket,
    private readonly timeout: number,
  ) {}

  /** What the receiver has parsed passes here from now on. */
  attach(receiver: ReceiverInternals): void {
    (receiver as Shared)[SELF] = this;
    receiver._write = writeUntilError;
    receiver.startLoop = startLoop;
    receiver.decompress = decompress;
    receiver.dataMessage = dataMessage;
  }

  /** When the message must be complete; while one is inflated or waits, the server is not waited for. */
  get by(): number {
    const { receiver } = this;
    if (this.since === 0 || this.isPaused || receiver._state === INFLATING) return NEVER;
    const compressed = this.socket.deflate?.heldBytes ?? 0;
    const received = receiver._bufferedBytes + receiver._messageLength + compressed;
    return this.since + this.timeout + received / SLOWEST;
  }

  /** A message was complete. */
  completed(): void {
    this.completedOne = true;
  }

  standStill(silence: number, now: number): void {
    if (this.since !== 0) this.since = shifted(this.since, silence, now);
  }

  /**
   * Goes on, in a while, with what was postponed, and then with reading: whoever takes a message has it before the
   * next one comes. False: nothing was.
   */
  proceed(): boolean {
    if (this.postponed === undefined) return false;
    process.nextTick(goOn, this);
    return true;
  }

  /** @internal */
  goOn(): void {
    const { postponed, receiver } = this;
    if (postponed === undefined || this.isPaused) return;
    this.postponed = undefined;
    const { compressed, callback } = postponed;
    if (compressed !== undefined && !this.isDeaf) inflate.call(receiver, compressed, callback);
    else {
      receiver.dataMessage(callback);
      if (receiver._state === GET_INFO) receiver.startLoop(callback);
    }
    if (!this.isPaused) this.socket.startReading();
  }

  /** @internal All that was read has been parsed, as far as it can be. */
  parsed(): void {
    const { receiver, completedOne } = this;
    this.completedOne = false;
    if (receiver._state === GET_INFO && receiver._fragmented === 0 && receiver._bufferedBytes === 0) {
      this.since = 0;
      return;
    }
    compact(receiver);
    if (this.since === 0 || completedOne) this.since = Math.max(this.socket.lifeline.now(), 1);
    this.socket.lifeline.lookAt(this.by);
  }

  /** @internal */
  inflate(data: Buffer, callback: Callback): void {
    const { receiver } = this;
    if (this.isDeaf) receiver.dataMessage(callback);
    else if (receiver._fin && this.isPaused) this.postponed = { compressed: data, callback };
    else inflate.call(receiver, data, callback);
  }

  /** @internal A fragment, or a message that has to wait. */
  hold(callback: Callback): void {
    const { receiver } = this;
    if (receiver._fin) {
      this.postponed = { compressed: undefined, callback };
      receiver._state = INFLATING;
    } else {
      disown(receiver._fragments);
      receive.call(receiver, callback);
    }
  }

  /** @internal */
  get isPaused(): boolean {
    return this.socket.intake.paused;
  }

  private get receiver(): ReceiverInternals {
    return this.socket.internals._receiver;
  }

  private get isDeaf(): boolean {
    return this.socket.intake.isDeaf;
  }
}

const SELF = Symbol('nest-secure-ws.assembly');
interface Shared extends ReceiverInternals {
  [SELF]?: Assembly;
}

const { startLoop: parse, decompress: inflate, dataMessage: receive } = Receiver.prototype;

const goOn = (assembly: Assembly): void => assembly.goOn();

function startLoop(this: Shared, callback: Callback): void {
  parse.call(this, callback);
  this[SELF]!.parsed();
}

function decompress(this: Shared, data: Buffer, callback: Callback): void {
  this[SELF]!.inflate(data, callback);
}

function dataMessage(this: Shared, callback: Callback): void {
  const assembly = this[SELF]!;
  if (this._fin && !assembly.isPaused) receive.call(this, callback);
  else assembly.hold(callback);
}

/** A fragment of a few bytes does not keep the read that it came with: any number of pongs may have filled that. */
function disown(fragments: Buffer[]): void {
  const last = fragments.length - 1;
  if (last >= 0) fragments[last] = own(fragments[last]!);
}
