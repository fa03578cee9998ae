import { connect, type Socket } from 'node:net';
import { connect as connectTls, TLSSocket } from 'node:tls';
import type { Budget } from './budget.js';
import { type Frame, FrameReader, frame } from './frames.js';
import { kindOf, type Target } from './target.js';

export interface Response {
  readonly status: number;
  readonly reason: string;
  readonly headers: ReadonlyMap<string, string>;
}

/** How a connection ended: closed or reset by the server, or closed by us. */
export type End = 'closed' | 'reset' | 'ours';

const CONNECT_TIMEOUT = 5000;
const MAX_HEAD = 64 * 1024;

/**
 * A client on a raw socket whose behaviour is controlled by an attack. It connects only to the target's fixed address,
 * within the budget of connections and bytes.
 */
export class Peer {
  response: Response | undefined;
  end: End | undefined;
  closeFrame: { readonly code: number; readonly reason: string } | undefined;
  /** Number of received bytes. */
  received = 0;
  messages = 0;
  pongs = 0;
  /** The payload of the last pong. */
  lastPong = '';
  /** The text of the last message. */
  lastText = '';
  /** Whether pings of the server are answered. */
  answersPings = true;
  onText: ((text: string) => void) | undefined;
  /** The bytes received before, or instead of, a 101. */
  plain = '';
  private head: Buffer = Buffer.alloc(0);
  private readonly reader = new FrameReader((each) => this.onFrame(each));
  private readonly waiting = new Set<() => void>();

  private constructor(
    private readonly socket: Socket,
    private readonly budget: Budget,
  ) {
    socket.on('data', (chunk: Buffer) => this.onData(chunk));
    socket.on('end', () => this.ended('closed'));
    socket.on('close', () => this.ended('closed'));
    socket.on('error', (error: NodeJS.ErrnoException) =>
      this.ended(error.code === 'ECONNRESET' || error.code === 'EPIPE' ? 'reset' : 'closed'),
    );
    socket.on('drain', () => this.wake());
  }

  /** Connects to the target. Rejects if the connection is not accepted. */
  static open(target: Target, budget: Budget): Promise<Peer> {
    budget.connection();
    const { address, port, isLoopback } = target;
    return new Promise((resolve, reject) => {
      const tcp = connect({ host: address, port, allowHalfOpen: true, noDelay: true });
      const fail = (error: Error) => {
        clearTimeout(timer);
        tcp.destroy();
        reject(error);
      };
      const timer = setTimeout(
        () => fail(new Error('no connection within 5 s')),
        Math.min(CONNECT_TIMEOUT, budget.left),
      );
      tcp.once('error', fail);
      tcp.once('connect', () => {
        // An address needs no lookup. If the connection goes to another address nevertheless, nothing is sent.
        const reached = tcp.remoteAddress ?? '';
        if (isLoopback && kindOf(reached) !== 'loopback')
          return fail(new Error(`connected to ${reached}, not to this machine`));
        const done = (socket: Socket) => {
          clearTimeout(timer);
          socket.removeListener('error', fail);
          tcp.removeListener('error', fail);
          tcp.on('error', () => undefined);
          resolve(new Peer(socket, budget));
        };
        if (!target.tls) return done(tcp);
        const names = kindOf(target.host) === 'none' ? { servername: target.host } : {};
        const secure = connectTls({
          socket: tcp,
          rejectUnauthorized: target.verify,
          ALPNProtocols: ['http/1.1'],
          ...names,
        });
        secure.once('error', fail);
        secure.once('secureConnect', () => done(secure));
      });
    });
  }

  /** Number of bytes that wait in this process because the server does not read. */
  get unsent(): number {
    return this.socket.writableLength;
  }

  get isOpen(): boolean {
    return this.end === undefined;
  }

  /** Writes bytes. Returns false if the budget is used up or the connection has ended. */
  write(data: string | Buffer): boolean {
    const bytes = typeof data === 'string' ? Buffer.from(data, 'latin1') : data;
    if (this.end !== undefined || !this.socket.writable || !this.budget.spend(bytes.length)) return false;
    this.socket.write(bytes);
    return true;
  }

