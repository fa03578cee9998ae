import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Child } from '../../support/child.js';
import { deflated, frame, RawClient } from '../../support/raw-client.js';

const COUNT = 500;

let server: Child;
beforeAll(async () => {
  server = await Child.start('test/attack/memory/server.ts');
}, 180_000);
afterAll(async () => {
  await server.end();
});

async function openMany(headers: Record<string, string> = {}): Promise<RawClient[]> {
  const clients: RawClient[] = [];
  for (let i = 0; i < COUNT; i++) clients.push(await RawClient.open({ port: server.ready as number }, { headers }));
  return clients;
}

async function reply(client: RawClient): Promise<void> {
  expect((await client.frame())?.opcode).toBe(1);
}

const message = Buffer.from(JSON.stringify({ event: 'echo', data: 'x'.repeat(2000) }));

/** A regression test, not a benchmark: about twice the present memory of a connection, in KiB. */
describe('heap of a connection', () => {
  it.each([
    ['idle', 3.5, {}, undefined],
    ['after a message each way', 7.5, {}, frame(message)],
    [
      'after a compressed message each way',
      7.5,
      { 'Sec-WebSocket-Extensions': 'permessage-deflate' },
      frame(deflated(message), { rsv1: true }),
    ],
  ] as const)('%s stays where it was: it is at most %d KiB', async (_, most, headers, sent) => {
    for (const client of await openMany(headers)) client.destroy();
    const before = await server.ask<number>('heap');
    const clients = await openMany(headers);
    if (sent !== undefined) {
      for (const client of clients) client.write(sent);
      for (const client of clients) await reply(client);
    }
    const perConnection = ((await server.ask<number>('heap')) - before) / COUNT;
    for (const client of clients) client.destroy();
    expect(perConnection).toBeGreaterThan(500);
    expect(perConnection).toBeLessThan(most * 1024);
  });
});
