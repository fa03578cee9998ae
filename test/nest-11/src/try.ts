import 'reflect-metadata';
import { deepStrictEqual as equal, ok, rejects } from 'node:assert';
import { once } from 'node:events';
import { get } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { INestApplication } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { type ClientSocket, connect, SecureWsStats, UnexpectedStatusError } from 'nest-secure-ws';
import { AppModule } from './app.module';
import { history } from './chat.gateway';

const exception = (message: unknown) => ({ event: 'exception', data: { status: 'error', message } });

async function ask(socket: ClientSocket, event: unknown, data?: unknown): Promise<unknown> {
  const reply = once(socket, 'message');
  socket.send(JSON.stringify({ event, data }));
  return JSON.parse(String((await reply)[0]));
}

const status = async (url: string): Promise<number> => {
  const error: unknown = await connect(url).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  ok(error instanceof UnexpectedStatusError, String(error));
  return error.status;
};

async function body(url: string): Promise<string> {
  const [response] = (await once(get(url), 'response')) as [NodeJS.ReadableStream];
  let text = '';
  for await (const chunk of response) text += String(chunk);
  return text;
}

async function tryWith(platform: string, app: INestApplication): Promise<void> {
  history.splice(0);
  await app.listen(0, '127.0.0.1');
  const { port } = app.getHttpServer().address() as AddressInfo;
  const url = `ws://127.0.0.1:${port}`;
  equal(await body(`http://127.0.0.1:${port}/`), 'hello');
  equal(
    [await status(`${url}/chat`), await status(`${url}/chat?token=blocked`), await status(`${url}/none`)],
    [401, 403, 404],
  );

  const ada = await connect(`${url}/chat?token=ada`);
  const bob = await connect(`${url}/chat?token=bob`);
  equal(await ask(ada, 'say', { text: 'hi' }), { event: 'said', data: { text: 'hi', by: 'ada', ip: '127.0.0.1' } });
  equal(
    await ask(ada, 'say', { text: 7 }),
    exception(['text must be shorter than or equal to 20 characters', 'text must be a string']),
  );
  equal(await ask(ada, 'denied'), exception('Forbidden resource'));
  equal(await ask(ada, 'bad'), exception('be polite'));
  equal(await ask(ada, 'bug'), exception('Internal server error'));
  equal(await ask(ada, 'filtered', 'mine'), exception('not today'));
  equal(
    ((await ask(ada, 'filtered bug', 'mine')) as { data: { message: string } }).data.message,
    'Internal server error',
  );
  equal(await ask(ada, 'unknown'), exception('Unknown event'));
  equal(await ask(ada, 0), { event: 0 });
  const counted: unknown[] = [];
  await new Promise<void>((resolve) => {
    const count = (message: unknown): void => {
      if (counted.push(JSON.parse(String(message))) < 3) return;
      ada.off('message', count);
      resolve();
    };
    ada.on('message', count);
    ada.send('{"event":"count"}');
  });
  equal(
    counted,
    [0, 1, 2].map((data) => ({ event: 'counted', data })),
  );

  const room = await connect(`${url}/rooms/blue`);
  equal(await ask(room, 'where'), { event: 'here', data: ['blue', 'blue'] });
  room.close();

  const carl = await connect(`${url}/chat?token=carl`);
  // Its handleConnection has settled, so it is in the room.
  equal(await ask(carl, 0), { event: 0 });
  const shouted = [ada, bob, carl].map((socket) => once(socket, 'message'));
  bob.send('{"event":"shout","data":"all"}');
  for (const each of shouted) equal(JSON.parse(String((await each)[0])), { event: 'shouted', data: 'all' });
  carl.close(4000);
  await carl.closed;

  equal(app.get(SecureWsStats).snapshot().connections, 2);
  const slow = once(ada, 'message');
  ada.send('{"event":"slow"}');
  await new Promise((resolve) => setTimeout(resolve, 50));
  const closing = app.close();
  equal(JSON.parse(String((await slow)[0])), { event: 'slow' });
  equal([(await ada.closed).code, (await bob.closed).code], [1001, 1001]);
  await closing;
  await rejects(connect(`${url}/chat?token=late`));
  ok(history.includes('left carl 4000'), history.join());
  // Handlers finish before the resources that they use are destroyed.
  ok(history.indexOf('slow is done') < history.indexOf('destroyed'), history.join());
  console.log(`Nest 11 with ${platform}: ${history.join(', ')}`);
}

async function main(): Promise<void> {
  const options = { logger: ['error', 'warn'] as ('error' | 'warn')[], abortOnError: false };
  await tryWith('Express', await NestFactory.create(AppModule, options));
  await tryWith('Fastify', await NestFactory.create(AppModule, new FastifyAdapter(), options));
}

main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
