import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { INestApplication } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { SecureWsStats } from 'nest-secure-ws';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { AppModule } from '../../sample/01-quick-start/src/app.module.js';
import { eventually } from '../support/app.js';
import { hasChromium, launch } from './chromium.js';
import { Relay } from './relay.js';
import 'reflect-metadata';

const start = async (): Promise<INestApplication> => {
  const app = await NestFactory.create(AppModule, { logger: false });
  await app.listen(0, '127.0.0.1');
  return app;
};
const portOf = (server: Server): number => (server.address() as AddressInfo).port;

/** Opens a WebSocket from a page and returns the result. */
const attempt = (page: Page, url: string): Promise<string> =>
  page.evaluate(`new Promise((resolve) => {
    const socket = new WebSocket('${url}');
    socket.onopen = () => {
      resolve('open');
      socket.close();
    };
    socket.onclose = ({ code }) => resolve('closed ' + code);
  })`);

/** Violations that axe-core finds in the page: WCAG 2.2 AA and best practices. */
async function violations(page: Page): Promise<unknown> {
  await page.evaluate(readFileSync('node_modules/axe-core/axe.min.js', 'utf8'));
  return page.evaluate(`axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) =>
    violations.map(({ id, nodes }) => id + ': ' + nodes.map(({ html }) => html).join(' ')))`);
}

