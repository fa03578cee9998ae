import { CloseCode } from '../protocol/close-codes.js';
import { maskedFrame, pingFrame } from '../protocol/encoder.js';
import { FIN, Opcode } from '../protocol/frame.js';
import type { ConnectionCore } from './context.js';
import { shifted } from './read-gate.js';

const NEVER = Number.POSITIVE_INFINITY;
/** The payload of our pings: a counter with a random start, so that a peer cannot guess the next payload. */
let pingNumber = Math.floor(Math.random() * 2 ** 31);

/**
 * Maximum number of the application's pings whose pongs are awaited; a pong also answers older pings (RFC 6455, section
 * 5.5.3).
 */
const MOST_ASKED = 1000;

/** A ping that awaits its pong. */
interface Question {
  readonly number: number;
  at: number;
}

/**
 * Sends pings, and ends connections that do not answer, are idle, or have reached the end of their session or lifetime.
 */
export class Keepalive {
  /** Round-trip time of the last ping in milliseconds; `undefined` before the first pong. */
  latency: number | undefined = undefined;
  /** When to ping next, in whole milliseconds: V8 stores integers without allocating an object. */
  private pingAt: number;
  private question: Question | undefined = undefined;
  /** Number of the application's pings that have not been answered yet. */
  private asked = 0;
  /** In whole milliseconds, as `pingAt`. */
  private lifeEndsAt: number | undefined;
  private sessionEndsAt: number | undefined;

  /** `expiresAt`: end of the session, in milliseconds since the epoch; `undefined`: never. */
  constructor(
    private readonly connection: ConnectionCore,
    now: number,
    expiresAt: number | undefined,
  ) {
    const { limits } = connection.context;
    const { pingInterval, maxLifetime } = limits;
    // The first ping is sent at a random time in the interval, so that the pings of many connections are spread.
    this.pingAt = pingInterval === NEVER ? NEVER : Math.ceil(now + pingInterval * connection.context.random());
    const lifetime = maxLifetime * (0.9 + 0.2 * connection.context.random());
    this.lifeEndsAt = maxLifetime === NEVER ? undefined : Math.ceil(now + lifetime);
    this.sessionEndsAt = monotonic(expiresAt, now);
  }

  /** Sets a new end of the session, in milliseconds since the epoch; `undefined`: never. */
  renew(expiresAt: number | undefined): void {
    const { clock } = this.connection.context;
    this.sessionEndsAt = monotonic(expiresAt, clock.now());
    this.connection.schedule(this.sessionEndsAt ?? NEVER);
  }

  nextAt(): number {
    const { connection } = this;
    const { idleTimeout } = connection.context.limits;
    const idle = connection.isPaused ? NEVER : connection.lastMessageAt + idleTimeout;
    return Math.min(this.pingAt, this.pongBy(), idle, this.lifeEndsAt ?? NEVER, this.sessionEndsAt ?? NEVER);
  }

  /** Acts on deadlines that have passed. Returns when to check again. */
  check(now: number): number {
    this.act(now);
    return this.connection.isOpen ? this.nextAt() : NEVER;
  }

  private act(now: number): void {
    const { connection } = this;
    const { idleTimeout } = connection.context.limits;
    // protection: sessions expire
    if (now >= (this.sessionEndsAt ?? NEVER)) return connection.end(CloseCode.SESSION_EXPIRED, 'session expired');
    // end protection
    // protection: connections have an end
    if (now >= (this.lifeEndsAt ?? NEVER)) return connection.end(CloseCode.GOING_AWAY, 'connection lifetime reached');
    // end protection
    // protection: pings want their pong
    if (now >= this.pongBy()) return connection.kill('no pong');
    // end protection
    // protection: idle peers are closed
    if (now >= connection.lastMessageAt + idleTimeout && !connection.isPaused)
      return connection.end(CloseCode.NORMAL, 'idle');
    // end protection
    if (now >= this.pingAt) this.ping(now);
  }

  /** Records a ping of the application: one more pong is expected. */
  ask(): void {
    if (this.asked < MOST_ASKED) this.asked++;
  }

  /** Whether a pong answers a ping, ours or the application's. */
  pong(data: Buffer): boolean {
    if (this.answer(data)) return true;
    if (this.asked === 0) return false;
    this.asked--;
    return true;
  }

  /** Whether a pong answers our ping. */
  private answer(data: Buffer): boolean {
    const { question } = this;
    if (question === undefined) return false;
    // protection: a pong must be the answer
    if (data.length !== 4 || data.readUInt32BE(0) !== question.number) return false;
    // end protection
    this.question = undefined;
    const { clock, counters } = this.connection.context;
    this.latency = clock.now() - question.at;
    counters.ping?.observe(this.latency / 1000);
    return true;
  }

  /** If a read consists of exactly one pong frame that answers our ping, returns its payload. */
  pongIn(read: Buffer): Buffer | undefined {
    if (this.question === undefined || read.length !== 10 || read[0] !== PONG || read[1] !== MASKED_4) return undefined;
    const payload = Buffer.from([6, 7, 8, 9].map((at) => read[at]! ^ read[at - 4]!));
    return this.answer(payload) ? payload : undefined;
  }

  /** Extends the deadline of the pong by the time in which nothing could be read. */
  excuse(silence: number, now: number): void {
    if (this.question !== undefined) this.question.at = shifted(this.question.at, silence, now);
  }

  private ping(now: number): void {
    const { connection } = this;
    const { pingInterval } = connection.context.limits;
    // Advances by whole intervals, so that pings stay spread even if the event loop was late.
    this.pingAt = Math.ceil(this.pingAt + pingInterval * (1 + Math.floor((now - this.pingAt) / pingInterval)));
    // Only one ping is outstanding at a time.
    if (this.question !== undefined) return;
    pingNumber = (pingNumber + 1) >>> 0 || 1;
    this.question = { number: pingNumber, at: now };
    this.send(pingNumber);
  }

  /** Sends a ping without creating the frame writer, which may never be needed. */
  private send(number: number): void {
    const { transport, writer, context } = this.connection;
    const payload = Buffer.allocUnsafe(4);
    payload.writeUInt32BE(number);
    if (writer !== undefined) return writer.control(Opcode.PING, payload, undefined);
    if (context.role === 'server') transport.write(pingFrame(number), 'latin1');
    else transport.write(maskedFrame(FIN | Opcode.PING, payload));
    if (transport.writableLength > 0) this.connection.output.judge();
  }

  private pongBy(): number {
    if (this.question === undefined) return NEVER;
    // protection: no pong is due while nothing is read
    if (this.connection.isPaused) return NEVER;
    // end protection
    return this.question.at + this.connection.context.limits.pingTimeout;
  }
}

/**
 * The first byte of an unfragmented pong frame (RFC 6455, section 5.2), and the second byte for four masked bytes of
 * payload.
 */
const PONG = FIN | Opcode.PONG;
const MASKED_4 = 0x84;

const monotonic = (expiresAt: number | undefined, now: number): number | undefined =>
  expiresAt === undefined ? undefined : now + Math.max(0, expiresAt - Date.now());