  text(text: string): boolean {
    return this.write(frame(text));
  }

  /** Sends a request head, complete or not, and waits for a response or the end. */
  async ask(head: string, patience = 5000): Promise<Response | undefined> {
    this.write(head);
    await this.until(() => this.response !== undefined || !this.isOpen, patience);
    return this.response;
  }

  /** Waits until the condition is true; returns false after the given time or at the end of the run. */
  until(condition: () => boolean, patience: number): Promise<boolean> {
    if (condition()) return Promise.resolve(true);
    return new Promise((resolve) => {
      const finish = (held: boolean) => {
        clearTimeout(timer);
        this.waiting.delete(look);
        resolve(held);
      };
      const look = () => {
        if (condition()) finish(true);
      };
      const timer = setTimeout(() => finish(condition()), Math.min(patience, this.budget.left));
      this.waiting.add(look);
    });
  }

  /** Waits until the server has ended the connection, with or without a close frame. */
  untilEnded(patience: number): Promise<boolean> {
    return this.until(() => !this.isOpen || this.closeFrame !== undefined, patience);
  }

  stopReading(): void {
    this.socket.pause();
  }

  /** Resets the TCP connection; with TLS it is destroyed, because Node cannot reset the socket below. */
  reset(): void {
    this.ended('ours');
    if (this.socket instanceof TLSSocket) this.socket.destroy();
    else this.socket.resetAndDestroy();
  }

  destroy(): void {
    this.ended('ours');
    this.socket.destroy();
  }

  private onData(chunk: Buffer): void {
    this.received += chunk.length;
    if (this.response?.status === 101) this.reader.push(chunk);
    else {
      if (this.plain.length < MAX_HEAD) this.plain += chunk.toString('latin1');
      this.onHead(chunk);
    }
    this.wake();
  }

  private onHead(chunk: Buffer): void {
    if (this.response !== undefined || this.head.length > MAX_HEAD) return;
    this.head = Buffer.concat([this.head, chunk]);
    const end = this.head.indexOf('\r\n\r\n');
    if (end < 0) return;
    const [line = '', ...lines] = this.head.subarray(0, end).toString('latin1').split('\r\n');
    const headers = lines
      .map((each) => /^([^:]+):\s*(.*)$/.exec(each) ?? [])
      .map(([, name = '', value = '']) => [name.toLowerCase(), value] as const);
    const [, status = '0', reason = ''] = /^HTTP\/1\.[01] (\d{3}) ?(.*)$/.exec(line) ?? [];
    this.response = { status: Number(status), reason, headers: new Map(headers) };
    const rest = this.head.subarray(end + 4);
    this.head = Buffer.alloc(0);
    if (this.response.status === 101 && rest.length > 0) this.reader.push(rest);
  }

  private onFrame({ opcode, payload }: Frame): void {
    if (opcode === 8)
      this.closeFrame ??=
        payload.length < 2
          ? { code: 1005, reason: '' }
          : { code: payload.readUInt16BE(0), reason: payload.subarray(2).toString() };
    else if (opcode === 9 && this.answersPings) this.write(frame(payload, { opcode: 10 }));
    else if (opcode === 10) {
      this.pongs++;
      this.lastPong = payload.subarray(0, 125).toString('latin1');
    } else if (opcode === 1 || opcode === 2) {
      this.messages++;
      if (opcode === 1) {
        this.lastText = payload.subarray(0, 4096).toString();
        this.onText?.(this.lastText);
      }
    }
  }

  private ended(how: End): void {
    if (this.end !== undefined) return;
    this.end = how;
    // The server has closed: closes too, so that TCP is not left half-open.
    if (how !== 'ours') this.socket.destroy();
    this.wake();
  }

  private wake(): void {
    for (const look of [...this.waiting]) look();
  }
}
