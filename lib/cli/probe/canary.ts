import type { Arena } from './arena.js';
import { frame } from './frames.js';
import type { Peer } from './peer.js';

const EVERY = 150;

/** A well-behaved connection during the attacks: it shows whether the server is up, and how long other clients wait. */
export class Canary {
  private worst = 0;
  private sentAt: number | undefined;
  private seen = 0;
  private readonly timer: NodeJS.Timeout;

  private constructor(private readonly peer: Peer) {
    this.timer = setInterval(() => this.ping(), EVERY);
  }

  static async open(arena: Arena): Promise<Canary> {
    return new Canary(await arena.socket());
  }

  get isOpen(): boolean {
    return this.peer.isOpen && this.peer.closeFrame === undefined;
  }

  /** Sends a message. Returns true if the answer contains its text. */
  async echoes(arena: Arena): Promise<boolean> {
    const text = `nest-secure-ws-${Math.random().toString(36).slice(2)}`;
    this.peer.text(arena.message(text));
    return this.peer.until(() => this.peer.lastText.includes(text), 700);
  }

  /** The maximum round-trip time since the last call in milliseconds, including one that is still running. */
  latency(): number {
    this.look();
    const running = this.sentAt === undefined ? 0 : performance.now() - this.sentAt;
    const worst = Math.max(this.worst, running);
    this.worst = 0;
    return worst;
  }

  /** True if the connection is still open after a ping has been answered, or two seconds have passed. */
  async confirm(): Promise<boolean> {
    const { peer } = this;
    const text = `confirm ${performance.now()}`;
    peer.write(frame(text, { opcode: 9 }));
    await peer.until(() => peer.lastPong === text || !this.isOpen, 2000);
    return this.isOpen;
  }

  stop(): void {
    clearInterval(this.timer);
    this.peer.destroy();
  }

  private ping(): void {
    this.look();
    if (this.sentAt !== undefined || !this.isOpen) return;
    this.seen = this.peer.pongs;
    this.sentAt = performance.now();
    this.peer.write(frame('canary', { opcode: 9 }));
    void this.peer.until(() => this.peer.pongs > this.seen, 10_000).then(() => this.look());
  }

  private look(): void {
    if (this.sentAt === undefined || this.peer.pongs <= this.seen) return;
    this.worst = Math.max(this.worst, performance.now() - this.sentAt);
    this.sentAt = undefined;
  }
}
