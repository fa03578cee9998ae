import { afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { SecureGateway, type SecureSocket, SecureWsBroadcaster } from 'nest-secure-ws';
import { eventually, startApp, type TestApp } from '../../support/app.js';
import { issue, type Pair } from '../../support/certificates.js';
import { freePort } from '../../support/ports.js';
import { Random } from '../../support/random.js';
import { closeFrame, frame, RawClient } from '../../support/raw-client.js';
import { sleep, turn } from '../../support/time.js';
import { isQuiet, unmetered } from './live.js';

/** Peers that leave in every way in the middle of bursts of broadcasts and sends, over TCP and TLS. */

const PORT = freePort();
const EXTENSIONS = { headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate' } };

const sockets = new Set<SecureSocket>();
let [opened, left, sent, called]: number[] = [];

class Counting {
  handleConnection(socket: SecureSocket): void {
    opened!++;
    sockets.add(socket);
  }

  handleDisconnect(socket: SecureSocket): void {
    left!++;
    sockets.delete(socket);
  }
}

@SecureGateway(PORT, { listen: { host: '127.0.0.1' } })
class DedicatedGateway extends Counting {}

@SecureGateway()
class SharedGateway extends Counting {}

let pair: Pair;
beforeAll(() => {
  pair = issue('localhost');
});

let app: TestApp;
let clients: RawClient[] = [];
afterEach(async () => {
  for (const client of clients) client.destroy();
  clients = [];
  await app.close();
});

/** The ways to leave; a socket with unread bytes that is destroyed sends a reset. */
const LEAVES: readonly ((client: RawClient) => void)[] = [
  (client) => client.destroy(),
  (client) => {
    client.pause();
    setTimeout(() => client.destroy(), 5);
  },
  (client) => client.write(closeFrame(1000)),
  (client) => client.write(frame('', { opcode: 3 })),
  (client) => void client.socket.end(),
  (client) => {
    client.pause();
    client.write(closeFrame(1000));
  },
];

describe.each([false, true])('peers that leave during bursts (TLS: %s)', (tls) => {
  it.each([1, 2, 3])('leave nothing behind, and each callback is called once (seed %d)', async (seed) => {
    [opened, left, sent, called] = [0, 0, 0, 0];
    const random = new Random(seed);
    app = await startApp({
      gateways: [tls ? DedicatedGateway : SharedGateway],
      options: {
        ...(tls ? { tls: { cert: pair.cert, key: pair.key } } : {}),
        connections: { rate: '100000/1s', maxPerIp: 1000, maxPendingPerIp: 1000 },
        messages: unmetered(),
        keepalive: { closeTimeout: 500 },
        buffers: { maxBuffered: '1mb', stallTimeout: '2s' },
      },
    });
    const broadcaster = app.app.get(SecureWsBroadcaster);
    const target = tls ? { port: PORT, tls: {} } : { port: app.port };
    const COUNT = 60;
    for (let at = 0; at < COUNT; at++) clients.push(await RawClient.open(target, random.once(2) ? EXTENSIONS : {}));
    await eventually(() => opened === COUNT);
    const stay = clients[0]!;
    const leaving = clients.slice(1);
    while (leaving.length > 0) {
      for (let burst = random.below(100); burst >= 0; burst--) {
        const text = 'x'.repeat(random.pick([10, 300, 5_000, 70_000]));
        if (random.once(2)) broadcaster.emit('all', text);
        else
          for (const socket of sockets) {
            if (!random.once(4)) continue;
            sent!++;
            socket.send(text, () => called!++);
            if (random.once(20)) socket.terminate();
          }
        if (random.once(10)) await turn();
      }
      for (let more = random.below(4); more >= 0; more--) random.pick(LEAVES)(leaving.pop() ?? stay);
      if (random.once(3)) await sleep(1);
    }
    for (const client of clients) client.destroy();
    await eventually(() => left === COUNT);
    await eventually(() => called === sent);
    await eventually(() => isQuiet(app));
    expect([opened, left, sockets.size]).toEqual([COUNT, COUNT, 0]);
  });
});
