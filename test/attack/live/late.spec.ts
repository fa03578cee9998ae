import { afterEach, describe, expect, it } from '@jest/globals';
import type { SecureWsOptions } from 'nest-secure-ws';
import { eventually, type TestApp } from '../../support/app.js';
import { frame, RawClient, upgradeHead } from '../../support/raw-client.js';
import { sleep } from '../../support/time.js';
import { isQuiet, LiveGateway, message, nextMessage, openClient, reply, startLive } from './live.js';

/** When the event loop is blocked for longer than a deadline, peers that met the deadline, or meet it at once, stay. */

let app: TestApp;
let clients: RawClient[] = [];

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
});

/** Blocks the event loop. */
function stall(ms: number): void {
  for (const until = performance.now() + ms; performance.now() < until; );
}

const pong = (payload: Buffer) => frame(payload, { opcode: 10 });

describe('a blocked event loop', () => {
  it('does not end a peer whose pong arrived meanwhile, and ends one that sent none', async () => {
    const options = { keepalive: { pingInterval: 400, pingTimeout: 500 } };
    const [good, bad] = [await open(options), await open(options)];
    for (let round = 0; round < 3; round++) {
      const ping = await good.frame();
      expect(ping?.opcode).toBe(9);
      good.write(pong(ping!.payload));
      stall(1200);
      await sleep(30);
      expect(good.ended).toBe(false);
    }
    await bad.untilClosed();
    expect(app.stats().closed).toEqual({ 1006: 1 });
    // The next ping is answered in time.
    good.write(pong((await good.frame())!.payload));
    good.send('echo', 1);
    for (let next = await good.frame(); ; next = await good.frame()) {
      if (next?.opcode === 9) good.write(pong(next.payload));
      else if (next !== undefined) {
        expect(JSON.parse(next.payload.toString())).toEqual({ event: 'echo', data: 1 });
        break;
      }
    }
  });

  it('extends assemblyTimeout', async () => {
    const client = await open({ messages: { assemblyTimeout: 600 } });
    const whole = message('echo', 'x'.repeat(100));
    client.write(whole.subarray(0, 20));
    await sleep(200);
    stall(1500);
    await sleep(100);
    client.write(whole.subarray(20));
    expect(await nextMessage(client)).toEqual({ event: 'echo', data: 'x'.repeat(100) });
    client.write(whole.subarray(0, 20));
    expect(await client.closeFrame()).toEqual({ code: 1008, reason: 'message took too long' });
  });

  it('extends openTimeout', async () => {
    app = await startLive({ http: { openTimeout: 600 } });
    const [client, silent] = [await RawClient.connect({ port: app.port }), await RawClient.connect({ port: app.port })];
    clients.push(client, silent);
    const head = upgradeHead(app.port);
    client.write(head.slice(0, 60));
    silent.write(head.slice(0, 60));
    await sleep(200);
    stall(1500);
    await sleep(50);
    client.write(head.slice(60));
    expect((await client.response()).status).toBe(101);
    expect((await silent.response()).status).toBe(408);
  });

  it('does not apply idleTimeout to a peer whose message arrived meanwhile', async () => {
    const client = await open({ keepalive: { pingInterval: null, idleTimeout: 600 } });
    await sleep(200);
    client.send('echo', 1);
    stall(1500);
    expect(await nextMessage(client)).toEqual({ event: 'echo', data: 1 });
    expect(await client.closeFrame()).toEqual({ code: 1000, reason: 'idle' });
  });

  it('extends closeTimeout', async () => {
    const client = await open({ keepalive: { closeTimeout: 700 } });
    await eventually(() => LiveGateway.sockets.length === 1);
    const closed: number[] = [];
    LiveGateway.sockets[0]!.on('close', (code) => closed.push(code));
    LiveGateway.sockets[0]!.close(4000);
    expect((await reply(client))?.opcode).toBe(8);
    await sleep(200);
    client.write(frame(Buffer.from([0x0f, 0xa0]), { opcode: 8 }));
    stall(1500);
    await eventually(() => closed.length === 1);
    expect(closed).toEqual([4000]);
  });
});
