import { afterEach, describe, expect, it } from '@jest/globals';
import { ConnectedSocket, MessageBody, SubscribeMessage } from '@nestjs/websockets';
import { SecureGateway, type SecureSocket, SecureWsBroadcaster, type SecureWsOptions } from 'nest-secure-ws';
import { eventually, startApp, type TestApp } from '../../support/app.js';
import { closeFrame, deflated, frame, RawClient, upgradeHead } from '../../support/raw-client.js';
import { turn } from '../../support/time.js';
import { isQuiet, message, unmetered } from './live.js';

/**
 * The application ends or pauses a connection at every moment at which its code is called, while compressed messages,
 * fragments, pings, a close frame or a reset follow in the same read and the peer may not read: nothing is left behind,
 * and every callback and hook is called exactly once.
 */

type Act = (socket: SecureSocket) => void;

const MOMENTS = ['handleConnection', 'message', 'ping', 'handler', 'after handler', 'send callback', 'close'] as const;
type Moment = (typeof MOMENTS)[number];

const ACTS: Readonly<Record<string, Act>> = {
  'terminate()': (socket) => socket.terminate(),
  'close()': (socket) => socket.close(4000, 'enough'),
  'close() and terminate()': (socket) => {
    socket.close();
    socket.terminate();
  },
  'pause(), close(), resume()': (socket) => {
    socket.pause();
    socket.close(4000);
    socket.resume();
  },
  'close() and pause()': (socket) => {
    socket.close();
    socket.pause();
  },
  'a thousand sends and terminate()': (socket) => {
    for (let at = 0; at < 1000; at++) send(socket, 'x'.repeat(at));
    socket.terminate();
  },
  'three thousand sends and close()': (socket) => {
    for (let at = 0; at < 3000; at++) send(socket, `${at}`);
    socket.close(4000);
  },
  'a broadcast, a Blob, an open fragment and close()': (socket) => {
    app.app.get(SecureWsBroadcaster).emit('all', 'x'.repeat(600));
    socket.send(new Blob(['x'.repeat(1000)]) as never);
    send(socket, 'y'.repeat(50_000));
    socket.send('begun', { fin: false });
    app.app.get(SecureWsBroadcaster).emit('all', 'x'.repeat(600));
    socket.close();
  },
};

let app: TestApp;
let clients: RawClient[] = [];
let [opened, left, closed, sent, called]: number[] = [];
let act: Act;
let acted: Set<SecureSocket>;

function at(now: Moment, socket: SecureSocket): void {
  if (now !== socket.query.get('moment') || acted.has(socket)) return;
  acted.add(socket);
  act(socket);
}

function send(socket: SecureSocket, data: string): void {
  sent!++;
  socket.send(data, () => {
    called!++;
    at('send callback', socket);
  });
}

@SecureGateway()
class MomentsGateway {
  handleConnection(socket: SecureSocket): void {
    opened!++;
    socket.on('message', () => at('message', socket));
    socket.on('ping', () => at('ping', socket));
    socket.on('close', () => {
      closed!++;
      at('close', socket);
    });
    at('handleConnection', socket);
  }

  handleDisconnect(): void {
    left!++;
  }

  @SubscribeMessage('say')
  async say(@ConnectedSocket() socket: SecureSocket, @MessageBody() data: string) {
    at('handler', socket);
    send(socket, data);
    await turn();
    at('after handler', socket);
    return { event: 'said', data };
  }
}

afterEach(async () => {
  for (const client of clients) client.destroy();
  clients = [];
  await app.close();
});

const text = JSON.stringify({ event: 'say', data: 'x'.repeat(700) });
const burst = Buffer.concat([
  message('say', 'plain'),
  frame('p', { opcode: 9 }),
  frame(deflated(text), { rsv1: true }),
  frame(deflated(text).subarray(0, 9), { rsv1: true, fin: false }),
  frame('q', { opcode: 9 }),
  frame(deflated(text).subarray(9), { opcode: 0 }),
  frame(deflated('z'.repeat(300_000)), { rsv1: true }),
  message('say', 'last'),
]);

const OPTIONS: SecureWsOptions = {
  connections: { rate: '100000/1s', maxPerIp: 1000, maxPendingPerIp: 1000 },
  messages: unmetered({ maxSize: '1mb', strikes: '1000/1s' }),
  keepalive: { closeTimeout: 500 },
};

/** What a peer does behind the burst. */
const ENDS: Readonly<Record<string, (client: RawClient) => void>> = {
  'does not read': (client) => client.pause(),
  closes: (client) => client.write(closeFrame(1000)),
  'sends an invalid frame': (client) => client.write(frame('', { opcode: 3 })),
  'half-closes': (client) => void client.socket.end(),
  // The kernel sends a reset if there are unread bytes.
  resets: (client) => {
    client.pause();
    setImmediate(() => client.destroy());
  },
};
const CLIENTS_EACH = 2;

async function peer(moment: Moment, end: (client: RawClient) => void): Promise<void> {
  const client = await RawClient.connect({ port: app.port });
  clients.push(client);
  const headers = { 'Sec-WebSocket-Extensions': 'permessage-deflate' };
  const head = upgradeHead(app.port, { path: `/?moment=${encodeURIComponent(moment)}`, headers });
  client.write(Buffer.concat([Buffer.from(head), burst]));
  await client.until(() => client.received.length > 0 || client.ended || client.closed, 20_000);
  end(client);
}

describe('an application that at any moment calls', () => {
  it.each(Object.entries(ACTS))('%s leaves nothing behind, whatever the peer does', async (_name, what) => {
    [opened, left, closed, sent, called] = [0, 0, 0, 0, 0];
    [act, acted] = [what, new Set()];
    app = await startApp({ gateways: [MomentsGateway], options: OPTIONS });
    const ends = Object.values(ENDS).flatMap((end) => Array(CLIENTS_EACH).fill(end) as (typeof end)[]);
    await Promise.all(MOMENTS.flatMap((moment) => ends.map((end) => peer(moment, end))));
    for (const client of clients) client.socket.end();
    const all = MOMENTS.length * ends.length;
    await eventually(() => opened === all && left === all && closed === all);
    await eventually(() => called === sent);
    await eventually(() => isQuiet(app));
    const reached = new Set([...acted].map((socket) => socket.query.get('moment')));
    expect(reached).toEqual(new Set(MOMENTS));
    expect([opened, left, closed]).toEqual([all, all, all]);
  });
});
