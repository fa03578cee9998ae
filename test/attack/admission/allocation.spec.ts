import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ExecutionContextHost } from '@nestjs/core/helpers/execution-context-host.js';
import type { StatsSnapshot } from 'nest-secure-ws';
import { UpgradeAttempt } from '../../../lib/admission/attempt.js';
import { Reservation } from '../../../lib/admission/capacity.js';
import { SecureSocket } from '../../../lib/connection/secure-socket.js';
import { ServerConnection } from '../../../lib/connection/server-connection.js';
import { PendingHandshake } from '../../../lib/handshake/pending-handshake.js';
import { UpgradeContext } from '../../../lib/handshake/upgrade-context.js';
import { PerMessageDeflate } from '../../../lib/protocol/deflate/per-message-deflate.js';
import { Child } from '../../support/child.js';
import { RawClient, upgradeHead } from '../../support/raw-client.js';

const TOTAL = 20_000;
const AT_ONCE = 40;
/** Names taken from the classes, so that a rename does not empty the count; the last two are Node's. */
const CLASSES = [
  ...[SecureSocket, ServerConnection, PerMessageDeflate, PendingHandshake].map(({ name }) => name),
  ...['InflateRaw', 'DeflateRaw'],
];
const OF_NEST = [ExecutionContextHost, UpgradeAttempt, Reservation, UpgradeContext].map(({ name }) => name);

let server: Child;
let port: number;
beforeAll(async () => {
  server = await Child.start('test/attack/admission/refusing-server.ts');
  port = server.ready as number;
}, 180_000);
afterAll(async () => {
  await server.end();
});

const deflate = { 'Sec-WebSocket-Extensions': 'permessage-deflate' };
/** By the reason in the server's statistics. */
const WAYS = {
  'connections-per-ip': ['127.0.0.1', deflate],
  guard: ['127.0.0.2', { ...deflate, Authorization: 'x' }],
  origin: ['127.0.0.2', { ...deflate, Origin: 'https://evil.test' }],
  'address-denied': ['127.0.9.1', {}],
} as const;

/** One attempt; resolves when the server has ended it. Its socket stays half-open until it is destroyed. */
function attempt([localAddress, headers]: (typeof WAYS)[keyof typeof WAYS]): Promise<Socket> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', localAddress, allowHalfOpen: true });
    socket.on('connect', () => socket.write(upgradeHead(port, { headers })));
    socket.on('error', () => {});
    socket.on('data', () => {});
    socket.on('end', () => resolve(socket));
    socket.on('close', () => resolve(socket));
  });
}

async function flood(total: number): Promise<void> {
  const ways = Object.values(WAYS);
  let next = 0;
  const lane = async () => {
    while (next < total) (await attempt(ways[next++ % ways.length]!)).destroy();
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
}

async function gone(): Promise<void> {
  const until = Date.now() + 10_000;
  while ((await server.ask<StatsSnapshot>(['stats'])).pending > 0 && Date.now() < until)
    await new Promise((resolve) => setTimeout(resolve, 50));
}

describe('20 000 refused attempts', () => {
  it('allocate no WebSocket, no compression context and no Nest context, and leave nothing in memory', async () => {
    const holder = await RawClient.open({ port }, { headers: deflate });
    await flood(TOTAL / 10);
    await gone();
    const before = await server.ask<number>(['heap']);
    const counted = await server.ask<Record<string, number>>(['counts', [...CLASSES, ...OF_NEST]]);
    const made = await server.ask<Record<string, number>>(['made']);
    // The one accepted connection is counted, which shows that the counting works.
    expect(counted).toMatchObject({ SecureSocket: 1, ServerConnection: 1, PerMessageDeflate: 1, Reservation: 1 });
    expect(counted).toMatchObject({ PendingHandshake: 0, ExecutionContextHost: 0, UpgradeContext: 0 });

    const refused = await server.ask<StatsSnapshot>(['stats']);
    await flood(TOTAL);
    await gone();
    expect((await server.ask<number>(['heap'])) - before).toBeLessThan(2 * 1024 * 1024);
    expect(await server.ask(['counts', [...CLASSES, ...OF_NEST]])).toEqual(counted);

    const { refused: now, opened } = await server.ask<StatsSnapshot>(['stats']);
    expect(opened).toBe(1);
    for (const way of Object.keys(WAYS) as (keyof typeof WAYS)[])
      expect([way, now[way]! - refused.refused[way]!]).toEqual([way, TOTAL / 4]);
    const madeSince = await server.ask<Record<string, number>>(['made']);
    expect(madeSince['IncomingMessage'] ?? 0).toBe(made['IncomingMessage'] ?? 0);
    // Nor a socket of Node with its two streams, except when a busy machine reads a head too late.
    expect(made['Socket']).toBeGreaterThan(0);
    expect(madeSince['Socket']! - made['Socket']!).toBeLessThan(TOTAL / 2);

    // Nor while they linger.
    const lingering = await Promise.all(Array.from({ length: 30 }, (_, i) => attempt(Object.values(WAYS)[i % 3]!)));
    const during = await server.ask<Record<string, number>>(['counts', CLASSES]);
    for (const socket of lingering) socket.destroy();
    expect(during).toMatchObject({ SecureSocket: 1, ServerConnection: 1, PerMessageDeflate: 1 });
    expect(during['PendingHandshake']).toBeGreaterThan(0);
    holder.destroy();
  }, 120_000);
});
