import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, Get } from '@nestjs/common';
import { SecureGateway } from 'nest-secure-ws';
import { PLATFORMS, startApp, type TestApp } from '../../support/app.js';
import { RawClient, upgradeHead } from '../../support/raw-client.js';
import { sleep } from '../../support/time.js';

/** What a 'connection' listener of the application does with its sockets has the same effect as without this library. */

@Controller()
class SlowController {
  static asked = 0;
  @Get('slow')
  slow() {
    SlowController.asked++;
    return new Promise(() => undefined);
  }
}

@SecureGateway({ path: '/' })
class EmptyGateway {}

let app: TestApp;
const clients: RawClient[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  // A request that is never answered would keep the application open.
  (app.app.getHttpServer() as Server).closeAllConnections();
  await app.close();
});

async function connect(): Promise<RawClient> {
  const client = await RawClient.connect({ port: app.port });
  clients.push(client);
  return client;
}

describe.each(PLATFORMS)('on %s', (platform) => {
  describe.each(['auto', 'off'] as const)('with nativeAccept: %s', (nativeAccept) => {
    async function start(onConnection: (socket: Socket) => void): Promise<void> {
      app = await startApp({
        platform,
        gateways: [EmptyGateway],
        metadata: { controllers: [SlowController] },
        options: { nativeAccept },
      });
      (app.app.getHttpServer() as Server).on('connection', onConnection);
    }

    // Node's own 'data' listener resumes the socket in the next tick.
    it.each([0, 60])('a socket that is paused at once is read, %d ms later', async (delay) => {
      await start((socket) => socket.pause());
      for (const [head, status] of [
        [upgradeHead(app.port, {}), 101],
        ['GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n', 404],
      ] as const) {
        const client = await connect();
        await sleep(delay);
        expect(await client.upgrade(head)).toMatchObject({ status });
      }
    });

    it.each([
      ['in one piece', ['Upgrade: websocket\r\n\r\n']],
      ['in two pieces', ['Upgrade: websocket\r\n', '\r\n']],
      ['slowly', ['', 'Upgrade: web', 'socket\r\n', '\r\n']],
    ])('an `Upgrade` without `Connection` that arrives %s keeps the timeout of its socket', async (_, pieces) => {
      SlowController.asked = 0;
      await start((socket) => socket.setTimeout(1500));
      const client = await connect();
      client.write(`GET /slow HTTP/1.1\r\nHost: a\r\n${pieces[0]}`);
      for (const piece of pieces.slice(1)) {
        await sleep(40);
        client.write(piece);
      }
      // Node ends the connection at the timeout; without it, the client would wait for its own.
      await client.untilClosed();
      expect(SlowController.asked).toBe(1);
    });
  });
});
