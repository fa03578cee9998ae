import { once } from 'node:events';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { INestApplication, Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { connectTo, expectRefusal, type TestClient } from 'nest-secure-ws/testing';
import { WebSocket } from 'ws';
import { codeBlocks } from '../support/markdown-code.js';
import 'reflect-metadata';

/** Starts the gateways of docs/migrating.md, and connects the kind of client that each had before. */
const FOLDER = join(import.meta.dirname, '.recipes/migrating');
const blocks = new Map(
  codeBlocks('docs/migrating.md', 'ts').map((text) => [/export class (\w+)/.exec(text)?.[1], text]),
);

let app: INestApplication | undefined;
const clients: TestClient[] = [];

beforeAll(() => {
  expect([...blocks.keys()]).toEqual(['FromStockModule', 'FromSocketIoModule', 'FromBareModule']);
  mkdirSync(FOLDER, { recursive: true });
  for (const [name, text] of blocks) writeFileSync(join(FOLDER, `${name}.ts`), text);
});
afterAll(() => rmSync(FOLDER, { recursive: true, force: true }));
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
  await app?.close();
  app = undefined;
});

async function start(name: string): Promise<INestApplication> {
  const exported = (await import(join(FOLDER, `${name}.ts`))) as Record<string, Type>;
  app = await NestFactory.create(exported[name]!, { logger: false });
  await app.listen(0, '127.0.0.1');
  return app;
}

async function connect(options: Parameters<typeof connectTo>[2] = {}): Promise<TestClient> {
  const client = await connectTo(app!, '/chat?token=secret', options);
  clients.push(client);
  return client;
}

describe('docs/migrating.md', () => {
  it('migrates from the stock adapter', async () => {
    await expectRefusal(await start('FromStockModule'), { path: '/chat?token=x' }, { status: 401, reason: 'guard' });
    const [speaker, other] = [await connect(), await connect()];
    speaker.send('say', { text: 'hi' });
    expect(await other.nextEvent('said')).toEqual({ by: 'ada', text: 'hi' });
    expect(await speaker.nextEvent('said')).toEqual({ by: 'ada', text: 'hi' });
    speaker.socket.send('x'.repeat(64 * 1024 + 1));
    expect(await speaker.closed()).toMatchObject({ code: 1009 });
  });

  it('migrates from socket.io, with acknowledgements', async () => {
    const { port } = (await start('FromSocketIoModule')).getHttpServer().address() as AddressInfo;
    await expectRefusal(app!, { path: '/chat' }, { status: 401 });
    await expectRefusal(
      app!,
      { path: '/chat?token=secret', origin: 'https://evil.example' },
      { status: 403, reason: 'origin' },
    );
    const listener = await connect();
    expect(await listener.nextEvent('welcome')).toBe('ada');
    const [code = ''] = codeBlocks('docs/migrating.md', 'js');
    type Request = (socket: WebSocket, event: string, data: object) => Promise<unknown>;
    const request = new Function(`${code}; return request;`)() as Request;
    const socket = new WebSocket(`ws://127.0.0.1:${port}/chat?token=secret`);
    await once(socket, 'open');
    const answers = await Promise.all(['hi', 'hello'].map((text) => request(socket, 'say', { text })));
    expect(answers).toEqual([
      { id: 1, length: 2 },
      { id: 2, length: 5 },
    ]);
    expect(await listener.nextEvent('said')).toEqual({ by: 'ada', text: 'hi' });
    expect(await listener.nextEvent('said')).toEqual({ by: 'ada', text: 'hello' });
    const unanswered = request(socket, 'nothing', {});
    socket.close();
    await expect(unanswered).rejects.toThrow('closed with 1005');
  });

  it('migrates from bare ws, with its own message format', async () => {
    await expectRefusal(await start('FromBareModule'), { path: '/chat?token=x' }, { status: 401 });
    const client = await connect({ subprotocols: ['chat.v1', 'x'] });
    expect(client.socket.protocol).toBe('chat.v1');
    client.socket.send('{"type":"say","text":"hi"}');
    expect(await client.nextMessage()).toBe('{"type":"said","by":"ada","text":"hi"}');
    client.socket.send(Buffer.from('bytes'));
    expect(await client.nextMessage()).toEqual(Buffer.from('bytes'));
    client.socket.send('no JSON');
    expect(await client.nextEvent('exception')).toMatchObject({ message: 'Malformed message' });
  });
});
