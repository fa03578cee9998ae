import { CloseCode } from '../errors/close-codes.js';
import type { Connection } from './connection.js';
import { shifted } from './reading.js';

const NEVER = Number.POSITIVE_INFINITY;
/** What our pings carry: a counter that every process starts elsewhere, so that no peer can answer in advance by habit. */
let pingNumber = Math.floor(Math.random() * 2 ** 31);

/** Who is still there, for how long it may stay. */
export class Keepalive {
  /** Round trip of the last ping, in milliseconds; `undefined`: none was answered yet. */
  latency: number | undefined = undefined;
  private pingAt: number;
  /** The ping that waits for its pong; 0: none. */
  private awaited = 0;
  private pingedAt = 0;
  private lifeEndsAt: number;
  private sessionEndsAt: number;

  constructor(
    private readonly connection: Connection,
    now: number,
  ) {
    const { pingInterval, maxLifetime } = connection.context.limits;
    // The first ping comes anywhere in the interval, so that the pings of many are spread.
    this.pingAt = pingInterval === NEVER ? NEVER : now + pingInterval * Math.random();
    this.lifeEndsAt = maxLifetime === NEVER ? NEVER : now + maxLifetime * (0.9 + 0.2 * Math.random());
    this.sessionEndsAt = this.monotonic(connection.peer.expiresAt, now);
  }

  /** The session ends at another time, in milliseconds since the epoch; `Infinity`: it does not. */
  renew(expiresAt: number): void {
    const { clock } = this.connection.context;
    this.sessionEndsAt = this.monotonic(expiresAt, clock.now());
    this.connection.schedule(this.sessionEndsAt);
  }

  nextAt(): number {
    const { idleTimeout } = this.connection.context.limits;
    const idle = this.connection.isPaused ? NEVER : this.connection.lastMessageAt + idleTimeout;
    return Math.min(this.pingAt, this.pongBy(), idle, this.lifeEndsAt, this.sessionEndsAt);
  }

  /** Acts on what is due; answers when to look again. */
  check(now: number): number {
    const { connection } = this;
    const { idleTimeout } = connection.context.limits;
    if (now >= this.sessionEndsAt) connection.end(CloseCode.SESSION_EXPIRED, 'session expired');
    else if (now >= this.lifeEndsAt) connection.end(CloseCode.GOING_AWAY, 'connection lifetime reached');
    else if (now >= this.pongBy()) connection.kill('no pong');
    else if (now >= connection.lastMessageAt + idleTimeout && !connection.isPaused)
      connection.end(CloseCode.NORMAL, 'idle');
    else if (now >= this.pingAt) this.ping(now);
    return connection.isOpen ? this.nextAt() : NEVER;
  }

  /** True when it was the answer to our ping. */
  pong(data: Buffer): boolean {
    if (this.awaited === 0 || data.length !== 4 || data.readUInt32BE(0) !== this.awaited) return false;
    this.awaited = 0;
    this.latency = this.connection.context.clock.now() - this.pingedAt;
    return true;
  }

  standStill(silence: number, now: number): void {
    this.pingedAt = shifted(this.pingedAt, silence, now);
  }

  private ping(now: number): void {
    const { limits } = this.connection.context;
    // Whole intervals, so that pings stay spread even when the process was held up.
    this.pingAt += limits.pingInterval * (1 + Math.floor((now - this.pingAt) / limits.pingInterval));
    // One at a time; while an answer is due, that is the question.
    if (this.awaited !== 0) return;
    pingNumber = (pingNumber + 1) >>> 0 || 1;
    const payload = Buffer.allocUnsafe(4);
    payload.writeUInt32BE(pingNumber, 0);
    this.awaited = pingNumber;
    this.pingedAt = now;
    this.connection.socket.ping(payload);
  }

  private pongBy(): number {
    return this.awaited === 0 || this.connection.isPaused
      ? NEVER
      : this.pingedAt + this.connection.context.limits.pingTimeout;
  }

  private monotonic(expiresAt: number, now: number): number {
    return expiresAt === NEVER ? NEVER : now + Math.max(0, expiresAt - Date.now());
  }
}
