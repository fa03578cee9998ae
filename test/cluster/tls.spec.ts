import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { clusterBusTests, clusterStoreTests } from '../../lib/cluster/contract-tests.js';
import type { RedisClient } from '../../lib/cluster/redis/index.js';
import { issue, type Pair } from '../support/certificates.js';
import { HAS_REDIS, RedisServer } from '../support/redis.js';
import { busIn, Node, storeIn, until, type Where } from './nodes.js';

const suite = HAS_REDIS ? describe : describe.skip;

suite('Redis over TLS', () => {
  let server: RedisServer;
  let pair: Pair;
  let folder: string;
  /** CA files, for `NODE_EXTRA_CA_CERTS`. */
  let files: { ours: string; others: string };
  const nodes: Node[] = [];
  const ends: (() => unknown)[] = [];

  beforeAll(async () => {
    const ca = issue('our ca', { isCa: true });
    pair = issue('redis', { ca });
    folder = mkdtempSync(join(tmpdir(), 'nest-secure-ws-ca-'));
    files = { ours: join(folder, 'ours.pem'), others: join(folder, 'others.pem') };
    writeFileSync(files.ours, ca.cert);
    writeFileSync(files.others, issue('another ca', { isCa: true }).cert);
    server = await RedisServer.overTls(pair, '--requirepass', 'canary');
  });
  afterEach(async () => {
    await Promise.all(nodes.splice(0).map((node) => node.kill()));
    for (const end of ends.splice(0)) await end();
  });
  afterAll(async () => {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const urlAt = (host: string, port = server.port) => `rediss://:canary@${host}:${port}`;
  const start = async (url: string, ca: keyof typeof files): Promise<Node> => {
    const node = await Node.start(url, {}, { NODE_EXTRA_CA_CERTS: files[ca] });
    nodes.push(node);
    return node;
  };

  it('is joined by processes that trust its CA, by name and by address; limits and messages are shared', async () => {
    const [a, b] = [await start(urlAt('localhost'), 'ours'), await start(urlAt('127.0.0.1'), 'ours')];
    await until('both are up', async () => {
      for (const node of [a, b]) {
        const { status, nodes: seen } = await node.state();
        if (status !== 'up' || seen.length !== 2) return false;
      }
      return true;
    });
    const claims = [{ name: 't:{t}:all', max: 7 }];
    const both = (await Promise.all([a, b].map((node) => node.ask('admit', claims, 6)))) as { admitted: number }[];
    expect(both.reduce((sum, { admitted }) => sum + admitted, 0)).toBe(7);
    await a.ask('cast', {}, 'hello');
    await until('it is heard', async () => (await b.ask<unknown[]>('received')).length === 1);
  });

  it.each([
    ['an unknown CA', 'others', 'localhost'],
    ['a certificate for another address', 'ours', '127.0.0.2'],
  ] as const)('is not joined with %s: nothing is sent, and local limits apply', async (_, ca, host) => {
    const received: Buffer[] = [];
    const impostor = createTlsServer(pair, (socket) => socket.on('data', (chunk: Buffer) => received.push(chunk)));
    impostor.on('tlsClientError', () => undefined);
    await new Promise<void>((resolve) => impostor.listen(0, host, resolve));
    ends.push(() => impostor.close());
    const { port } = impostor.address() as { port: number };
    const node = await start(urlAt(host, port), ca);
    await until('it says why', async () => {
      const { status, lastError = '' } = await node.state();
      return status === 'degraded' && /certificate|altnames/i.test(lastError);
    });
    expect(await node.ask('admit', [{ name: 't:{t}:all', max: 5 }], 3)).toMatchObject({ admitted: 3 });
    // Neither the password nor anything else.
    expect(Buffer.concat(received).length).toBe(0);
    expect(JSON.stringify([await node.state(), await node.ask('notices')])).not.toContain('canary');
  });

  it('is not used without TLS: no password is sent in plaintext', async () => {
    const received: Buffer[] = [];
    const sockets = new Set<Socket>();
    const plain = createServer((socket) => {
      sockets.add(socket.on('error', () => undefined));
      socket.on('data', (chunk: Buffer) => received.push(chunk));
    });
    await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve));
    ends.push(() => {
      for (const socket of sockets) socket.destroy();
      plain.close();
    });
    const node = await start(urlAt('127.0.0.1', (plain.address() as { port: number }).port), 'ours');
    await until('a hello has come', async () => received.length > 0);
    expect((await node.state()).status).toBe('degraded');
    // A record of a TLS handshake (RFC 8446, section 5.1).
    expect(received[0]![0]).toBe(0x16);
    expect(Buffer.concat(received).toString('latin1')).not.toContain('canary');
  });

  describe("with the application's own client", () => {
    const where = (): Where => ({
      client: new Redis({
        ...{ host: 'localhost', port: server.port, password: 'canary', lazyConnect: true },
        tls: { ca: readFileSync(files.ours) },
      }) as unknown as RedisClient,
    });
    for (const { name, run } of clusterStoreTests(storeIn(where))) it(name, run);
    for (const { name, run } of clusterBusTests(busIn(where))) it(name, run);
  });
});
