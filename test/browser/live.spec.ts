import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { Controller, Get, Header, HttpCode, type INestApplication, Post, UnauthorizedException } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { MessageBody, SubscribeMessage } from '@nestjs/websockets';
import { SecureGateway, SecureWsBroadcaster, SecureWsModule, UseAdmissionGuards } from 'nest-secure-ws';
import { SecureWsTickets, ticketGuard } from 'nest-secure-ws/guards';
import type { Browser, Page } from 'playwright-core';
import { codeBlocks } from '../support/markdown-code.js';
import { hasChromium, launch } from './chromium.js';
import 'reflect-metadata';

/** The code of docs/browser.md, bundled as an application would, against a gateway with tickets. */
const FOLDER = resolve('test/docs/.recipes/browser');
let script: string;
let signedIn = true;
let issued = 0;

@Controller()
class PageController {
  constructor(private readonly tickets: SecureWsTickets) {}

  @Get()
  @Header('Content-Type', 'text/html')
  page() {
    return '<!doctype html><link rel="icon" href="data:,"><title>live</title><script type="module" src="main.js"></script>';
  }

  @Get('main.js')
  @Header('Content-Type', 'text/javascript')
  script() {
    return script;
  }

  @Post('ticket')
  @HttpCode(200)
  async ticket() {
    if (!signedIn) throw new UnauthorizedException();
    issued++;
    return { ticket: await this.tickets.issue({ principal: { id: 'ada' }, path: '/chat' }) };
  }
}

@SecureGateway({ path: '/chat', messages: { maxSize: '1kb' } })
@UseAdmissionGuards(ticketGuard())
class ChatGateway {
  @SubscribeMessage('say') say(@MessageBody() data: { text: string }) {
    return { event: 'said', data: data.text };
  }
}

async function serve(port = 0): Promise<INestApplication> {
  const testing = await Test.createTestingModule({
    imports: [SecureWsModule.forRoot()],
    controllers: [PageController],
    providers: [ChatGateway],
  }).compile();
  const app = testing.createNestApplication({ logger: false });
  await app.listen(port, '127.0.0.1');
  return app;
}

(hasChromium() ? describe : describe.skip)('a page that stays connected', () => {
  let browser: Browser;
  let app: INestApplication;
  let page: Page;
  let said: string[];

  beforeAll(async () => {
    const [library = '', use = ''] = codeBlocks('docs/browser.md', 'js');
    mkdirSync(FOLDER, { recursive: true });
    writeFileSync(join(FOLDER, 'live.js'), library);
    writeFileSync(join(FOLDER, 'main.js'), `${use}\nglobalThis.chat = chat;`);
    const bundled = spawnSync(
      resolve('node_modules/.bin/esbuild'),
      [join(FOLDER, 'main.js'), '--bundle', '--format=esm'],
      { encoding: 'utf8' },
    );
    expect([bundled.status, bundled.stderr.replace(/\s/g, '')]).toEqual([0, '']);
    script = bundled.stdout;
    browser = await launch();
  });
  afterAll(async () => {
    await browser?.close();
    rmSync(FOLDER, { recursive: true, force: true });
  });

  const open = async (): Promise<void> => {
    signedIn = true;
    issued = 0;
    said = [];
    app = await serve();
    page = await browser.newPage();
    // The shortest of the random delays.
    await page.addInitScript('Math.random = () => 0');
    page.on('console', (message) => message.type() === 'log' && said.push(message.text()));
    await page.goto(`http://127.0.0.1:${(app.getHttpServer().address() as AddressInfo).port}/`);
    await until('said hello');
  };
  afterEach(async () => {
    await page?.close();
    await app?.close();
  });

  /** Waits for a line that begins so, and takes those before it away. */
  async function until(line: string): Promise<void> {
    while (!said.some((each) => each.startsWith(line))) await page.waitForEvent('console', { timeout: 20_000 });
    said.splice(0, said.findIndex((each) => each.startsWith(line)) + 1);
  }
  const send = (text: string) => page.evaluate(`chat.send('say', { text: ${JSON.stringify(text)} })`);

  it('connects with a ticket, and again with another after a restart of the server', async () => {
    await open();
    expect(issued).toBe(1);
    const { port } = app.getHttpServer().address() as AddressInfo;
    await app.close();
    await until('waiting 1001');
    app = await serve(port);
    await until('open');
    await send('back');
    await until('said back');
    expect(issued).toBe(2);
  });

  it('ends with a session that has ended', async () => {
    await open();
    signedIn = false;
    app.get(SecureWsBroadcaster).disconnectUser('ada', 4401, 'logged out');
    await until('waiting 4401 logged out');
    await until('signed out the session has ended');
    signedIn = true;
    await page.waitForTimeout(1500);
    expect([issued, said]).toEqual([1, []]);
  });

  it('does not come back with a message that is too large', async () => {
    await open();
    await send('x'.repeat(2000));
    await until('failed 1009');
    await page.waitForTimeout(1500);
    expect([issued, said]).toEqual([1, []]);
  });
});
