import { afterEach, describe, expect, it } from '@jest/globals';
import { SubscribeMessage } from '@nestjs/websockets';
import { connect, SecureGateway } from 'nest-secure-ws';
import { closeAll, DEFLATE, rawServer, frame as serverFrame, upgrade } from '../attack/client/support.js';
import { startApp, type TestApp } from '../support/app.js';
import { freePort } from '../support/ports.js';
import { deflated, frame, RawClient, upgradeHead } from '../support/raw-client.js';

/** Messages in the same read as the end of the handshake, and messages after them. */

let app: TestApp | undefined;
let clients: { terminate?(): void; destroy?(): void }[] = [];

afterEach(async () => {
  for (const client of clients) (client.terminate ?? client.destroy)!.call(client);
  clients = [];
  await app?.close();
  app = undefined;
  await closeAll();
});

const port = freePort();

class Slow {
  @SubscribeMessage('slow')
  async slow(_client: unknown, data: number): Promise<unknown> {
    await new Promise((resolve) => setTimeout(resolve, 1));
    return { event: 'slow', data };
  }
}

@SecureGateway({ path: '/' })
class SharedGateway extends Slow {}

@SecureGateway(port, { path: '/' })
class DedicatedGateway extends Slow {}

const request = (at: number): Buffer => frame(JSON.stringify({ event: 'slow', data: at }));

describe.each(['shared', 'dedicated'] as const)('a server on a %s port', (kind) => {
  it('resumes reading after messages that arrived with the upgrade request and filled the queue', async () => {
    app = await startApp({
      gateways: [kind === 'shared' ? SharedGateway : DedicatedGateway],
      options: { listen: { host: '127.0.0.1' } },
    });
    const target = kind === 'shared' ? app.port : port;
    const client = await RawClient.connect({ port: target });
    clients.push(client);
    const first = Buffer.concat([
      Buffer.from(upgradeHead(target)),
      ...Array.from({ length: 40 }, (_, at) => request(at)),
    ]);
    expect((await client.upgrade(first)).status).toBe(101);
    for (let at = 0; at < 40; at++) expect(await client.json()).toEqual({ event: 'slow', data: at });
    client.write(request(40));
    expect(await client.json()).toEqual({ event: 'slow', data: 40 });
  });
});

describe('a client', () => {
  it('resumes reading after messages that arrived with the 101 and filled the queue', async () => {
    const server = await rawServer((socket, _request, key) => {
      const first = Array.from({ length: 40 }, (_, at) => serverFrame(`${at}`));
      socket.write(Buffer.concat([Buffer.from(upgrade(key)), ...first]));
      setTimeout(() => socket.write(serverFrame('later')), 50);
    });
    const socket = await connect(server.url);
    clients.push(socket);
    const got: unknown[] = [];
    for await (const message of socket) if (got.push(message) === 41) break;
    expect(got).toEqual([...Array.from({ length: 40 }, (_, at) => `${at}`), 'later']);
  });

  it('resumes reading after a message that arrived with the 101 and is inflated in the thread pool', async () => {
    const text = 'many bytes '.repeat(50_000);
    const server = await rawServer((socket, _request, key) => {
      const first = serverFrame(deflated(text), { rsv1: true });
      socket.write(Buffer.concat([Buffer.from(upgrade(key, DEFLATE)), first]));
      setTimeout(() => socket.write(serverFrame('later')), 50);
    });
    const socket = await connect(server.url);
    clients.push(socket);
    const got: unknown[] = [];
    for await (const message of socket) if (got.push(message) === 2) break;
    expect(got).toEqual([text, 'later']);
  });
});
