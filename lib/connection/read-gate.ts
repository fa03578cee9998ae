import type { ConnectionCore } from './context.js';

/** Reasons why reading from a peer is paused; several can apply at once. */
export const Pause = {
  /** The queue of messages is full. */
  QUEUE: 1,
  /** The peer does not read what is sent to it. */
  OUTPUT: 2,
  /** The peer has exceeded a byte rate. */
  BYTES: 4,
  /** The application has paused reading. */
  USER: 8,
  /** The peer keeps sending although the connection is closing. */
  CLOSING: 16,
  /** A message is being inflated in the thread pool. */
  INFLATING: 32,
  /** The connection has used its share of this turn of the event loop. */
  TURN: 64,
} as const;
export type Pause = (typeof Pause)[keyof typeof Pause];

/** Reasons that usually end before more data arrives: the transport is paused only if data arrives. */
const BRIEF = Pause.QUEUE | Pause.INFLATING | Pause.TURN;
/** Reasons for which data that has already been read is still parsed: of many pings only the last is answered. */
const PARSING = Pause.OUTPUT;
/** Reasons that `isPaused` does not report, because they end before the application could notice. */
const UNSEEN = Pause.INFLATING | Pause.TURN;
const NEVER = Number.POSITIVE_INFINITY;

/** Decides whether a peer is read from. While it is not, deadlines for bytes from the peer are suspended. */
export class ReadGate {
  /**
   * When reading resumes after a byte rate was exceeded, in whole milliseconds: V8 stores integers without allocating an
   * object. 0: it was not exceeded.
   */
  private paysUntil = 0;
  private reasons = 0;
  /** When the current pause began, in whole milliseconds. */
  private since = 0;
  private transportPaused = false;
  /** Number of pauses by the application: a later pause cancels a resume that is still pending. */
  private userPauses = 0;
  /** The application has resumed, but reading resumes in a later tick. */
  private isResuming = false;

  constructor(
    private readonly connection: ConnectionCore,
    private readonly reader: { readonly hasEnded: boolean; stop(): void; goOn(parses: boolean): void },
  ) {}

  /** When to call {@link review}. */
  get resumeAt(): number {
    return this.paysUntil === 0 ? NEVER : this.paysUntil;
  }

  /** Reading is paused. */
  get closed(): boolean {
    return this.reasons !== 0;
  }

  /** The value of `isPaused` of a `WebSocket`. */
  get paused(): boolean {
    return (this.reasons & ~(this.isResuming ? UNSEEN | Pause.USER : UNSEEN)) !== 0;
  }

  isClosedFor(reason: Pause): boolean {
    return (this.reasons & reason) !== 0;
  }

  pause(reason: Pause): void {
    if (this.isClosedFor(reason)) return;
    if (this.reasons === 0) this.since = Math.ceil(this.connection.context.clock.now());
    if ((reason & PARSING) === 0) this.reader.stop();
    this.reasons |= reason;
    if ((reason & BRIEF) === 0) this.pauseTransport();
  }

  pauseUntil(at: number): void {
    this.paysUntil = Math.ceil(at);
    this.pause(Pause.BYTES);
    this.connection.schedule(this.paysUntil);
  }

  pauseForUser(): void {
    this.userPauses++;
    this.isResuming = false;
    this.pause(Pause.USER);
  }

  /** Resumes in a later tick, so that nothing is handed over before the application's call returns. */
  resumeForUser(): void {
    if (!this.isClosedFor(Pause.USER)) return;
    const pauses = this.userPauses;
    this.isResuming = true;
    process.nextTick(() => {
      if (this.userPauses !== pauses) return;
      this.isResuming = false;
      this.resume(Pause.USER);
    });
  }

  /** Pauses the transport, because data arrived while reading is paused. */
  pauseTransport(): void {
    if (this.transportPaused) return;
    this.transportPaused = true;
    this.connection.transport.pause();
    // Node reads once more before it stops: check how many bytes that added.
    this.connection.schedule(this.connection.context.clock.now() + 1);
  }

  /** Resumes if the time of {@link pauseUntil} has come. */
  review(now: number): void {
    if (now < this.resumeAt) return;
    this.paysUntil = 0;
    this.resume(Pause.BYTES);
  }

  /** Removes reasons. Reading resumes when none is left. */
  resume(reasons: number): void {
    if ((this.reasons & reasons) === 0) return;
    this.reasons &= ~reasons;
    if (this.reasons === 0) {
      const now = this.connection.context.clock.now();
      if (now > this.since) this.connection.excuse(now - this.since, now);
    }
    this.reader.goOn((this.reasons & ~PARSING) === 0);
    if (this.reasons === 0 || this.reader.hasEnded) this.readOn();
  }

  /** Reads from the transport again, even if only to discard the bytes, as soon as no byte rate is exceeded. */
  readOn(): void {
    // protection: bytes behind both close frames cost of the rate of bytes
    if (this.isClosedFor(Pause.BYTES)) return;
    // end protection
    if (!this.transportPaused) return;
    this.transportPaused = false;
    this.connection.transport.resume();
  }
}

/** Moves a past time forward by `silence`, a pause that ends now. A time within the pause becomes `now`. */
export const shifted = (time: number, silence: number, now: number): number => Math.min(now, time + silence);
