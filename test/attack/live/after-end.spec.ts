import { afterEach, describe, expect, it } from '@jest/globals';
import type { SecureWsOptions } from 'nest-secure-ws';
import { eventually, type TestApp } from '../../support/app.js';
import { closeFrame, frame, type RawClient } from '../../support/raw-client.js';
import { isQuiet, LiveGateway, message, openClient, startLive } from './live.js';

/** Peers that keep sending after the end of the connection has begun. */

let app: TestApp;
let client: RawClient;

afterEach(async () => {
  client.destroy();
  await eventually(() => isQuiet(app));
  await app.close();
});

const KIB = 1024;
const FLOOD = 32 * KIB * KIB;
/** Bytes that the server reads before it stops: what is free, the rate, and what Node reads until it has stopped. */
const MOST_READ = 2 * KIB * KIB;

const OPTIONS: SecureWsOptions = {
  messages: { byteRate: { limit: 64 * KIB, window: 60_000 }, maxNodes: 100 },
  keepalive: { closeTimeout: 800 },
};

const beyondFree = frame('x'.repeat(70 * KIB), { opcode: 2 });
const large = frame('x'.repeat(256 * KIB), { opcode: 2 });

describe('a flood behind the end is read no faster than messages.byteRate', () => {
  it.each<[string, Buffer, Buffer, Buffer?]>([
    ['an invalid frame', frame('', { opcode: 3 }), Buffer.alloc(64 * KIB)],
    ["the peer's close frame", closeFrame(1000), Buffer.alloc(64 * KIB)],
    ['a message that is too big', frame('', { length: 2 ** 40 }), Buffer.alloc(64 * KIB)],
    ['our close frame', message('leave'), large],
    ['an end that frees memory', message('evict'), large],
    // The close frame arrives in the read with which the rate is exceeded.
    ['both close frames', message('leave'), Buffer.alloc(64 * KIB), Buffer.concat([beyondFree, closeFrame(4000)])],
  ])('after %s', async (_, end, flood, before = Buffer.alloc(0)) => {
    app = await startLive(OPTIONS);
    client = await openClient(app);
    await eventually(() => LiveGateway.sockets.length === 1);
    const [socket] = LiveGateway.sockets;
    socket!.on('message', (data) => {
      if (String(data).includes('leave')) socket!.close(4000);
      if (String(data).includes('evict')) socket!.connection.endForMemory('test');
    });
    client.write(end);
    expect(await client.closeFrame()).toBeDefined();
    client.write(before);
    for (let sent = 0; sent < FLOOD; sent += flood.length) client.write(flood);
    await eventually(() => app.stats().connections === 0);
    expect(socket!.connection.transport.bytesRead).toBeLessThan(MOST_READ);
  });

  it('but an honest peer is read at once: its last messages, its close frame, and its end', async () => {
    app = await startLive({ ...OPTIONS, keepalive: { closeTimeout: '10m' } });
    client = await openClient(app);
    await eventually(() => LiveGateway.sockets.length === 1);
    LiveGateway.sockets[0]!.close(4000);
    client.write(frame('x'.repeat(60 * KIB), { opcode: 2 }));
    client.write(closeFrame(4000));
    await client.untilClosed();
    client.socket.end();
    await eventually(() => app.stats().connections === 0);
    expect(LiveGateway.left).toEqual([4000]);
  });
});
