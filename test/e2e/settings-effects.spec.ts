import { deflateRawSync } from 'node:zlib';
import { afterEach, describe, expect, it } from '@jest/globals';
import { SubscribeMessage } from '@nestjs/websockets';
import { SecureGateway, SecureWsAdapter, type SecureWsOptions } from 'nest-secure-ws';
import { startApp, type TestApp } from '../support/app.js';
import { frame, RawClient, upgradeHead } from '../support/raw-client.js';

/** Effects of settings that no other spec shows over a socket. */

let app: TestApp | undefined;
const clients: RawClient[] = [];

@SecureGateway({ path: '/chat' })
class ChatGateway {
  @SubscribeMessage('say') say() {
    return { event: 'said' };
  }
}

async function start(options: SecureWsOptions): Promise<number> {
  app = await startApp({ gateways: [ChatGateway], options });
  return app.port;
}

async function upgrade(port: number, headers: Record<string, string>) {
  const client = await RawClient.connect({ port });
  clients.push(client);
  return { client, response: await client.upgrade(upgradeHead(port, { path: '/chat', headers })) };
}

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await app?.close();
  app = undefined;
});

const compressed = (text: string): Buffer => {
  const data = deflateRawSync(Buffer.from(JSON.stringify({ event: 'say', data: text })), { finishFlush: 2 });
  return frame(data.subarray(0, -4), { rsv1: true });
};

describe('compression.maxRatio', () => {
  it('closes with 1009 when a message inflates by more than the ratio, and only then', async () => {
    const port = await start({ compression: { maxRatio: 5 } });
    const { client } = await upgrade(port, { 'Sec-WebSocket-Extensions': 'permessage-deflate' });
    client.write(compressed('some words that are not repeated'));
    expect(await client.json()).toEqual({ event: 'said' });
    client.write(compressed('a'.repeat(3000)));
    const closing = await client.frame();
    expect([closing?.opcode, closing?.payload.readUInt16BE(0), `${closing?.payload.subarray(2)}`]).toEqual([
      8,
      1009,
      'message too big',
    ]);
  });
});

describe('connections.ipv6Prefix', () => {
  it('groups the addresses of a network as one client; an embedded IPv4 address counts as IPv4; a /48 may have eight times the limit', async () => {
    const port = await start({ proxy: { trusted: ['loopback'] }, connections: { ipv6Prefix: 56, maxPerIp: 1 } });
    const statusFor = async (address: string): Promise<number> =>
      (await upgrade(port, { 'X-Forwarded-For': address })).response.status;
    expect(await statusFor('2001:db8:0:1::1')).toBe(101);
    expect(await statusFor('2001:db8:0:ff::1')).toBe(429);
    expect(await statusFor('::ffff:192.0.2.4')).toBe(101);
    expect(await statusFor('192.0.2.4')).toBe(429);
    expect(await statusFor('64:ff9b::192.0.2.4')).toBe(429);
    for (let network = 1; network < 8; network++) expect(await statusFor(`2001:db8:0:${network}00::1`)).toBe(101);
    expect(await statusFor('2001:db8:0:800::1')).toBe(429);
    expect(await statusFor('2001:db8:1:800::1')).toBe(101);
  });
});

describe('the settings', () => {
  it('are frozen after the start, in every part', async () => {
    await start({ connections: { allowedOrigins: ['https://app.example'] }, messages: { rate: '5/1s' } });
    const loose: string[] = [];
    const walk = (value: unknown, path: string): void => {
      if (typeof value !== 'object' || value === null) return;
      if (!Object.isFrozen(value)) loose.push(path);
      for (const [key, inner] of Object.entries(value)) walk(inner, `${path}.${key}`);
    };
    const { settings } = app!.app.get(SecureWsAdapter);
    walk(settings, 'settings');
    expect(loose).toEqual([]);
    expect(settings.messages.rate).toEqual({ limit: 5, window: 1000 });
  });
});
