import { execFile } from 'node:child_process';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { createClient } from 'graphql-ws';
import { SignJWT } from 'jose';
import { io, type Socket } from 'socket.io-client';
import { WebSocket } from 'ws';
import { unusedPort } from '../support/ports.js';
import { Running } from './processes.js';

/** Builds both samples, each of which is used with its own client. */
beforeAll(async () => {
  await promisify(execFile)(
    process.execPath,
    ['scripts/build-samples.mjs', '10-socket-io', '11-graphql-subscriptions'],
    { env: { ...process.env, NODE_OPTIONS: '' } },
  );
}, 180_000);

const running: Running[] = [];
const endings: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0)) await end();
  for (const code of await Promise.all(running.splice(0).map((each) => each.stop(5_000)))) expect(code).toBe(0);
});

async function start(name: string, env: NodeJS.ProcessEnv = {}): Promise<number> {
  const port = await unusedPort();
  const cwd = resolve('sample', name);
  const sample = new Running(process.execPath, [join(cwd, 'dist/main.js')], {
    cwd,
    env: { PORT: String(port), ...env },
  });
  running.push(sample);
  await sample.prints(/Listening on/);
  return port;
}

const page = async (port: number): Promise<string> => (await fetch(`http://127.0.0.1:${port}/`)).text();

describe('10-socket-io', () => {
  it('guards the upgrades of Nest’s socket.io adapter', async () => {
    const port = await start('10-socket-io');
    const connect = (query: object): Promise<Socket> => {
      const socket = io(`http://127.0.0.1:${port}`, { transports: ['websocket'], reconnection: false, query });
      endings.push(() => socket.disconnect());
      return new Promise((done, fail) => {
        socket.on('connect', () => done(socket));
        socket.on('connect_error', fail);
      });
    };
    await expect(connect({})).rejects.toThrow();
    const [ada, eve] = [await connect({ name: 'ada' }), await connect({ name: 'eve' })];
    const heard = new Promise((done) => ada.on('said', done));
    eve.emit('say', 'hello');
    expect(await heard).toEqual({ name: 'eve', text: 'hello' });
    expect(await page(port)).toContain('beside socket.io');
    for (let i = 0; i < 18; i++) await connect({ name: 'ada' });
    await expect(connect({ name: 'ada' })).rejects.toThrow();
  });
});

describe('11-graphql-subscriptions', () => {
  const SECRET = 'a secret of forty-eight bytes that nobody knows.';

  it('guards the upgrades of graphql-ws', async () => {
    const port = await start('11-graphql-subscriptions', { TOKEN_SECRET: SECRET });
    const token = await new SignJWT()
      .setProtectedHeader({ alg: 'HS256' })
      .setSubject('ada')
      .setExpirationTime('1m')
      .sign(Buffer.from(SECRET));
    const client = (authorization?: string) => {
      class WithHeader extends WebSocket {
        constructor(url: string, protocols: string[]) {
          super(url, protocols, authorization === undefined ? {} : { headers: { authorization } });
        }
      }
      const made = createClient({ url: `ws://127.0.0.1:${port}/graphql`, webSocketImpl: WithHeader, retryAttempts: 0 });
      endings.push(() => made.dispose());
      return made;
    };
    const results: unknown[] = [];
    for await (const { data } of client(`Bearer ${token}`).iterate({ query: 'subscription { countTo(number: 3) }' }))
      results.push(data);
    expect(results).toEqual([1, 2, 3].map((i) => ({ countTo: `${i} for ada` })));
    const iterate = async (made: ReturnType<typeof client>) => {
      for await (const each of made.iterate({ query: '{ version }' })) return each;
      return undefined;
    };
    await expect(iterate(client())).rejects.toBeDefined();
    await expect(iterate(client(`Bearer ${token}x`))).rejects.toBeDefined();
    // Three connections of one user.
    const open = await Promise.all(
      [1, 2, 3].map(
        () =>
          new Promise<WebSocket>((done, fail) => {
            const socket = new WebSocket(`ws://127.0.0.1:${port}/graphql`, 'graphql-transport-ws', {
              headers: { authorization: `Bearer ${token}` },
            });
            socket.on('open', () => done(socket));
            socket.on('error', fail);
          }),
      ),
    );
    endings.push(() => open.forEach((socket) => void socket.terminate()));
    await expect(iterate(client(`Bearer ${token}`))).rejects.toBeDefined();
    expect(await page(port)).toContain('beside subscriptions');
  });
});
