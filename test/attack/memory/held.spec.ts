import { afterEach, describe, expect, it } from '@jest/globals';
import { selfSigned } from '../../support/certificates.js';
import { Child } from '../../support/child.js';
import { frame, RawClient } from '../../support/raw-client.js';

/** The heldBytes of a client that does not read match the memory used, whatever is sent and however. */

interface Memory {
  readonly rss: number;
  readonly held: number;
}

const MB = 1e6;
/** The overhead of the allocator and the garbage collector. */
const SLACK = 12 * MB;

let server: Child | undefined;
afterEach(async () => {
  await server?.end();
  server = undefined;
});

describe.each([false, true])('heldBytes with TLS: %s', (secure) => {
  it('matches the memory of texts of any kind, bytes, events and broadcasts', async () => {
    server = await Child.start('test/attack/memory/held-server.ts', [
      JSON.stringify({ tls: secure ? selfSigned() : undefined, compression: 'off' }),
    ]);
    for (const [how, character, characters, bytesEach] of [
      ['send', '漢', 12 * MB, 3],
      ['send', 'é', 18 * MB, 2],
      ['event', 'x', 36 * MB, 1],
      ['bytes', '漢', 12 * MB, 3],
      ['broadcast', '漢', 12 * MB, 3],
    ] as const) {
      const client = await RawClient.open({
        port: server.ready as number,
        ...(secure ? { tls: { rejectUnauthorized: false } } : {}),
      });
      client.send('fill', [how, character, 1000, 10]);
      for (let count = 0; count < 10; count++) await client.frame();
      const before = await server.ask<Memory>('memory');
      expect(before.held).toBe(0);
      client.pause();
      const length = 300_000;
      client.send('fill', [how, character, length, characters / length]);
      const after = await settled(server);
      // The kernel holds some of it.
      const sent = characters * bytesEach;
      expect([how, after.held > 0.75 * sent, after.held < 1.05 * sent + MB]).toEqual([how, true, true]);
      // Memory of the previous round may be reused, so not all of it is new.
      expect(after.rss - before.rss).toBeLessThan(1.5 * after.held + SLACK);
      client.destroy();
      while ((await server.ask<Memory>('memory')).held > 0);
    }
  });
});

it('heldBytes includes the objects of small texts', async () => {
  server = await Child.start('test/attack/memory/held-server.ts', [JSON.stringify({ compression: 'off' })]);
  const client = await RawClient.open({ port: server.ready as number });
  const before = await server.ask<Memory>('memory');
  client.pause();
  for (let i = 0; i < 4; i++) client.write(frame(JSON.stringify({ event: 'fill', data: ['send', '漢', 11, 100_000] })));
  const after = await settled(server);
  expect(after.held).toBeGreaterThan(2 * MB);
  expect(after.rss - before.rss).toBeLessThan(1.5 * after.held + SLACK);
  client.destroy();
});

/** The figures once heldBytes is equal in two consecutive samples. */
async function settled(server: Child): Promise<Memory> {
  for (let before = await server.ask<Memory>('memory'); ; ) {
    const now = await server.ask<Memory>('memory');
    if (now.held > 0 && now.held === before.held) return now;
    before = now;
  }
}

it('heldBytes of many small broadcasts matches their shared memory, not one copy per frame', async () => {
  server = await Child.start('test/attack/memory/held-server.ts', [JSON.stringify({ compression: 'off' })]);
  const client = await RawClient.open({ port: server.ready as number });
  client.send('fill', ['broadcast', 'x', 100, 1000]);
  while ((await client.frame())?.payload.toString().includes('       999') === false);
  const before = await server.ask<Memory>('memory');
  client.pause();
  client.send('fill', ['broadcast', 'x', 100, 400_000]);
  const after = await settled(server);
  expect(after.held).toBeGreaterThan(30 * MB);
  expect(after.rss - before.rss).toBeLessThan(1.5 * after.held + SLACK);
  client.destroy();
});
