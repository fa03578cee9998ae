import { type Socket, connect as tcpConnect } from 'node:net';
import { Duplex } from 'node:stream';
import { type ConnectionOptions, connect as tlsConnect } from 'node:tls';
import { constants, deflateRawSync } from 'node:zlib';

export interface RawOptions {
  readonly port: number;
  readonly host?: string;
  /** Source address, such as 127.0.0.7. */
  readonly localAddress?: string;
  readonly tls?: ConnectionOptions;
  /** A Unix domain socket, instead of host and port. */
  readonly unix?: string;
  /** Sent before anything else, TLS included. */
  readonly prefix?: string | Buffer;
}

/** A frame received from the server. */
export interface Frame {
  readonly fin: boolean;
  readonly rsv1: boolean;
  readonly opcode: number;
  readonly payload: Buffer;
}

/** A server's response to a request head. */
export interface Response {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: string;
  readonly raw: string;
}

/** How long to wait for a peer, in milliseconds: only a hang takes longer, however slow or busy the machine is. */
const PATIENCE = 30_000;

export const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';

export interface HeadOptions {
  readonly path?: string;
  /** By name; an array makes several lines; `undefined` omits a default. */
  readonly headers?: Record<string, string | readonly string[] | undefined>;
}

/** The text of an upgrade request. */
export function upgradeHead(port: number, { path = '/', headers = {} }: HeadOptions = {}): string {
  const all: Record<string, string | readonly string[] | undefined> = {
    Host: `127.0.0.1:${port}`,
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Key': KEY,
    'Sec-WebSocket-Version': '13',
    ...headers,
  };
  const lines = Object.entries(all).flatMap(([name, value]) =>
    value === undefined ? [] : [value].flat().map((each) => `${name}: ${each}\r\n`),
  );
  return `GET ${path} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

/** A masked frame (RFC 6455, section 5.2); `length` overrides the declared payload length. */
export function frame(
  payload: string | Buffer,
  {
    opcode = 1,
    fin = true,
    rsv1 = false,
    masked = true,
    length,
  }: { opcode?: number; fin?: boolean; rsv1?: boolean; masked?: boolean; length?: number | bigint } = {},
): Buffer {
  const data = Buffer.from(payload as string);
  const declared = BigInt(length ?? data.length);
  const head = [(fin ? 0x80 : 0) | (rsv1 ? 0x40 : 0) | opcode];
  const bit = masked ? 0x80 : 0;
  if (declared < 126n) head.push(bit | Number(declared));
  else if (declared < 65536n) head.push(bit | 126, Number(declared >> 8n), Number(declared & 255n));
  else {
    head.push(bit | 127);
    for (let shift = 56n; shift >= 0n; shift -= 8n) head.push(Number((declared >> shift) & 255n));
  }
  if (!masked) return Buffer.concat([Buffer.from(head), data]);
  const mask = Buffer.from([0x37, 0xfa, 0x21, 0x3d]);
  const body = Buffer.from(data);
  for (let i = 0; i < body.length; i++) body[i]! ^= mask[i & 3]!;
  return Buffer.concat([Buffer.from(head), mask, body]);
}

/** A close frame (RFC 6455, section 5.5.1). */
export function closeFrame(code: number, reason = '', options: { masked?: boolean } = {}): Buffer {
  return frame(Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]), { ...options, opcode: 8 });
}

/** The payload of a compressed message (RFC 7692, section 7.2.1). */
export const deflated = (data: string | Buffer): Buffer =>
  deflateRawSync(data, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);

/** A socket as a plain stream, so that TLS over it does not own it and it can be reset below TLS. */
class Transport extends Duplex {
  constructor(private readonly tcp: Socket) {
    super({ allowHalfOpen: false });
    tcp.on('data', (chunk: Buffer) => this.push(chunk));
    tcp.on('end', () => this.push(null));
    tcp.on('close', () => this.destroy());
  }

  override _read(): void {}

  override _write(chunk: Buffer, _: BufferEncoding, done: (error?: Error | null) => void): void {
    this.tcp.write(chunk, done);
  }

  override _final(done: () => void): void {
    this.tcp.end(done);
  }
}

/** The first frame in these bytes, unmasked, and its size; `undefined` if it is incomplete. */
export function firstFrame(bytes: Buffer): { frame: Frame; size: number } | undefined {
  if (bytes.length < 2) return undefined;
  const first = bytes[0]!;
  const isMasked = (bytes[1]! & 0x80) !== 0;
  let length = bytes[1]! & 0x7f;
  let offset = 2;
  if (length === 126) {
    if (bytes.length < 4) return undefined;
    length = bytes.readUInt16BE(2);
    offset = 4;
  } else if (length === 127) {
    if (bytes.length < 10) return undefined;
    length = Number(bytes.readBigUInt64BE(2));
    offset = 10;
  }
  const mask = bytes.subarray(offset, offset + (isMasked ? 4 : 0));
  offset += mask.length;
  if (bytes.length < offset + length) return undefined;
  let payload = bytes.subarray(offset, offset + length);
  if (isMasked) payload = payload.map((byte, at) => byte ^ mask[at & 3]!) as Buffer;
  return {
    frame: { fin: (first & 0x80) !== 0, rsv1: (first & 0x40) !== 0, opcode: first & 15, payload },
    size: offset + length,
  };
}

/** A client on a raw socket that may misbehave in any way. */
export class RawClient {
  /** Bytes received and not consumed yet. */
  received: Buffer = Buffer.alloc(0);
  total = 0;
  ended = false;
  closed = false;
  error: Error | undefined;
  private readonly waiting = new Set<() => void>();

  private constructor(
    readonly socket: Socket,
    /** The socket below TLS, where there is TLS. */
    private readonly tcp: Socket,
  ) {
    tcp.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      this.total += chunk.length;
      this.received = Buffer.concat([this.received, chunk]);
      this.wake();
    });
    socket.on('end', () => {
      this.ended = true;
      this.wake();
    });
    socket.on('error', (error) => {
      this.error = error;
      this.wake();
    });
    socket.on('close', () => {
      this.closed = true;
      this.wake();
    });
  }

  static connect({ port, host = '127.0.0.1', localAddress, tls, unix, prefix }: RawOptions): Promise<RawClient> {
    return new Promise((resolve, reject) => {
      const allowHalfOpen = tls === undefined;
      const tcp = tcpConnect(
        unix === undefined ? { port, host, localAddress, allowHalfOpen } : { path: unix, allowHalfOpen },
      );
      if (prefix !== undefined) tcp.write(prefix);
      const socket =
        tls === undefined ? tcp : tlsConnect({ socket: new Transport(tcp), host, rejectUnauthorized: false, ...tls });
      tcp.once('error', reject);
      tcp.setNoDelay();
      socket.once('error', reject);
      socket.once(tls === undefined ? 'connect' : 'secureConnect', () => {
        socket.removeListener('error', reject);
        resolve(new RawClient(socket, tcp));
      });
    });
  }

  /** Connects and upgrades; throws when the response is not 101. */
  static async open(options: RawOptions, head: HeadOptions = {}): Promise<RawClient> {
    const client = await RawClient.connect(options);
    const response = await client.upgrade(upgradeHead(options.port, head));
    if (response.status === 101) return client;
    client.destroy();
    throw new Error(`expected 101, got ${response.raw}`);
  }

  write(data: string | Buffer): void {
    if (!this.socket.destroyed) this.socket.write(typeof data === 'string' ? Buffer.from(data, 'latin1') : data);
  }

  async upgrade(head: string | Buffer): Promise<Response> {
    this.write(head);
    return this.response();
  }

  /** The next response, with its body if it declares one. */
  async response(timeout = PATIENCE): Promise<Response> {
    await this.until(() => this.received.includes('\r\n\r\n') || this.ended || this.closed, timeout);
    const end = this.received.indexOf('\r\n\r\n');
    if (end < 0)
      throw new Error(
        `closed without an answer: ${JSON.stringify(this.received.toString('latin1'))} ${this.error ?? ''}`,
      );
    const head = this.received.subarray(0, end).toString('latin1');
    const [line = '', ...lines] = head.split('\r\n');
    const headers: Record<string, string> = {};
    for (const each of lines) {
      const colon = each.indexOf(':');
      headers[each.slice(0, colon).toLowerCase()] = each.slice(colon + 1).trim();
    }
    const status = Number(line.split(' ')[1]);
    const length = status === 101 ? 0 : Number(headers['content-length'] ?? 0);
    await this.until(() => this.received.length >= end + 4 + length || this.ended || this.closed, timeout);
    const body = this.received.subarray(end + 4, end + 4 + length).toString('latin1');
    this.received = this.received.subarray(end + 4 + length);
    return { status, headers, body, raw: `${head}\r\n\r\n${body}` };
  }

  /**
   * The next frame; `undefined` when the connection has ended. Keepalive pings, which have four bytes, are skipped: the
   * first one comes at a random time.
   */
  async frame(timeout = PATIENCE): Promise<Frame | undefined> {
    for (;;) {
      const next = await this.anyFrame(timeout);
      if (next?.opcode !== 9 || next.payload.length !== 4) return next;
    }
  }

  /** The next frame, which may be a keepalive ping. */
  async anyFrame(timeout = PATIENCE): Promise<Frame | undefined> {
    await this.until(() => firstFrame(this.received) !== undefined || this.ended || this.closed, timeout);
    const found = firstFrame(this.received);
    if (found === undefined) return undefined;
    this.received = this.received.subarray(found.size);
    return found.frame;
  }

  /** The next text frame, parsed; pings are skipped. */
  async json(timeout = PATIENCE): Promise<unknown> {
    let next = await this.frame(timeout);
    while (next?.opcode === 9 || next?.opcode === 10) next = await this.frame(timeout);
    return next === undefined ? undefined : JSON.parse(next.payload.toString());
  }

  /** The code and reason of the close frame, skipping other frames. */
  async closeFrame(timeout = PATIENCE): Promise<{ code: number; reason: string } | undefined> {
    for (;;) {
      const next = await this.frame(timeout);
      if (next === undefined) return undefined;
      if (next.opcode !== 8) continue;
      return next.payload.length < 2
        ? { code: 1005, reason: '' }
        : { code: next.payload.readUInt16BE(0), reason: next.payload.subarray(2).toString() };
    }
  }

  /** Sends `{ event, data }`. */
  send(event: string, data?: unknown): void {
    this.write(frame(JSON.stringify({ event, data })));
  }

  /** Resolves when the server has ended its side, or the connection has broken. */
  async untilClosed(timeout = PATIENCE): Promise<void> {
    await this.until(() => this.ended || this.closed, timeout);
  }

  async until(condition: () => boolean, timeout = PATIENCE): Promise<void> {
    if (condition()) return;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiting.delete(check);
        reject(
          new Error(
            `nothing happened for ${timeout} ms; received ${JSON.stringify(this.received.subarray(0, 300).toString('latin1'))}`,
          ),
        );
      }, timeout);
      const check = () => {
        if (!condition()) return;
        clearTimeout(timer);
        this.waiting.delete(check);
        resolve();
      };
      this.waiting.add(check);
    });
  }

  /** Stops reading, below TLS too. */
  pause(): void {
    this.socket.pause();
    this.tcp.pause();
  }

  /** Sends a reset; under TLS it ends TCP without a TLS alert. */
  reset(): void {
    // A reset that crosses the peer's FIN leaks the handle in Node. Under TLS, TCP is destroyed instead.
    if (this.socket === this.tcp) this.tcp.resetAndDestroy();
    else this.tcp.destroy();
  }

  /** A reset, under TLS too: only for a server in another process. */
  resetTcp(): void {
    this.tcp.resetAndDestroy();
    this.socket.destroy();
  }

  destroy(): void {
    this.socket.destroy();
    this.tcp.destroy();
  }

  private wake(): void {
    for (const check of [...this.waiting]) check();
  }
}
