import { deepStrictEqual as equal, ok } from 'node:assert';
import { mkdirSync, writeFileSync } from 'node:fs';
import { PlainWsModule } from './recipes/plain-ws.js';
import { ViteModule } from './recipes/vite.js';
import { nextMessage, Recipe, rawStatus } from './support.js';

/** Vite's development server, with the upgrade that its client in the page makes. */
export async function tryVite(platform: 'express' | 'fastify'): Promise<void> {
  mkdirSync('page', { recursive: true });
  const write = (value: number) =>
    writeFileSync('page/main.js', `export const value = ${value};\nimport.meta.hot.accept();\n`);
  write(1);
  const recipe = await Recipe.start(ViteModule, platform);
  const text = async (path: string): Promise<string> => (await fetch(recipe.url(path, 'http'))).text();
  // The client's code contains its token.
  const client = await text('/@vite/client');
  const token = /wsToken = "([^"]+)"/.exec(client)?.[1];
  ok(token !== undefined, 'the client has a token');
  ok(/"\/?hmr"|\/hmr/.test(client), 'the client connects to the path');
  const path = `/hmr?token=${token}`;
  const own = { Origin: recipe.url('', 'http') };
  const protocols = ['vite-hmr'];
  equal(await recipe.open(path, { Origin: 'https://evil.example' }, protocols), 403);
  equal(await recipe.open(path, { Origin: 'null' }, protocols), 403);
  // Vite reads the path with new URL(), which resolves dot segments.
  for (const each of ['/x/..', '/.', '/%2e', '/a/%2E%2e'])
    equal([each, await rawStatus(recipe.port, `${each}${path}`, 'vite-hmr')], [each, 404]);
  await recipe.untilSlots(0);

  const socket = await recipe.mustOpen(path, own, protocols);
  equal(await nextMessage(socket), { type: 'connected' });
  ok((await text('/main.js')).includes('value = 1'));
  await recipe.untilSlots(1);
  const update = nextMessage(socket);
  write(2);
  const { type, updates } = (await update) as { type: string; updates: { path: string }[] };
  equal([type, updates.map((each) => each.path)], ['update', ['/main.js']]);
  ok((await text('/main.js?t=1')).includes('value = 2'));
  socket.terminate();
  await recipe.untilSlots(0);

  // The limit of the entry, and a new connection after one has closed.
  const sockets = await Promise.all(Array.from({ length: 10 }, () => recipe.mustOpen(path, own, protocols)));
  await recipe.untilSlots(10);
  equal(await recipe.open(path, own, protocols), 503);
  // A gateway has slots of its own.
  const chat = await recipe.mustOpen('/chat', own);
  const reply = nextMessage(chat);
  chat.send('{"event":"echo","data":"hello"}');
  equal(await reply, { event: 'echo', data: 'hello' });
  for (const each of sockets) each.terminate();
  await recipe.untilSlots(1);
  equal(typeof (await recipe.open(path, own, protocols)), 'object');
  await recipe.close();
}

export async function tryPlainWs(platform: 'express' | 'fastify'): Promise<void> {
  const recipe = await Recipe.start(PlainWsModule, platform);
  equal(await recipe.open('/legacy'), 403);
  equal(await recipe.open('/legacy', { 'X-Api-Key': 'secret of ada', Origin: 'https://evil.example' }), 403);
  const socket = await recipe.mustOpen('/legacy', { 'X-Api-Key': 'secret of ada' });
  equal(await nextMessage(socket), { id: 'ada' });
  await recipe.untilSlots(1);
  socket.close();
  await recipe.untilSlots(0);
  // The library's own limit ends this connection, which frees the slot.
  const big = await recipe.mustOpen('/legacy', { 'X-Api-Key': 'secret of ada' });
  big.send(Buffer.alloc(100 * 1024));
  await recipe.untilSlots(0);
  await recipe.close();
}
