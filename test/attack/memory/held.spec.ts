import { afterEach, describe, expect, it } from '@jest/globals';
import { selfSigned } from '../../support/certificates.js';
import { Child } from '../../support/child.js';
import { frame, RawClient } from '../../support/raw-client.js';

/** What is counted for a peer that does not read is what is held for it, in bytes, whatever was sent and however. */

interface Memory {
  readonly rss: number;
  readonly held: number;
}

const MB = 1e6;
/** What the allocator and the collector take for themselves. */
const SLACK = 12 * MB;

let server: Child | undefined;
afterEach(async () => {
  await server?.end();
  server = undefined;
});

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe.each([false, true])('TLS: %s', (secure) => {
  it.each([
    ['send', '漢', 12 * MB, 3, 'off'],
    ['send', 'é', 18 * MB, 2, 'off'],
    ['send', 'x', 36 * MB, 1, 'off'],
    ['event', 'x', 36 * MB, 1, 'off'],
    ['bytes', '漢', 12 * MB, 3, 'off'],
    ['broadcast', '漢', 12 * MB, 3, 'off'],
  ])('%s of %s: %d characters', async (how, character, characters, bytesEach, compression) => {
    server = await Child.start('test/attack/memory/held-server.ts', [
      JSON.stringify({ tls: secure ? selfSigned() : undefined, compression }),
    ]);
    const client = await RawClient.open({
      port: server.ready as number,
      ...(secure ? { tls: { rejectUnauthorized: false } } : {}),
    });
    client.send('fill', [how, character, 1000, 10]);
    await sleep(100);
    const before = await server.ask<Memory>('memory');
    client.pause();
    const length = 300_000;
    client.send('fill', [how, character, length, characters / length]);
    await sleep(400);
    const after = await server.ask<Memory>('memory');
    // The kernel has some of it.
    const sent = characters * bytesEach;
    expect(after.held).toBeGreaterThan(0.75 * sent);
    expect(after.held).toBeLessThan(1.05 * sent + MB);
    expect(after.rss - before.rss).toBeLessThan(1.5 * after.held + SLACK);
    client.destroy();
  });
});

it('texts of few bytes are held with what their objects cost', async () => {
  server = await Child.start('test/attack/memory/held-server.ts', [JSON.stringify({ compression: 'off' })]);
  const client = await RawClient.open({ port: server.ready as number });
  const before = await server.ask<Memory>('memory');
  client.pause();
  for (let i = 0; i < 4; i++) client.write(frame(JSON.stringify({ event: 'fill', data: ['send', '漢', 11, 100_000] })));
  await sleep(1500);
  const after = await server.ask<Memory>('memory');
  expect(after.held).toBeGreaterThan(2 * MB);
  expect(after.rss - before.rss).toBeLessThan(1.5 * after.held + SLACK);
  client.destroy();
});
