import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { SubscribeMessage } from '@nestjs/websockets';
import { allow, SecureGateway, SecureWsDashboardModule, UseAdmissionGuards } from 'nest-secure-ws';
import { MemoryCluster } from 'nest-secure-ws/testing';
import type { Browser } from 'playwright-core';
import { WebSocket } from 'ws';
import { eventually, startApp, type TestApp } from '../support/app.js';
import { hasChromium, launch } from './chromium.js';

const TOKEN = 'correct-horse-battery-staple-and-more';
const MARKUP = '<img src=x onerror="document.title=\'hacked\'">';
const SCREENSHOTS = process.env['SCREENSHOTS'];

@SecureGateway({ path: '/chat' })
@UseAdmissionGuards(({ query }) => allow({ userKey: query.get('user') ?? 'nobody' }))
class ChatGateway {
  @SubscribeMessage('x') x() {}
}

(hasChromium() ? describe : describe.skip)('the dashboard of one of two processes, in Chromium', () => {
  const apps: TestApp[] = [];
  const peers: WebSocket[] = [];
  let browser: Browser;

  beforeAll(async () => {
    const cluster = new MemoryCluster();
    for (let each = 0; each < 2; each++)
      apps.push(
        await startApp({
          gateways: [ChatGateway],
          options: { cluster: { store: cluster.store(), bus: cluster.bus(), heartbeat: '100ms', lease: '1s' } },
          metadata: { imports: [SecureWsDashboardModule.forRoot({ token: TOKEN, readonly: false })] },
        }),
      );
    await eventually(() => apps.every((app) => app.stats().cluster?.nodes.length === 2));
    browser = await launch();
  });
  afterAll(async () => {
    for (const socket of peers) socket.terminate();
    await browser?.close();
    await Promise.all(apps.map((app) => app.close()));
  });

  async function peer(app: TestApp, user: string): Promise<WebSocket> {
    const socket = new WebSocket(`ws://127.0.0.1:${app.port}/chat?user=${encodeURIComponent(user)}`);
    await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
    peers.push(socket);
    return socket;
  }

  it('shows both processes and their total, and disconnects a peer of the other', async () => {
    const [here, there] = apps as [TestApp, TestApp];
    await peer(here, 'ada');
    const far = await peer(there, MARKUP);
    await peer(there, 'bob');
    const closed = new Promise<number>((resolve) => far.once('close', resolve));
    const page = await browser.newPage({ viewport: { width: 1280, height: 1000 } });
    page.on('dialog', (dialog) => void dialog.accept());
    await page.goto(`http://127.0.0.1:${here.port}/ws-admin`);
    await page.getByLabel('Token').fill(TOKEN);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByText('2 processes with 3 connections').waitFor();
    const rows = page.locator('#nodes tbody tr');
    await expect(rows.count()).resolves.toBe(3);
    const texts = await rows.allInnerTexts();
    expect(texts[0]).toMatch(/^All processes\s+3\s/);
    expect(texts.filter((text) => /\(this one\)\s+Well\s+1\s/.test(text))).toHaveLength(1);
    expect(texts.filter((text) => !/this one|All/.test(text) && /Well\s+2\s/.test(text))).toHaveLength(1);

    const table = page.locator('#connections');
    expect(await table.innerText()).not.toContain('bob');
    await page.locator('#node').selectOption({ index: await indexOfOther() });
    await table.getByText('bob').waitFor();
    await table.getByText(MARKUP).waitFor();
    // A poll does not return to the own process.
    await page.waitForTimeout(2500);
    expect(await table.innerText()).toContain('bob');
    expect(await page.title()).not.toBe('hacked');
    if (SCREENSHOTS !== undefined) await page.screenshot({ path: `${SCREENSHOTS}/cluster.png`, fullPage: true });
    await table.getByRole('button', { name: `Disconnect 127.0.0.1 ${MARKUP}` }).click();
    expect(await closed).toBe(1008);
    await page.getByText('2 processes with 2 connections').waitFor();

    async function indexOfOther(): Promise<number> {
      const options = await page.locator('#node option').allInnerTexts();
      return options.findIndex((text) => !text.includes('this one'));
    }
  });
});
