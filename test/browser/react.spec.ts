import { resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { SecureWsBroadcaster } from 'nest-secure-ws';
import type { Browser, Page } from 'playwright-core';
import { eventually } from '../support/app.js';
import { hasChromium, launch } from './chromium.js';
import { LivePage } from './live-page.js';

/** Mounts the component of docs/browser.md as a development build does. */
const ENTRY = `
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { Chat } from './chat.js';

const root = createRoot(document.getElementById('root')!);
const render = (path: string) => root.render(<StrictMode><Chat path={path} /></StrictMode>);
if (location.hash !== '#later') render('/chat');
Object.assign(globalThis, { root, render });
`;

(hasChromium() ? describe : describe.skip)('the React component of docs/browser.md', () => {
  const live = new LivePage(resolve('test/docs/.recipes/react'));
  let browser: Browser;
  let page: Page;
  /** URLs of the sockets opened by the page. */
  let sockets: string[];
  let complaints: string[];

  beforeAll(async () => {
    live.bundle('main.tsx', ENTRY);
    browser = await launch();
  });
  afterAll(async () => {
    await browser?.close();
    live.remove();
  });

  async function open(hash = ''): Promise<void> {
    live.signedIn = true;
    live.issued = 0;
    sockets = [];
    complaints = [];
    await live.serve();
    page = await browser.newPage();
    await page.addInitScript('Math.random = () => 0');
    page.on('websocket', (socket) => sockets.push(socket.url()));
    page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(error.message));
    await page.goto(`http://127.0.0.1:${live.port}/${hash}`);
    if (hash === '') await shows('connected');
  }
  afterEach(async () => {
    await page?.close();
    await live.app?.close();
  });

  const shows = (text: string) => page.waitForSelector(`output:has-text("${text}")`, { timeout: 20_000 });
  const say = async (text: string): Promise<void> => {
    await page.fill('input', text);
    await page.press('input', 'Enter');
    await page.waitForSelector(`li:has-text("ada: ${text}")`);
  };

  it('opens one connection with one ticket, although StrictMode mounts it twice', async () => {
    await open();
    for (const text of ['one', 'two', 'three']) await say(text);
    expect(await page.locator('li').allTextContents()).toEqual(['ada: one', 'ada: two', 'ada: three']);
    expect([live.issued, live.connections, sockets.length, complaints]).toEqual([1, 1, 1, []]);
  });

  it('renders every event, even many that arrive before one rendering', async () => {
    await open();
    const { app } = live;
    for (let number = 0; number < 20; number++)
      app.get(SecureWsBroadcaster).emit('said', { by: 'eve', text: `${number}` });
    await page.waitForSelector('li:has-text("eve: 19")');
    expect(await page.locator('li').count()).toBe(20);
  });

  it('closes with the component, and opens none after an early unmount', async () => {
    await open();
    await page.evaluate('root.unmount()');
    await eventually(() => live.connections === 0);
    await page.waitForTimeout(1500);
    expect([live.issued, live.connections, sockets.length, complaints]).toEqual([1, 0, 1, []]);
  });

  it('abandons a connection whose ticket is still being fetched', async () => {
    await open('#later');
    let answer: (() => void) | undefined;
    await page.route('**/ticket', async (route) => {
      await new Promise<void>((now) => {
        answer = now;
      });
      await route.continue();
    });
    await page.evaluate("render('/chat')");
    await eventually(() => answer !== undefined);
    await page.evaluate('root.unmount()');
    answer!();
    await eventually(() => live.issued === 1);
    await page.waitForTimeout(500);
    expect([sockets, live.connections, complaints]).toEqual([[], 0, []]);
  });

  it('closes the old connection when its path changes', async () => {
    await open();
    await page.evaluate("render('/chat?room=5')");
    await eventually(() => sockets.length === 2);
    await shows('connected');
    await say('here');
    expect([live.issued, live.connections]).toEqual([2, 1]);
    expect(sockets[1]).toContain('/chat?room=5&ticket=');
  });

  it('reconnects after a restart of the server', async () => {
    await open();
    await live.restart();
    await shows('waiting 1001');
    await shows('connected');
    await say('back');
    expect([live.issued, live.connections]).toEqual([2, 1]);
  });

  it('offers a login when the session has ended', async () => {
    await open();
    live.signedIn = false;
    live.app.get(SecureWsBroadcaster).disconnectUser('ada', 4401, 'logged out');
    await page.waitForSelector('a[href="/login"]');
    await page.waitForTimeout(1500);
    expect([live.issued, live.connections, sockets.length]).toEqual([1, 0, 1]);
  });

  it('shows the failure and stays disconnected after a message that is too large', async () => {
    await open();
    await page.fill('input', 'x'.repeat(2000));
    await page.press('input', 'Enter');
    await shows('failed 1009');
    expect(await page.isDisabled('input')).toBe(true);
    await page.waitForTimeout(1500);
    expect([live.issued, live.connections]).toEqual([1, 0]);
  });
});
