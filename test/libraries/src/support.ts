import { on, once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import type { INestApplication, Type } from '@nestjs/common';
import { HttpAdapterHost, NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { SignJWT } from 'jose';
import { SecureWsStats } from 'nest-secure-ws';
import { type ClientOptions, WebSocket } from 'ws';

/** Set by `scripts/try-libraries.mjs`, for the recipes too. */
export const SECRET = process.env['SESSION_SECRET']!;
/** The origin that recipes allow. */
export const ORIGIN = 'https://app.example';

type Headers = Readonly<Record<string, string>>;

/** A recipe's module as an application on a free loopback port. */
export class Recipe {
  private readonly sockets: WebSocket[] = [];

  private constructor(
    readonly app: INestApplication,
    readonly port: number,
  ) {}

  static async start(module: Type, platform: 'express' | 'fastify' = 'express'): Promise<Recipe> {
    // Refusals are expected, and are logged as warnings.
    const options = { logger: ['error'] as 'error'[], abortOnError: false };
    const app =
      platform === 'express'
        ? await NestFactory.create(module, new ExpressAdapter(), options)
        : await NestFactory.create<NestFastifyApplication>(module, new FastifyAdapter(), options);
    await app.listen(0, '127.0.0.1');
    const server = app.get(HttpAdapterHost).httpAdapter.getHttpServer() as { address(): AddressInfo };
    return new Recipe(app, server.address().port);
  }

  url(path: string, scheme = 'ws'): string {
    return `${scheme}://127.0.0.1:${this.port}${path}`;
  }

  /** An open WebSocket, or the status of the refusal. */
  async open(path: string, headers: Headers = {}, protocols: string[] = []): Promise<WebSocket | number> {
    const socket = new WebSocket(this.url(path), protocols, { headers });
    this.sockets.push(socket);
    // A message may arrive directly after the 101.
    incoming.set(socket, on(socket, 'message'));
    const opened = new Promise<WebSocket>((resolve) => socket.once('open', () => resolve(socket)));
    const refused = new Promise<number>((resolve) =>
      socket.once('unexpected-response', (_request, response: IncomingMessage) => {
        socket.terminate();
        resolve(response.statusCode!);
      }),
    );
    const failed = once(socket, 'error').then(([error]) => Promise.reject(error as Error));
    // A later error of the socket is not a failure.
    socket.on('error', () => undefined);
    failed.catch(() => undefined);
    return Promise.race([opened, refused, failed]);
  }

  async mustOpen(path: string, headers?: Headers, protocols?: string[]): Promise<WebSocket> {
    const socket = await this.open(path, headers, protocols);
    if (typeof socket === 'number') throw new Error(`${path} was refused with ${socket}`);
    return socket;
  }

  /** The gateway's answer to `who`, or the status of the refusal. */
  async who(path: string, headers: Headers): Promise<unknown> {
    const socket = await this.open(path, headers);
    if (typeof socket === 'number') return socket;
    const answer = nextMessage(socket);
    socket.send('{"event":"who"}');
    const { data } = (await answer) as { data: unknown };
    socket.close();
    return data;
  }

  post(path: string, body?: object, headers: Headers = {}): Promise<Response> {
    return fetch(this.url(path, 'http'), {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...headers },
      body: JSON.stringify(body ?? {}),
    });
  }

  /** Waits until this many slots are held, and no handshake is pending. */
  async untilSlots(count: number): Promise<void> {
    await until(`${count} slots are held`, () => {
      const { slots, pending } = this.app.get(SecureWsStats).snapshot();
      return slots === count && pending === 0;
    });
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.terminate();
    await this.untilSlots(0);
    await this.app.close();
  }
}

/** The status of an upgrade with this exact target; a client's `new URL()` would resolve dot segments. */
export async function rawStatus(port: number, target: string, protocol: string): Promise<number> {
  const socket = connect(port, '127.0.0.1').setEncoding('latin1');
  socket.write(
    `GET ${target} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: ${protocol}\r\n\r\n`,
  );
  const [head] = (await once(socket, 'data', { signal: AbortSignal.timeout(20_000) })) as [string];
  socket.destroy();
  return Number(head.slice(9, 12));
}

export async function until(what: string, holds: () => boolean | Promise<boolean>, within = 20_000): Promise<void> {
  for (const end = Date.now() + within; !(await holds()); ) {
    if (Date.now() > end) throw new Error(`not within ${within / 1000} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const incoming = new WeakMap<WebSocket, AsyncIterator<unknown[]>>();

/** The next unread message. */
export async function nextMessage(socket: WebSocket): Promise<unknown> {
  const timer = setTimeout(() => socket.emit('error', new Error('no message within 20 s')), 20_000);
  try {
    const { value } = await incoming.get(socket)!.next();
    return JSON.parse(String((value as unknown[])[0]));
  } finally {
    clearTimeout(timer);
  }
}

export async function closeCode(socket: WebSocket): Promise<number> {
  return (await once(socket, 'close', { signal: AbortSignal.timeout(20_000) }))[0] as number;
}

export function tokenFor(name: string, expires: number | string = '5m', secret = SECRET): Promise<string> {
  return new SignJWT()
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(name)
    .setIssuedAt()
    .setExpirationTime(expires)
    .sign(Buffer.from(secret));
}

/** A `ws` class with additional headers, for a library's client. */
export function webSocketWith(headers: Headers): typeof WebSocket {
  return class extends WebSocket {
    constructor(url: string | URL, protocols?: string | string[], options?: ClientOptions) {
      super(url, protocols, { ...options, headers });
    }
  } as typeof WebSocket;
}
