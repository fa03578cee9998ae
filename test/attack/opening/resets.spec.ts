import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { StatsSnapshot } from 'nest-secure-ws';
import { clientHello } from '../../support/certificates.js';
import { Child } from '../../support/child.js';
import { freePort } from '../../support/ports.js';
import { frame, RawClient, upgradeHead } from '../../support/raw-client.js';

const OWN = freePort();
let child: Child;
let hello: Buffer;

beforeAll(async () => {
  hello = await clientHello();
  child = await Child.start('test/attack/opening/tls-server.ts', [String(OWN)]);
});
afterAll(() => child.end());

const stats = () => child.ask<StatsSnapshot>('stats');

/** Polls the server until no connection or memory remains. */
async function untilEmpty(): Promise<void> {
  for (let asked = 0; ; asked++) {
    const { connections, pending, slots, heldBytes } = await stats();
    if (connections + pending + slots + heldBytes === 0) return;
    if (asked > 200) throw new Error(`left behind: ${JSON.stringify({ connections, pending, slots, heldBytes })}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** How far the connection has come when its peer resets TCP. */
const MOMENTS: readonly (readonly [string, (port: number) => Promise<RawClient>])[] = [
  ['at accept', (port) => RawClient.connect({ port })],
  ['in the middle of a ClientHello', (port) => afterSending(RawClient.connect({ port }), hello.subarray(0, 60))],
  ['after a ClientHello', (port) => afterSending(RawClient.connect({ port }), hello)],
  [
    "during the server's answer to it",
    async (port) => {
      const client = await afterSending(RawClient.connect({ port }), hello);
      await client.until(() => client.total > 0);
      return client;
    },
  ],
  ['after the TLS handshake', (port) => RawClient.connect({ port, tls: {} })],
  [
    'in the middle of a head',
    (port) => afterSending(RawClient.connect({ port, tls: {} }), upgradeHead(port).slice(0, 70)),
  ],
  [
    'while a guard runs',
    (port) => afterSending(RawClient.connect({ port, tls: {} }), upgradeHead(port, { path: '/?wait' })),
  ],
  [
    'while a refusal lingers',
    async (port) => {
      const client = await RawClient.connect({ port, tls: {} });
      await client.upgrade('GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n');
      return client;
    },
  ],
  ['after the 101', (port) => RawClient.open({ port, tls: {} })],
  [
    'in the middle of a frame',
    (port) => afterSending(RawClient.open({ port, tls: {} }), frame('x'.repeat(500)).subarray(0, 90)),
  ],
  [
    'during large writes to it',
    async (port) => {
      const client = await RawClient.open({ port, tls: {} });
      client.socket.pause();
      for (let i = 0; i < 4; i++) client.send('big');
      return client;
    },
  ],
];

async function afterSending(connecting: Promise<RawClient>, bytes: string | Buffer): Promise<RawClient> {
  const client = await connecting;
  client.write(bytes);
  return client;
}

describe.each([
  ['shared', () => child.ready as number],
  ['dedicated', () => OWN],
] as const)('a TCP reset under TLS on a %s port', (_, portOf) => {
  it.each(MOMENTS)('%s ends only its connection', async (_, reach) => {
    for (const pause of [0, 20]) {
      const clients = await Promise.all(Array.from({ length: 20 }, () => reach(portOf())));
      if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause));
      for (const client of clients) client.resetTcp();
    }
    await untilEmpty();
    expect(child.isAlive).toBe(true);
    const honest = await RawClient.open({ port: portOf(), tls: {} });
    honest.send('big');
    expect(await honest.json()).toMatchObject({ event: 'big' });
    honest.destroy();
    await untilEmpty();
  });
});
