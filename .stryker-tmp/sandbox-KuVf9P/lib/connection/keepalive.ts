// @ts-nocheck
import { CloseCode } from '../protocol/close-codes.js';
import type { Connection } from './connection.js';
import { pingFrame } from './frame-text.js';
import { shifted } from './reading.js';

const NEVER = Number.POSITIVE_INFINITY;
/** What our pings carry: a counter that every process starts elsewhere, so that no peer can answer in advance by habit. */
let pingNumber = Math.floor(Math.random() * 2 ** 31);

/** A ping that waits for its pong. */
interface Question {
  readonly number: number;
  at: number;
}

/** Who is still there, for how long it may stay. */
export class Keepalive {
  /** Round trip of the last ping, in milliseconds; `undefined`: none was answered yet. */
  latency: number | undefined = undefined;
  /** In whole milliseconds: as an integer it needs no box of its own. */
  private pingAt: number;
  private question: Question | undefined = undefined;
  private lifeEndsAt: number | undefined;
  private sessionEndsAt: number | undefined;

  constructor(
    private readonly connection: Connection,
    now: number,
  ) {
    const { pingInterval, maxLifetime } = connection.context.limits;
    // The first ping comes anywhere in the interval, so that the pings of many are spread.
    this.pingAt = Math.ceil(now + (pingInterval === NEVER ? NEVER : pingInterval * Math.random()));
    this.lifeEndsAt = maxLifetime === NEVER ? undefined : now + maxLifetime * (0.9 + 0.2 * Math.random());
    this.sessionEndsAt = monotonic(connection.peer.expiresAt, now);
  }

  /** The session ends at another time, in milliseconds since the epoch; `undefined`: it does not. */
  renew(expiresAt: number | undefined): void {
    const { clock } = this.connection.context;
    this.sessionEndsAt = monotonic(expiresAt, clock.now());
    this.connection.schedule(this.sessionEndsAt ?? NEVER);
  }

  nextAt(): number {
    const { idleTimeout } = this.connection.context.limits;
    const idle = this.connection.isPaused ? NEVER : this.connection.lastMessageAt + idleTimeout;
    return Math.min(this.pingAt, this.pongBy(), idle, this.lifeEndsAt ?? NEVER, this.sessionEndsAt ?? NEVER);
  }

  /** Acts on what is due; answers when to look again. */
  check(now: number): number {
    const { connection } = this;
    const { idleTimeout } = connection.context.limits;
    if (now >= (this.sessionEndsAt ?? NEVER)) connection.end(CloseCode.SESSION_EXPIRED, 'session expired');
    else if (now >= (this.lifeEndsAt ?? NEVER)) connection.end(CloseCode.GOING_AWAY, 'connection lifetime reached');
    else if (now >= this.pongBy()) connection.kill('no pong');
    else if (now >= connection.lastMessageAt + idleTimeout && !connection.isPaused)
      connection.end(CloseCode.NORMAL, 'idle');
    else if (now >= this.pingAt) this.ping(now);
    return connection.isOpen ? this.nextAt() : NEVER;
  }

  /** True when it was the answer to our ping. */
  pong(data: Buffer): boolean {
    const { question } = this;
    if (question === undefined || data.length !== 4 || data.readUInt32BE(0) !== question.number) return false;
    this.question = undefined;
    this.latency = this.connection.context.clock.now() - question.at;
    return true;
  }

  /** The payload of a read that is a frame with the answer to our ping, and nothing else. */
  pongIn(read: Buffer): Buffer | undefined {
    if (this.question === undefined || read.length !== 10 || read[0] !== PONG || read[1] !== MASKED_4) return undefined;
    const payload = Buffer.from([6, 7, 8, 9].map((at) => read[at]! ^ read[at - 4]!));
    return this.pong(payload) ? payload : undefined;
  }

  standStill(silence: number, now: number): void {
    if (this.question !== undefined) this.question.at = shifted(this.question.at, silence, now);
  }

  private ping(now: number): void {
    const { connection } = this;
    const { pingInterval } = connection.context.limits;
    // Whole intervals, so that pings stay spread even when the process was held up.
    this.pingAt = Math.ceil(this.pingAt + pingInterval * (1 + Math.floor((now - this.pingAt) / pingInterval)));
    // One at a time; while an answer is due, that is the question.
    if (this.question !== undefined) return;
    pingNumber = (pingNumber + 1) >>> 0 || 1;
    this.question = { number: pingNumber, at: now };
    // So short that it passes by what sends messages, which may never be needed.
    connection.raw.write(pingFrame(pingNumber), 'latin1');
    if (connection.raw.writableLength > 0) connection.output.judge();
  }

  private pongBy(): number {
    return this.question === undefined || this.connection.isPaused
      ? NEVER
      : this.question.at + this.connection.context.limits.pingTimeout;
  }
}

/** First byte of a whole pong frame (RFC 6455, section 5.2), and the second of one with four masked bytes. */
const PONG = 0x8a;
const MASKED_4 = 0x84;

const monotonic = (expiresAt: number | undefined, now: number): number | undefined =>
  expiresAt === undefined ? undefined : now + Math.max(0, expiresAt - Date.now());
