import type { ConnectionCore } from './context.js';

/** Why nothing is read from a peer: several reasons may hold at once. */
export const Pause = {
  /** Enough of its messages are handled or wait. */
  QUEUE: 1,
  /** It does not take what is written to it. */
  OUTPUT: 2,
  /** It has sent more bytes than its rate allows. */
  BYTES: 4,
  /** The application said so. */
  USER: 8,
  /** It goes on sending although the connection is closing. */
  CLOSING: 16,
  /** A message of it is inflated in the thread pool. */
  INFLATING: 32,
  /** It has had its part of this turn of the event loop. */
  TURN: 64,
} as const;
export type Pause = (typeof Pause)[keyof typeof Pause];

/** Reasons that usually pass before more comes: the transport is paused only if it does. */
const BRIEF = Pause.QUEUE | Pause.INFLATING | Pause.TURN;
/** What has been read already is parsed all the same: of many pings only the last is answered. */
const PARSING = Pause.OUTPUT;
/** Reasons of ours alone, which are gone before anybody could tell. */
const UNSEEN = Pause.INFLATING | Pause.TURN;
const NEVER = Number.POSITIVE_INFINITY;

/** Whether a peer is read from. What it owes us stands still while it is not. */
export class ReadGate {
  /** When reading goes on after too many bytes. */
  resumeAt = NEVER;
  private reasons = 0;
  private since = 0;
  private transportPaused = false;
  /** How often the application has paused: a later pause takes back a resume that is under way. */
  private userPauses = 0;

  constructor(
    private readonly connection: ConnectionCore,
    private readonly reader: { stop(): void; goOn(parses: boolean): void },
  ) {}

  /** Nothing is read. */
  get closed(): boolean {
    return this.reasons !== 0;
  }

  /** What `isPaused` of a `WebSocket` says. */
  get paused(): boolean {
    return (this.reasons & ~UNSEEN) !== 0;
  }

  isClosedFor(reason: Pause): boolean {
    return (this.reasons & reason) !== 0;
  }

  pause(reason: Pause): void {
    if (this.isClosedFor(reason)) return;
    if (this.reasons === 0) this.since = this.connection.context.clock.now();
    if ((reason & PARSING) === 0) this.reader.stop();
    this.reasons |= reason;
    if ((reason & BRIEF) === 0) this.pauseTransport();
  }

  pauseUntil(at: number): void {
    this.resumeAt = at;
    this.pause(Pause.BYTES);
    this.connection.schedule(at);
  }

  pauseForUser(): void {
    this.userPauses++;
    this.pause(Pause.USER);
  }

  /** In a while: nothing is handed over before the application has returned. */
  resumeForUser(): void {
    if (!this.isClosedFor(Pause.USER)) return;
    const pauses = this.userPauses;
    process.nextTick(() => {
      if (this.userPauses === pauses) this.resume(Pause.USER);
    });
  }

  /** More has come although nothing is read. */
  pauseTransport(): void {
    if (this.transportPaused) return;
    this.transportPaused = true;
    this.connection.transport.pause();
    // Node reads once more before it stops: look at how much that was.
    this.connection.schedule(this.connection.context.clock.now() + 1);
  }

  /** The time of {@link pauseUntil} may have come. */
  review(now: number): void {
    if (now < this.resumeAt) return;
    this.resumeAt = NEVER;
    this.resume(Pause.BYTES);
  }

  /** Takes reasons away; without any left, reading goes on. */
  resume(reasons: number): void {
    if ((this.reasons & reasons) === 0) return;
    this.reasons &= ~reasons;
    if (this.reasons === 0) {
      const now = this.connection.context.clock.now();
      if (now > this.since) this.connection.excuse(now - this.since, now);
    }
    this.reader.goOn((this.reasons & ~PARSING) === 0);
    if (this.reasons === 0) this.resumeTransport();
  }

  /** What the transport has is read again, be it to be forgotten. */
  resumeTransport(): void {
    if (!this.transportPaused) return;
    this.transportPaused = false;
    this.connection.transport.resume();
  }
}

/** A time in the past, after `silence` that ended now was taken out. What began in the silence began now. */
export const shifted = (time: number, silence: number, now: number): number => Math.min(now, time + silence);
