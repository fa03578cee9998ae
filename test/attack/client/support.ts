import { createHash } from 'node:crypto';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import { sharedRuntime } from '../../../lib/client/runtime.js';
import { eventually } from '../../support/app.js';
import { closeFrame as anyCloseFrame, frame as anyFrame, type Frame, firstFrame } from '../../support/raw-client.js';

/** A server on raw sockets whose answer to each request the test decides. */
export interface RawServer {
  readonly port: number;
  readonly url: string;
  /** Open sockets. */
  readonly sockets: ReadonlySet<Socket>;
  /** Heads of the requests so far. */
  readonly requests: string[];
  readonly connections: number;
  close(): Promise<void>;
  /** Resolves when all sockets have ended. */
  quiet(): Promise<void>;
}

export type Answer = (socket: Socket, request: string, key: string, count: number) => void;

const open = new Set<RawServer>();

/** Closes the servers, and waits until the client has noticed: the next test may count its deadlines. */
export async function closeAll(): Promise<void> {
  await Promise.all([...open].map((server) => server.close()));
  await eventually(() => sharedRuntime.deadlines === 0);
}

export async function rawServer(answer: Answer, options: { tls?: TlsOptions; host?: string } = {}): Promise<RawServer> {
  const sockets = new Set<Socket>();
  const requests: string[] = [];
  let count = 0;
  let waiting: (() => void)[] = [];
  const serve = (socket: Socket): void => {
    const number = ++count;
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => {
      sockets.delete(socket);
      if (sockets.size > 0) return;
      for (const wake of waiting) wake();
      waiting = [];
    });
    let head = '';
    socket.on('data', function onData(chunk: Buffer) {
      head += chunk.toString('latin1');
      if (!head.includes('\r\n\r\n')) return;
      socket.removeListener('data', onData);
      requests.push(head);
      answer(socket, head, /Sec-WebSocket-Key: (.*)\r\n/.exec(head)?.[1] ?? '', number);
    });
  };
  const server: Server = options.tls === undefined ? createServer(serve) : createTlsServer(options.tls, serve);
  server.on('tlsClientError', () => {});
  const host = options.host ?? '127.0.0.1';
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const { port } = server.address() as AddressInfo;
  const raw: RawServer = {
    port,
    url: `${options.tls === undefined ? 'ws' : 'wss'}://${host}:${port}`,
    sockets,
    requests,
    get connections() {
      return count;
    },
    async close() {
      open.delete(raw);
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
    quiet: () => (sockets.size === 0 ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve))),
  };
  open.add(raw);
  return raw;
}

export const accept = (key: string): string =>
  createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');

/** A valid 101 with these additional header lines. */
export const upgrade = (key: string, ...lines: string[]): string =>
  `${['HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade', `Sec-WebSocket-Accept: ${accept(key)}`, ...lines].join('\r\n')}\r\n\r\n`;

/** A server's frame, unmasked. */
export const frame = (
  payload: Buffer | string,
  options: { opcode?: number; fin?: boolean; rsv1?: boolean } = {},
): Buffer => anyFrame(payload, { ...options, masked: false });

/** A server's close frame, unmasked. */
export const closeFrame = (code: number, reason?: string): Buffer => anyCloseFrame(code, reason, { masked: false });

/**
 * Calls back for every frame of the client, except for its keepalive pings: the first one comes at a random time, so a
 * server that answers anything would answer it too.
 */
export function onFrame(socket: Socket, listener: (frame: Frame) => void): void {
  let held: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    held = Buffer.concat([held, chunk]);
    for (let found = firstFrame(held); found !== undefined; found = firstFrame(held)) {
      held = held.subarray(found.size);
      if (found.frame.opcode !== 9) listener(found.frame);
    }
  });
}

/** The header line with which a server accepts compression without context takeover. */
export const DEFLATE = 'Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover';

/** The reason of a rejected promise. */
export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => {
      throw new Error('was not rejected');
    },
    (error: unknown) => error,
  );
}

/** Writes `chunk` repeatedly for as long as the peer reads. */
export function pour(socket: Socket, chunk: string | Buffer, limit = 64 * 1024 * 1024): void {
  let written = 0;
  const more = (): void => {
    while (!socket.destroyed && written < limit) {
      written += chunk.length;
      if (!socket.write(chunk)) return void socket.once('drain', more);
    }
  };
  more();
}
