import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { SecureWsBroadcaster } from 'nest-secure-ws';
import type { Browser, Page } from 'playwright-core';
import { eventually } from '../support/app.js';
import { hasChromium, launch } from './chromium.js';
import { browserCode, LivePage, PageConsole } from './live-page.js';

const FOLDER = resolve('test/docs/.recipes/browser');
afterAll(() => rmSync(FOLDER, { recursive: true, force: true }));

describe('the code of docs/browser.md', () => {
  it('compiles', () => {
    const folder = join(FOLDER, 'types');
    mkdirSync(folder, { recursive: true });
    const files = browserCode();
    expect([...files.keys()]).toEqual(['live.ts', 'main.ts', 'use-gateway.ts', 'chat.tsx']);
    for (const [name, text] of files) writeFileSync(join(folder, name), text);
    const flags =
      '--ignoreConfig --noEmit --strict --noUncheckedIndexedAccess --skipLibCheck --target es2022 --module esnext --moduleResolution bundler --jsx react-jsx --lib es2022,dom,dom.iterable --types react';
    const { status, stdout } = spawnSync(
      process.execPath,
      [resolve('node_modules/typescript/bin/tsc'), ...flags.split(' '), ...files.keys()],
      { cwd: folder, encoding: 'utf8' },
    );
    expect([status, stdout]).toEqual([0, '']);
  }, 180_000);
});

(hasChromium() ? describe : describe.skip)('live() of docs/browser.md in Chromium', () => {
  const live = new LivePage(join(FOLDER, 'live'));
  let browser: Browser;
  let page: Page;
  let log: PageConsole;

  beforeAll(async () => {
    const use = browserCode()
      .get('main.ts')!
      // Prints a line per event, and renews the session every 50 ms.
      .replace('console.log(event, data)', 'console.log(event, JSON.stringify(data))')
      .replace("live('/chat', {", "live('/chat', { renew: { every: 50, token: async () => 'token ' + ++tokens },");
    live.bundle('main.ts', `let tokens = 0;\n${use}\nObject.assign(globalThis, { chat });`);
    browser = await launch();
  });
  afterAll(async () => {
    await browser?.close();
    live.remove();
  });

  const open = async (): Promise<void> => {
    live.signedIn = true;
    live.issued = 0;
    await live.serve();
    page = await browser.newPage();
    // The shortest of the random delays.
    await page.addInitScript('Math.random = () => 0');
    log = new PageConsole(page);
    await page.goto(`http://127.0.0.1:${live.port}/`);
    await log.until('said {"by":"ada","text":"hello"}');
  };
  afterEach(async () => {
    await page?.close();
    await live.app?.close();
  });

  const send = (event: string, data: unknown) =>
    page.evaluate(`chat.send(${JSON.stringify(event)}, ${JSON.stringify(data)})`);

  it('connects with a ticket, and with a new one after a restart of the server', async () => {
    await open();
    expect(live.issued).toBe(1);
    await live.restart();
    await log.until('waiting 1001');
    await log.until('open');
    await send('say', { text: 'back' });
    await log.until('said {"by":"ada","text":"back"}');
    expect(live.issued).toBe(2);
  });

  it('retries with growing delays while no server listens', async () => {
    await open();
    const { port } = live;
    await live.app.close();
    await log.until('waiting 1001');
    // Without the server there is no ticket either: the page waits and prints nothing new.
    await page.waitForTimeout(2500);
    expect(log.lines.filter((line) => !line.startsWith('waiting'))).toEqual([]);
    await live.serve(port);
    await log.until('open');
  });

  it('stops when the session has ended', async () => {
    await open();
    live.signedIn = false;
    live.app.get(SecureWsBroadcaster).disconnectUser('ada', 4401, 'logged out');
    await log.until('waiting 4401 logged out');
    await log.until('signed out the session has ended');
    live.signedIn = true;
    await page.waitForTimeout(1500);
    expect([live.issued, log.lines]).toEqual([1, []]);
  });

  it('does not reconnect after a message that is too large', async () => {
    await open();
    await send('say', { text: 'x'.repeat(2000) });
    await log.until('failed 1009');
    await page.waitForTimeout(1500);
    expect([live.issued, log.lines]).toEqual([1, []]);
  });

  it('reconnects after an idle end when it has something to send, and delivers it', async () => {
    await open();
    await send('end', 1000);
    await log.until('idle 1000 as asked');
    await page.waitForTimeout(1500);
    expect([live.issued, log.lines]).toEqual([1, []]);
    await send('say', { text: 'awake' });
    await log.until('said {"by":"ada","text":"awake"}');
    expect([live.issued, live.connections]).toEqual([2, 1]);
  });

  it('renews the session while the connection is open', async () => {
    live.renewed.splice(0);
    await open();
    await eventually(() => live.renewed.length >= 3);
    expect(live.renewed.slice(0, 3)).toEqual(['token 1', 'token 2', 'token 3']);
    await page.evaluate('chat.close()');
    await eventually(() => live.connections === 0);
    const { length } = live.renewed;
    await page.waitForTimeout(500);
    expect([live.renewed.length, live.connections, live.issued]).toEqual([length, 0, 1]);
  });
});
