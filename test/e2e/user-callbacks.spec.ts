import { AsyncLocalStorage } from 'node:async_hooks';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { type CanActivate, Controller, type ExecutionContext, Get, Logger } from '@nestjs/common';
import { SubscribeMessage } from '@nestjs/websockets';
import { SecureGateway, type SecureSocket, UseAdmissionGuards } from 'nest-secure-ws';
import { eventually, PLATFORMS, startApp, type TestApp } from '../support/app.js';
import { frame, RawClient, upgradeHead } from '../support/raw-client.js';

/** Callbacks and listeners of the application that throw or reject are counted as faults and do not end the process. */
const fail = (): never => {
  throw new Error('a callback throws');
};
const rejects = async (): Promise<never> => fail();
const WAYS: Record<string, (client: SecureSocket) => void> = {
  'send throws': (client) => client.send('x', fail),
  'send rejects': (client) => client.send('x', rejects),
  'ping throws': (client) => client.ping('x', undefined, fail),
  'pong rejects': (client) => client.pong('x', undefined, rejects),
  'a Blob throws': (client) => client.send(new Blob(['x']), fail),
  'send after the end': (client) => {
    client.terminate();
    client.send('x', fail);
  },
  'a listener rejects': (client) => client.on('message', rejects),
  'a listener for once rejects': (client) => client.once('message', rejects),
  'onmessage rejects': (client) => {
    client.onmessage = rejects;
  },
  'handleEvent rejects': (client) => client.addEventListener('message', { handleEvent: rejects } as never),
  'a close listener rejects': (client) => client.on('close', rejects),
  'a ping listener rejects': (client) => client.on('ping', rejects),
};

class ListeningGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<NodeJS.EventEmitter & { resume(): void }>();
    for (const event of ['close', 'end', 'data']) request.on(event, fail);
    request.resume();
    return true;
  }
}

@SecureGateway({ path: '/callbacks' })
@UseAdmissionGuards(ListeningGuard)
class CallbacksGateway {
  handleConnection(client: SecureSocket): void {
    WAYS[client.query.get('way')!]?.(client);
  }
  @SubscribeMessage('ping') ping() {
    return { event: 'pong' };
  }
}

let app: TestApp;
const uncaught: unknown[] = [];
const note = (error: unknown): void => void uncaught.push(error);
beforeAll(async () => {
  jest.spyOn(Logger.prototype, 'error').mockImplementation(() => {});
  process.on('uncaughtException', note).on('unhandledRejection', note);
  app = await startApp({ gateways: [CallbacksGateway], options: { compression: { threshold: 1 } } });
});
afterAll(async () => {
  await app.close();
  process.removeListener('uncaughtException', note).removeListener('unhandledRejection', note);
  jest.restoreAllMocks();
});

describe.each([undefined, 'permessage-deflate'])('a callback that fails, with extensions %p', (extensions) => {
  it.each(Object.keys(WAYS))('%s is counted as a fault', async (way) => {
    const before = app.stats().faults.socket ?? 0;
    const client = await RawClient.open(
      { port: app.port },
      { path: `/callbacks?way=${encodeURIComponent(way)}`, headers: { 'Sec-WebSocket-Extensions': extensions } },
    );
    client.write(Buffer.concat([frame('x', { opcode: 9 }), frame('{"event":"ping"}'), frame('{"event":"ping"}')]));
    if (way === 'a close listener rejects') client.destroy();
    await eventually(() => (app.stats().faults.socket ?? 0) > before);
    client.destroy();
    await eventually(() => app.stats().connections === 0 && app.stats().slots === 0);
    expect(uncaught).toEqual([]);
  });
});

describe.each(PLATFORMS)('on %s', (platform) => {
  const als = new AsyncLocalStorage<string>();
  @Controller()
  class StoreController {
    @Get('store') store(): string {
      return als.getStore() ?? 'none';
    }
  }
  @SecureGateway({ path: '/entering' })
  class EnteringGateway {
    handleConnection(): void {
      als.enterWith('a peer');
    }
    @SubscribeMessage('ping') ping() {
      return { event: 'pong' };
    }
  }

  it('ordinary requests run in the async context of their server, as without this module', async () => {
    const own = await als.run('server', () =>
      startApp({ platform, gateways: [EnteringGateway], metadata: { controllers: [StoreController] } }),
    );
    const peer = await RawClient.open({ port: own.port }, { path: '/entering' });
    for (let round = 0; round < 3; round++) {
      peer.send('ping');
      const client = await RawClient.connect({ port: own.port });
      for (const connection of ['keep-alive', 'close']) {
        const { body } = await client.upgrade(`GET /store HTTP/1.1\r\nHost: a\r\nConnection: ${connection}\r\n\r\n`);
        expect(body).toBe('server');
      }
      client.destroy();
    }
    peer.destroy();
    await own.close();
  });

  it('accepts an upgrade in absolute form with its own authority only, first or later on a connection', async () => {
    const own = await startApp({ platform, gateways: [EnteringGateway], metadata: { controllers: [StoreController] } });
    for (const first of [true, false])
      for (const [authority, status] of [
        [`127.0.0.1:${own.port}`, 101],
        ['other.example', 400],
      ] as const) {
        const client = await RawClient.connect({ port: own.port });
        if (!first) await client.upgrade('GET /store HTTP/1.1\r\nHost: a\r\n\r\n');
        const answer = await client.upgrade(upgradeHead(own.port, { path: `http://${authority}/entering?a=b` }));
        expect(answer.status).toBe(status);
        client.destroy();
      }
    await own.close();
  });
});
