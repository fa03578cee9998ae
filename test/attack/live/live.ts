import { ConnectedSocket, MessageBody, type OnGatewayConnection, SubscribeMessage } from '@nestjs/websockets';
import { MessageRate, SecureGateway, type SecureSocket, type SecureWsOptions } from 'nest-secure-ws';
import { startApp, type TestApp } from '../../support/app.js';
import { frame, type HeadOptions, RawClient, type RawOptions } from '../../support/raw-client.js';

const gate: { opened: Promise<void>; open: () => void } = { opened: Promise.resolve(), open: () => undefined };

/** A gateway with a handler for everything that the tests do to a connection. */
@SecureGateway()
export class LiveGateway implements OnGatewayConnection {
  static sockets: SecureSocket[] = [];
  static left: number[] = [];
  static running = 0;
  static most = 0;
  static started = 0;
  /** The number of `size` messages handled in the current turn; `undefined` when it is not counted. */
  static inTurn: number | undefined;

  /** Handlers of `wait` wait until the gate opens. */
  static closeGate(): void {
    gate.opened = new Promise((resolve) => {
      gate.open = resolve;
    });
  }

  static openGate(): void {
    gate.open();
  }

  static reset(): void {
    Object.assign(LiveGateway, { sockets: [], left: [], running: 0, most: 0, started: 0, inTurn: undefined });
  }

  handleConnection(socket: SecureSocket): void {
    LiveGateway.sockets.push(socket);
  }

  handleDisconnect(_socket: SecureSocket, code?: number): void {
    LiveGateway.left.push(code ?? 0);
  }

  @SubscribeMessage('echo')
  echo(@MessageBody() data: unknown) {
    return { event: 'echo', data };
  }

  @SubscribeMessage('size')
  size(@MessageBody() data: unknown) {
    if (LiveGateway.inTurn !== undefined) LiveGateway.most = Math.max(LiveGateway.most, ++LiveGateway.inTurn);
    return { event: 'size', data: JSON.stringify(data).length };
  }

  @SubscribeMessage('big')
  big(@MessageBody() size: number) {
    return { event: 'big', data: 'x'.repeat(size) };
  }

  @SubscribeMessage('wait')
  async wait(@MessageBody() data: unknown) {
    LiveGateway.started++;
    LiveGateway.most = Math.max(LiveGateway.most, ++LiveGateway.running);
    await gate.opened;
    LiveGateway.running--;
    return { event: 'wait', data };
  }

  @SubscribeMessage('never')
  never(): Promise<void> {
    return new Promise(() => undefined);
  }

  @SubscribeMessage('rare')
  @MessageRate('2/1m')
  rare() {
    return { event: 'rare' };
  }

  @SubscribeMessage('sink')
  sink(@ConnectedSocket() _socket: SecureSocket): void {
    LiveGateway.started++;
  }
}

/** High limits for what a test is not about. */
const FREE: SecureWsOptions = {
  connections: { rate: '100000/1s', maxPerIp: 10_000, maxPending: 10_000, maxPendingPerIp: 10_000 },
};
const UNMETERED = { rate: '10000000/1s', byteRate: '8gb/1s', byteRatePerIp: '8gb/1s', controlRate: '10000000/1s' };

export const unmetered = (messages: SecureWsOptions['messages'] = {}): SecureWsOptions['messages'] => ({
  ...UNMETERED,
  ...messages,
});

/** Without keepalive pings unless `options` has an interval: the first one comes at a random time. */
export function startLive(options: SecureWsOptions = {}): Promise<TestApp> {
  LiveGateway.reset();
  return startApp({
    gateways: [LiveGateway],
    options: {
      ...FREE,
      ...options,
      connections: { ...FREE.connections, ...options.connections },
      keepalive: { pingInterval: null, ...options.keepalive },
    },
  });
}

export const openClient = (
  app: TestApp,
  options: Partial<RawOptions> = {},
  head: HeadOptions = {},
): Promise<RawClient> => RawClient.open({ port: app.port, ...options }, head);

export const message = (event: string, data?: unknown): Buffer => frame(JSON.stringify({ event, data }));

/** The next frame that is not a ping. */
export async function reply(client: RawClient, timeout?: number) {
  for (;;) {
    const next = await client.frame(timeout);
    if (next?.opcode !== 9) return next;
  }
}

export const nextMessage = async (client: RawClient, timeout?: number): Promise<unknown> => {
  const next = await reply(client, timeout);
  return next && JSON.parse(next.payload.toString());
};

/** Whether no connection, slot or memory remains. */
export const isQuiet = (app: TestApp): boolean => {
  const { connections, pending, slots, heldBytes } = app.stats();
  return connections + pending + slots + heldBytes === 0;
};

/** Reads frames in linear time; a payload is reported only when it arrived in one piece. */
export class Frames {
  readonly sizes: number[] = [];
  private head: Buffer = Buffer.alloc(0);
  private left = 0;

  constructor(
    client: RawClient,
    private readonly onFrame: (opcode: number, payload: Buffer) => void = () => undefined,
  ) {
    client.socket.removeAllListeners('data');
    this.take(client.received);
    client.socket.on('data', (chunk: Buffer) => this.take(chunk));
    client.socket.resume();
  }

  private take(chunk: Buffer): void {
    const skipped = Math.min(this.left, chunk.length);
    this.left -= skipped;
    let bytes: Buffer = this.head.length > 0 ? Buffer.concat([this.head, chunk]) : chunk.subarray(skipped);
    for (let used = this.parse(bytes); used > 0; used = this.parse(bytes)) bytes = bytes.subarray(used);
    this.head = bytes;
  }

  /** The number of bytes taken by a frame header and the payload present. */
  private parse(bytes: Buffer): number {
    if (bytes.length < 2) return 0;
    const short = bytes[1]! & 127;
    const offset = short === 126 ? 4 : short === 127 ? 10 : 2;
    if (bytes.length < offset) return 0;
    const length = short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short;
    const payload = bytes.subarray(offset, offset + length);
    this.left = length - payload.length;
    if ((bytes[0]! & 15) !== 9) this.sizes.push(length);
    this.onFrame(bytes[0]! & 15, payload);
    return offset + payload.length;
  }
}
