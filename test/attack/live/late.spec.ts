import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { SecureWsOptions } from 'nest-secure-ws';
import { eventually, type TestApp } from '../../support/app.js';
import { frame, RawClient, upgradeHead } from '../../support/raw-client.js';
import { passUntil, restoreTime, stopTime } from '../../support/stopped-time.js';
import type { ManualClock } from '../../support/time.js';
import { isQuiet, LiveGateway, message, nextMessage, openClient, reply, startLive } from './live.js';

/** When the event loop is blocked for longer than a deadline, peers that met the deadline, or meet it at once, stay. */

let app: TestApp;
let clients: RawClient[] = [];
let clock: ManualClock;
beforeEach(() => {
  clock = stopTime();
});

async function open(options: SecureWsOptions): Promise<RawClient> {
  app ??= await startLive(options);
  const client = await openClient(app);
  clients.push(client);
  return client;
}

afterEach(async () => {
  for (const client of clients) client.destroy();
  clients = [];
  await eventually(() => isQuiet(app));
  await app.close();
  app = undefined as unknown as TestApp;
  restoreTime();
});

/** One late call of every timer, before the server reads what has arrived: as when the event loop was blocked. */
const stall = (ms: number): void => clock.tick(ms);

/** Writes, and waits until the server has read all of it. */
async function writeRead(client: RawClient, bytes: Buffer, at = 0): Promise<void> {
  const { transport } = LiveGateway.sockets[at]!.connection;
  const { bytesRead } = transport;
  client.write(bytes);
  await eventually(() => transport.bytesRead - bytesRead === bytes.length);
}

const pong = (payload: Buffer) => frame(payload, { opcode: 10 });

describe('a blocked event loop', () => {
  it('does not end a peer whose pong arrived meanwhile, and ends one that sent none', async () => {
    const options = { keepalive: { pingInterval: 400, pingTimeout: 500 } };
    const [good, bad] = [await open(options), await open(options)];
    await eventually(() => LiveGateway.sockets.length === 2);
    let pongs = 0;
    LiveGateway.sockets[0]!.on('pong', () => pongs++);
    const answer = async () => good.write(pong((await good.anyFrame())!.payload));
    for (let round = 1; round <= 3; round++) {
      await passUntil(clock, () => good.received.length > 0);
      await answer();
      stall(1200);
      await eventually(() => pongs === round || good.ended);
      expect(good.ended).toBe(false);
    }
    while (!bad.ended && !bad.closed) {
      await passUntil(clock, () => good.received.length > 0 || bad.ended || bad.closed);
      if (good.received.length > 0) await answer();
    }
    await eventually(() => app.stats().connections === 1);
    expect(app.stats().closed).toEqual({ 1006: 1 });
    good.send('echo', 1);
    expect(await nextMessage(good)).toEqual({ event: 'echo', data: 1 });
  });

  it('extends assemblyTimeout', async () => {
    const client = await open({ messages: { assemblyTimeout: 600 }, keepalive: { pingInterval: null } });
    await eventually(() => LiveGateway.sockets.length === 1);
    const whole = message('echo', 'x'.repeat(100));
    await writeRead(client, whole.subarray(0, 20));
    clock.pass(200);
    client.write(whole.subarray(20));
    stall(1500);
    expect(await nextMessage(client)).toEqual({ event: 'echo', data: 'x'.repeat(100) });
    await writeRead(client, whole.subarray(0, 20));
    clock.pass(800);
    expect(await client.closeFrame()).toEqual({ code: 1008, reason: 'message took too long' });
  });

  it('extends openTimeout', async () => {
    app = await startLive({ http: { openTimeout: 600 } });
    const [client, silent] = [await RawClient.connect({ port: app.port }), await RawClient.connect({ port: app.port })];
    clients.push(client, silent);
    const head = upgradeHead(app.port);
    client.write(head.slice(0, 60));
    silent.write(head.slice(0, 60));
    await eventually(() => app.stats().pending === 2);
    clock.pass(200);
    client.write(head.slice(60));
    stall(1500);
    expect((await client.response()).status).toBe(101);
    clock.pass(800);
    expect((await silent.response()).status).toBe(408);
  });

  it('does not apply idleTimeout to a peer whose message arrived meanwhile', async () => {
    const client = await open({ keepalive: { pingInterval: null, idleTimeout: 600 } });
    await eventually(() => LiveGateway.sockets.length === 1);
    clock.pass(200);
    client.send('echo', 1);
    stall(1500);
    expect(await nextMessage(client)).toEqual({ event: 'echo', data: 1 });
    clock.pass(800);
    expect(await client.closeFrame()).toEqual({ code: 1000, reason: 'idle' });
  });

  it('extends closeTimeout', async () => {
    const client = await open({ keepalive: { closeTimeout: 700, pingInterval: null } });
    await eventually(() => LiveGateway.sockets.length === 1);
    const closed: number[] = [];
    LiveGateway.sockets[0]!.on('close', (code) => closed.push(code));
    LiveGateway.sockets[0]!.close(4000);
    expect((await reply(client))?.opcode).toBe(8);
    clock.pass(200);
    client.socket.end(frame(Buffer.from([0x0f, 0xa0]), { opcode: 8 }));
    stall(1500);
    await eventually(() => closed.length === 1);
    expect(closed).toEqual([4000]);
  });
});
