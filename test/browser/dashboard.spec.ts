import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { SubscribeMessage } from '@nestjs/websockets';
import { allow, SecureGateway, SecureWsBans, SecureWsDashboardModule, UseAdmissionGuards } from 'nest-secure-ws';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { WebSocket } from 'ws';
import { eventually, PLATFORMS, startApp, type TestApp } from '../support/app.js';
import { hasChromium, launch } from './chromium.js';

const TOKEN = 'correct-horse-battery-staple-and-more';
const MARKUP = '<img src=x onerror="document.title=\'hacked\'"><script>document.title="hacked"</script>';

@SecureGateway({ path: '/chat' })
@UseAdmissionGuards(({ query }) => allow({ principal: {}, userKey: query.get('user') ?? 'nobody' }))
class ChatGateway {
  @SubscribeMessage('fail') fail() {
    throw new Error(MARKUP);
  }
}

/** A peer behind a trusted proxy, which is the test itself. */
async function peer(port: number, ip: string, user: string, path = '/chat'): Promise<WebSocket> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}?user=${encodeURIComponent(user)}`, {
    headers: { 'X-Forwarded-For': ip },
  });
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  return socket;
}

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const SCREENSHOTS = process.env['SCREENSHOTS'];

(hasChromium() ? describe.each(PLATFORMS) : describe.skip.each(PLATFORMS))(
  'the dashboard on %s, in Chromium',
  (platform) => {
    let app: TestApp;
    let browser: Browser;
    let context: BrowserContext;
    let url: string;
    const peers: WebSocket[] = [];
    const complaints: string[] = [];

    beforeAll(async () => {
      [app, browser] = await Promise.all([
        startApp({
          platform,
          gateways: [ChatGateway],
          options: { proxy: { trusted: ['loopback'] }, dashboard: { token: TOKEN }, connections: { rate: '30/10s' } },
          metadata: { imports: [SecureWsDashboardModule.forRoot({ readonly: false })] },
        }),
        launch(),
      ]);
      url = `http://127.0.0.1:${app.port}/ws-admin`;
    });
    afterAll(async () => {
      await browser?.close();
      await app?.close();
    });
    afterEach(async () => {
      for (const socket of peers.splice(0)) socket.terminate();
      await context?.close();
      await eventually(() => app.stats().connections === 0);
      // A failed login is answered with 401, which Chromium writes to the console.
      expect(complaints.splice(0).filter((text) => !/status of 401/.test(text))).toEqual([]);
    });

    async function open(options: Parameters<Browser['newContext']>[0] = {}): Promise<Page> {
      context = await browser.newContext({ ...options, extraHTTPHeaders: { 'X-Forwarded-For': '198.51.100.1' } });
      context.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
      context.on('weberror', (error) => complaints.push(error.error().message));
      const page = await context.newPage();
      page.on('dialog', (dialog) => void dialog.accept());
      await page.goto(url);
      return page;
    }

    async function loggedIn(options?: Parameters<Browser['newContext']>[0]): Promise<Page> {
      const page = await open(options);
      await page.getByLabel('Token').fill(TOKEN);
      await page.getByRole('button', { name: 'Log in' }).click();
      await page.getByText('held for peers.').waitFor();
      return page;
    }

    it('asks for the token, reports a wrong one, and forgets it at logout', async () => {
      const page = await open();
      await page.getByLabel('Token').fill('wrong');
      await page.keyboard.press('Enter');
      await page.getByText('The token is wrong.').waitFor();
      await page.getByLabel('Token').fill(TOKEN);
      await page.keyboard.press('Enter');
      await page.getByText('held for peers.').waitFor();
      const [cookie] = await context.cookies();
      expect(cookie).toMatchObject({ httpOnly: true, sameSite: 'Strict', path: '/' });
      expect(cookie!.value).not.toContain(TOKEN);
      await page.getByRole('button', { name: 'Log out' }).click();
      await page.getByLabel('Token').waitFor();
      await page.reload();
      await page.getByLabel('Token').waitFor();
    });

    it('shows a flood as it happens, the addresses that cause it, and the connections', async () => {
      const page = await loggedIn();
      peers.push(await peer(app.port, '192.0.2.7', 'ada'));
      const flood = Array.from({ length: 60 }, () =>
        peer(app.port, '203.0.113.9', 'x', '/nobody').catch(() => undefined),
      );
      await Promise.all(flood);
      await page.getByText('Under pressure').waitFor({ timeout: 10_000 });
      await page.getByText(/refused in the last ten seconds, mostly for/).waitFor();
      await page.locator('#addresses').getByText('203.0.113.9').waitFor();
      await page.locator('#refused').getByText('connection-rate').waitFor();
      await page.locator('#connections').getByText('ada').waitFor();
      if (SCREENSHOTS) await page.screenshot({ path: `${SCREENSHOTS}/dashboard-${platform}.png`, fullPage: true });
    });

    it('disconnects a peer, bans its address, and lifts the ban', async () => {
      const page = await loggedIn();
      const socket = await peer(app.port, '192.0.2.8', 'eve');
      peers.push(socket);
      const closed = once(socket, 'close');
      await page.getByLabel('Address, user or gateway contains').fill('eve');
      await page.getByRole('button', { name: 'Show' }).click();
      await page.getByRole('button', { name: 'Disconnect 192.0.2.8 eve' }).click();
      expect((await closed)[0]).toBe(1008);
      await page.getByLabel('Address, CIDR or user').fill('192.0.2.8');
      await page.locator('#ban-form').getByRole('button', { name: 'Ban' }).click();
      await page.locator('#bans').getByText('192.0.2.8').waitFor();
      await expect(peer(app.port, '192.0.2.8', 'eve')).rejects.toThrow('403');
      await page.getByRole('button', { name: /^Unban 192\.0\.2\.8/ }).click();
      await page.getByText('Nobody is banned.').waitFor();
      peers.push(await peer(app.port, '192.0.2.8', 'eve'));
      expect(app.app.get(SecureWsBans).list()).toEqual([]);
    });

    it('shows markup that peers control as text', async () => {
      const page = await loggedIn();
      const socket = await peer(app.port, '192.0.2.9', MARKUP);
      peers.push(socket);
      socket.send(JSON.stringify({ event: 'fail' }));
      await peer(app.port, '192.0.2.9', MARKUP, `/${encodeURI(MARKUP)}`).catch(() => undefined);
      await page.locator('#connections').getByText(MARKUP).first().waitFor();
      await page.locator('#users').getByText(MARKUP).first().waitFor();
      expect(await page.title()).toBe('WebSocket gateway');
      expect(await page.locator('img').count()).toBe(0);
    });

    it.each([
      ['light', { width: 1280, height: 900 }],
      ['dark', { width: 1280, height: 900 }],
      ['light', { width: 320, height: 640 }],
    ] as const)('is accessible in %s at %j', async (colorScheme, viewport) => {
      const page = await loggedIn({ colorScheme, viewport });
      peers.push(await peer(app.port, '192.0.2.10', 'grace'));
      await page.locator('#connections').getByText('grace').waitFor();
      // Evaluated by the debugger, to which the page's policy does not apply.
      await page.evaluate(AXE);
      const violations = (await page.evaluate(
        'axe.run().then(({ violations }) => violations.map(({ id, impact, nodes }) => impact + " " + id + " " + nodes[0].html))',
      )) as string[];
      expect(violations.filter((each) => /^(serious|critical)/.test(each))).toEqual([]);
      expect(await page.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true);
      if (SCREENSHOTS)
        await page.screenshot({
          path: `${SCREENSHOTS}/dashboard-${colorScheme}-${viewport.width}.png`,
          fullPage: true,
        });
    });

    it('can be used with the keyboard alone', async () => {
      const page = await open();
      await page.locator('#token:focus').waitFor();
      await page.keyboard.type(TOKEN);
      await page.keyboard.press('Enter');
      await page.getByText('held for peers.').waitFor();
      const reached = new Set<string>();
      for (let presses = 0; presses < 40; presses++) {
        await page.keyboard.press('Tab');
        reached.add((await page.evaluate('document.activeElement.id')) as string);
      }
      for (const id of ['drain', 'logout', 'filter', 'connections', 'first', 'ban-target', 'bans', 'remarks'])
        expect(reached).toContain(id);
    });
  },
);