(hasChromium() ? describe : describe.skip)('the quick start in Chromium', () => {
  let app: INestApplication;
  let browser: Browser;
  let context: BrowserContext;
  let port: number;
  /** Errors of the page and violations of its policy, as the browser reports them. */
  const complaints: string[] = [];

  beforeAll(async () => {
    [app, browser] = await Promise.all([start(), launch()]);
    port = portOf(app.getHttpServer());
    context = await browser.newContext();
    context.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
    context.on('weberror', (error) => complaints.push(error.error().message));
  });

  afterAll(async () => {
    await browser?.close();
    await app?.close();
  });

  afterEach(async () => {
    for (const page of context.pages()) await page.close();
    expect(complaints.splice(0)).toEqual([]);
  });

  const open = async (at = port): Promise<Page> => {
    const page = await context.newPage();
    await page.goto(`http://127.0.0.1:${at}/`);
    await page.waitForSelector('#status[data-state=open]');
    return page;
  };
  const lines = (page: Page, kind: string): Promise<string[]> => page.locator(`#log .${kind} span`).allTextContents();
  const ending = async (page: Page): Promise<string | null> => {
    await page.waitForSelector('#status[data-state=ended]');
    return page.textContent('#ending');
  };

  it('connects, echoes, shows the negotiated properties, disconnects and reconnects', async () => {
    const page = await open();
    await page.fill('#text', 'Grüße <b>&');
    await page.press('#text', 'Enter');
    await page.waitForSelector('#log .received');
    expect(await lines(page, 'received')).toEqual(['{"event":"echo","data":"Grüße <b>&"}']);
    await page.waitForFunction('document.getElementById("server").textContent !== "–"');
    expect(await page.textContent('#server')).toMatch(/^Node\.js\/\S+ nest-secure-ws\/\d+\.\d+$/);
    expect(await page.textContent('#extensions')).toMatch(/^permessage-deflate/);
    expect(await page.textContent('#protocol')).toBe('none');
    expect(await page.textContent('#max-size')).toBe('1 MiB');
    await page.click('#toggle');
    await page.waitForSelector('#status[data-state=closed]');
    expect(await page.isDisabled('#echo')).toBe(true);
    await page.click('#toggle');
    await page.waitForSelector('#status[data-state=open]');
  });

  it('delivers a broadcast to every tab, and an echo to one', async () => {
    const [one, two] = [await open(), await open()];
    await one.fill('#text', 'hear, hear');
    await one.click('#echo');
    await one.click('#shout');
    for (const page of [one, two]) await page.waitForSelector('#log .received:has-text("shout")');
    expect(await lines(one, 'received')).toHaveLength(2);
    expect(await lines(two, 'received')).toEqual(['{"event":"shout","data":"hear, hear"}']);
  });

  it('shows why the server closed a connection', async () => {
    const page = await open();
    await page.click('#malformed');
    await page.waitForSelector('#log .problem');
    expect(await page.getAttribute('#status', 'data-state')).toBe('open');
    await page.click('#malformed-many');
    expect(await ending(page)).toMatch(/^1008 \S+/);
    await page.click('#toggle');
    await page.waitForSelector('#status[data-state=open]');
    await page.click('#large');
    expect(await ending(page)).toMatch(/^1009 \S+/);
  });

  it('shows that the server has ended and is not reachable', async () => {
    const other = await start();
    const page = await open(portOf(other.getHttpServer()));
    await other.close();
    expect(await ending(page)).toMatch(/^1001 \S+/);
    await page.click('#toggle');
    await page.waitForSelector('#log .problem:has-text("refused")');
    expect(complaints.splice(0).join()).toContain('ERR_CONNECTION_REFUSED');
  });

  it('shows help when it is refused, and hides it once it is connected', async () => {
    const other = await start();
    const { port: taken } = other.getHttpServer().address() as AddressInfo;
    const page = await open(taken);
    expect(await page.isVisible('#help')).toBe(false);
    await other.close();
    await ending(page);
    await page.click('#toggle');
    await page.waitForSelector('#help', { state: 'visible' });
    const [, file = '', anchor = ''] = /\/blob\/main\/(.+)#(.+)$/.exec(
      (await page.getAttribute('#help a', 'href')) ?? '',
    )!;
    const headings = [...readFileSync(file, 'utf8').matchAll(/^#+ (.+)$/gm)].map(([, text]) => text!);
    expect(
      headings.map((text) =>
        text
          .toLowerCase()
          .replace(/[^\w -]/g, '')
          .replaceAll(' ', '-'),
      ),
    ).toContain(anchor);
    const again = await NestFactory.create(AppModule, { logger: false });
    await again.listen(taken, '127.0.0.1');
    try {
      await page.click('#toggle');
      await page.waitForSelector('#status[data-state=open]');
      expect(await page.isVisible('#help')).toBe(false);
    } finally {
      await again.close();
    }
    expect(complaints.splice(0).join()).toContain('ERR_CONNECTION_REFUSED');
  });

  it('can be used with the keyboard: every control and the log are reached, and the log scrolls', async () => {
    const page = await open();
    for (let i = 0; i < 40; i++) await page.press('#text', 'Enter');
    await page.waitForSelector('#log .received');
    const reached: string[] = [];
    await page.evaluate('document.activeElement.blur()');
    for (let i = 0; i < 12; i++) {
      await page.keyboard.press('Tab');
      reached.push(String(await page.evaluate('document.activeElement.id')));
    }
    expect(reached).toEqual(
      expect.arrayContaining([
        'toggle',
        'text',
        'echo',
        'shout',
        'malformed',
        'malformed-many',
        'large',
        'clear',
        'log',
      ]),
    );
    await page.focus('#log');
    let top = 1;
    // The page's policy forbids polling inside it. A late reply scrolls the log to its end again.
    for (let looks = 0; top !== 0 && looks < 100; looks++) {
      await page.keyboard.press('Home');
      await page.waitForTimeout(20);
      top = Number(await page.evaluate('document.getElementById("log").scrollTop'));
    }
    expect(top).toBe(0);
    expect(await page.evaluate('document.querySelector("h1 button, h2 button")')).toBeNull();
  });

  it.each([
    ['light', 1280],
    ['dark', 1280],
    ['light', 320],
    ['dark', 320],
  ] as const)(
    'axe-core finds nothing, and the page never scrolls sideways (%s, %i pixels)',
    async (colorScheme, width) => {
      const page = await open();
      await page.setViewportSize({ width, height: 800 });
      await page.emulateMedia({ colorScheme });
      await page.fill('#text', 'wide '.repeat(50));
      await page.click('#echo');
      await page.waitForSelector('#log .received');
      await page.waitForFunction('document.getElementById("server").textContent !== "–"');
      for (const state of ['connected', 'ended', 'refused']) {
        if (state === 'ended') {
          await page.click('#large');
          await ending(page);
        }
        if (state === 'refused') await page.evaluate('document.getElementById("help").hidden = false');
        expect(await page.evaluate('document.documentElement.scrollWidth - innerWidth')).toBeLessThanOrEqual(0);
        expect(await violations(page)).toEqual([]);
      }
    },
  );

  it('compresses in both directions', async () => {
    const relay = await Relay.start(port);
    try {
      const page = await open(relay.port);
      await page.fill('#text', 'compress me '.repeat(10_000));
      relay.reset();
      await page.click('#echo');
      await page.waitForSelector('#log .received');
      expect(await lines(page, 'received')).toEqual([expect.stringContaining('120026 characters')]);
      for (const bytes of [relay.toServer, relay.toClient]) {
        expect(bytes).toBeGreaterThan(50);
        expect(bytes).toBeLessThan(6_000);
      }
    } finally {
      relay.close();
    }
  });

  it('accepts connections of its own page, and of no other origin', async () => {
    const stranger = createServer(({ url }, response) => {
      if (url === '/opaque') response.setHeader('Content-Security-Policy', 'sandbox allow-scripts');
      response.setHeader('Content-Type', 'text/html');
      response.end('<!doctype html><link rel="icon" href="data:,"><title>elsewhere</title>');
    });
    stranger.listen(0, '127.0.0.1');
    await once(stranger, 'listening');
    try {
      const stats = app.get(SecureWsStats);
      const refused = () => stats.snapshot().refused['origin'] ?? 0;
      const page = await context.newPage();
      await page.goto(`http://127.0.0.1:${portOf(stranger)}/`);
      expect(await attempt(page, `ws://127.0.0.1:${port}/`)).toBe('closed 1006');
      await eventually(() => refused() === 1);
      // A host name of this machine is a different origin than its address.
      await page.goto(`http://localhost:${portOf(stranger)}/`);
      expect(await attempt(page, `ws://127.0.0.1:${port}/`)).toBe('closed 1006');
      // A page in a sandbox has an opaque origin, `null` on the wire.
      await page.goto(`http://127.0.0.1:${portOf(stranger)}/opaque`);
      expect(await attempt(page, `ws://127.0.0.1:${port}/`)).toBe('closed 1006');
      await eventually(() => refused() === 3);
      expect(complaints.splice(0)).toHaveLength(3);
      expect(await attempt(await open(), `ws://127.0.0.1:${port}/`)).toBe('open');
    } finally {
      stranger.close();
      stranger.closeAllConnections();
    }
  });
});
