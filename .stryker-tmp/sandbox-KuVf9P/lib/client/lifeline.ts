// @ts-nocheck
import { shifted } from '../connection/reading.js';
import { Timed } from '../net/timer-wheel.js';
import { CloseCode } from '../protocol/close-codes.js';
import type { ClientSocket } from './client-socket.js';
import type { ClientLimits } from './limits.js';
import type { ClientRuntime } from './runtime.js';

const NEVER = Number.POSITIVE_INFINITY;
/** How long a connection that ends for memory may take to send its close frame. */
const MEMORY_GRACE = 1000;

/** All deadlines of one connection. */
export class Lifeline extends Timed {
  /** Round trip of the last ping, in milliseconds; `undefined`: none was answered yet. */
  latency: number | undefined = undefined;
  private lastMessageAt: number;
  private pingAt: number;
  private lifeEndsAt: number;
  /** The ping that waits for its pong; 0: none. */
  private awaited = 0;
  private pings: number;
  private pingedAt = 0;
  private goneBy = NEVER;
  private lingers = false;
  private ended = false;

  constructor(
    private readonly socket: ClientSocket,
    private readonly limits: ClientLimits,
    private readonly runtime: ClientRuntime,
  ) {
    super();
    const now = this.now();
    this.lastMessageAt = now;
    this.pings = Math.floor(runtime.random() * 2 ** 31);
    // The first ping comes anywhere in the interval, so that the pings of many are spread.
    this.pingAt = limits.pingInterval === NEVER ? NEVER : now + limits.pingInterval * runtime.random();
    this.lifeEndsAt = limits.maxLifetime === NEVER ? NEVER : now + limits.maxLifetime * (0.9 + 0.2 * runtime.random());
  }

  now(): number {
    return this.runtime.clock.now();
  }

  /** From now on deadlines are kept. */
  begin(): void {
    this.lookAt(this.nextAt(this.now()));
  }

  lookAt(at: number): void {
    if (!this.ended) this.runtime.schedule(this, at);
  }

  messaged(): void {
    this.lastMessageAt = this.now();
    this.tookOne();
  }

  /** True when it was the answer to our ping. */
  pong(data: Buffer): boolean {
    if (this.awaited === 0 || data.length !== 4 || data.readUInt32BE(0) !== this.awaited) return false;
    this.awaited = 0;
    this.latency = this.now() - this.pingedAt;
    return true;
  }

  /** Reading had paused for so long: what the server owes us may come as much later. */
  standStill(silence: number, now: number): void {
    this.lastMessageAt = shifted(this.lastMessageAt, silence, now);
    if (this.awaited !== 0) this.pingedAt = shifted(this.pingedAt, silence, now);
  }

  /** One way or the other it is closing: TCP must end in time. */
  closing(within: number = this.limits.closeTimeout): void {
    this.goneBy = Math.min(this.goneBy, this.now() + within);
    this.lookAt(this.goneBy);
  }

  /** The server does not take what was sent: the close frame gets a second. */
  overflow(): void {
    this.closing(MEMORY_GRACE);
  }

  /** TCP has ended, and messages that came before wait: as long as they are taken, there is time for the next. */
  linger(): void {
    if (this.ended) return;
    this.lingers = true;
    this.goneBy = this.now() + this.limits.closeTimeout;
    this.lookAt(this.goneBy);
  }

  /** The application took a message, or asked for more. */
  tookOne(): void {
    if (this.lingers) this.linger();
  }

  /** It is over. */
  end(): void {
    this.ended = true;
    this.runtime.cancel(this);
  }

  override onDue(now: number): number {
    if (this.ended) return NEVER;
    const { socket } = this;
    if (now >= this.goneBy) return this.kill(this.lingers ? 'messages were not read' : 'close timeout');
    if (!this.lingers && socket.outflow.stalled(now)) return this.kill('the server does not read');
    if (now >= socket.intake.resumeAt) socket.intake.resumeAfterBytes();
    if (socket.isOpen) this.check(now);
    return this.ended ? NEVER : this.nextAt(now);
  }

  private check(now: number): void {
    const { socket } = this;
    if (now >= this.lifeEndsAt) socket.end(CloseCode.GOING_AWAY, 'connection lifetime reached');
    else if (now >= this.pongBy()) this.kill('no pong');
    else if (now >= socket.intake.assembly.by) socket.end(CloseCode.POLICY_VIOLATION, 'message took too long');
    else if (now >= this.idleBy()) socket.end(CloseCode.NORMAL, 'idle');
    else if (now >= this.pingAt) this.ping(now);
  }

  private nextAt(now: number): number {
    const { intake, outflow, isOpen } = this.socket;
    const always = Math.min(this.goneBy, this.lingers ? NEVER : outflow.nextAt(now), intake.resumeAt);
    if (!isOpen) return always;
    return Math.min(always, this.lifeEndsAt, this.pongBy(), this.idleBy(), this.pingAt, intake.assembly.by);
  }

  private ping(now: number): void {
    this.pingAt += this.limits.pingInterval;
    if (this.pingAt <= now) this.pingAt = now + this.limits.pingInterval;
    // One at a time; while an answer is due, that is the question.
    if (this.awaited !== 0) return;
    this.pings = (this.pings + 1) >>> 0 || 1;
    const payload = Buffer.allocUnsafe(4);
    payload.writeUInt32BE(this.pings, 0);
    this.awaited = this.pings;
    this.pingedAt = now;
    this.socket.ping(payload);
  }

  private pongBy(): number {
    return this.awaited === 0 || this.socket.intake.paused ? NEVER : this.pingedAt + this.limits.pingTimeout;
  }

  private idleBy(): number {
    return this.socket.intake.paused ? NEVER : this.lastMessageAt + this.limits.idleTimeout;
  }

  private kill(cause: string): number {
    this.socket.kill(cause);
    return NEVER;
  }
}
