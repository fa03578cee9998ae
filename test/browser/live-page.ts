import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import {
  Controller,
  Get,
  Header,
  HttpCode,
  type INestApplication,
  Module,
  Post,
  UnauthorizedException,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ConnectedSocket, MessageBody, SubscribeMessage } from '@nestjs/websockets';
import {
  Principal,
  SecureGateway,
  type SecureSocket,
  SecureWsModule,
  SecureWsStats,
  UseAdmissionGuards,
} from 'nest-secure-ws';
import { SecureWsTickets, ticketGuard } from 'nest-secure-ws/guards';
import type { Page } from 'playwright-core';
import { codeBlocks } from '../support/markdown-code.js';
import 'reflect-metadata';

/** The code of docs/browser.md by file name, bundled as an application would, served beside a gateway with tickets. */
export class LivePage {
  signedIn = true;
  /** Number of tickets issued. */
  issued = 0;
  /** Tokens received in `renew` messages. */
  readonly renewed: string[] = [];
  app!: INestApplication;
  private script = '';

  constructor(private readonly folder: string) {}

  get port(): number {
    return (this.app.getHttpServer().address() as AddressInfo).port;
  }

  get connections(): number {
    return this.app.get(SecureWsStats).snapshot().connections;
  }

  /** Bundles `main.js`, or another `entry`, together with the files of the documentation. */
  bundle(entry: string, text?: string): void {
    mkdirSync(this.folder, { recursive: true });
    for (const [name, block] of browserCode()) writeFileSync(join(this.folder, name), block);
    if (text !== undefined) writeFileSync(join(this.folder, entry), text);
    const { status, stdout, stderr } = spawnSync(
      resolve('node_modules/.bin/esbuild'),
      [
        join(this.folder, entry),
        '--bundle',
        '--format=esm',
        '--jsx=automatic',
        '--define:process.env.NODE_ENV="development"',
      ],
      { encoding: 'utf8', maxBuffer: 64 * 1024 ** 2 },
    );
    if (status !== 0) throw new Error(stderr);
    this.script = stdout;
  }

  async serve(port = 0): Promise<void> {
    const page = this;

    @Controller()
    class PageController {
      constructor(private readonly tickets: SecureWsTickets) {}

      @Get()
      @Header('Content-Type', 'text/html')
      page() {
        const script = '<script type="module" src="main.js"></script>';
        return `<!doctype html><link rel="icon" href="data:,"><title>live</title><div id="root"></div>${script}`;
      }

      @Get('main.js')
      @Header('Content-Type', 'text/javascript')
      script() {
        return page.script;
      }

      @Post('ticket')
      @HttpCode(200)
      async ticket() {
        if (!page.signedIn) throw new UnauthorizedException();
        page.issued++;
        return { ticket: await this.tickets.issue({ principal: { id: 'ada' }, path: '/chat' }) };
      }
    }

    @SecureGateway({ path: '/chat', messages: { maxSize: '1kb' } })
    @UseAdmissionGuards(ticketGuard())
    class ChatGateway {
      @SubscribeMessage('say') say(@MessageBody() { text }: { text: string }, @Principal() user: { id: string }) {
        return { event: 'said', data: { by: user.id, text } };
      }

      @SubscribeMessage('renew') renew(@MessageBody('token') token: string) {
        page.renewed.push(token);
      }

      @SubscribeMessage('end') end(@MessageBody() code: number, @ConnectedSocket() socket: SecureSocket) {
        socket.close(code, 'as asked');
      }
    }

    @Module({ imports: [SecureWsModule.forRoot()], controllers: [PageController], providers: [ChatGateway] })
    class AppModule {}

    this.app = await NestFactory.create(AppModule, { logger: false, forceCloseConnections: true });
    await this.app.listen(port, '127.0.0.1');
  }

  /** Restarts the application on the same port. */
  async restart(): Promise<void> {
    const { port } = this;
    await this.app.close();
    await this.serve(port);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** The blocks of docs/browser.md that name their file. */
export function browserCode(): ReadonlyMap<string, string> {
  const blocks = [...codeBlocks('docs/browser.md', 'ts'), ...codeBlocks('docs/browser.md', 'tsx')];
  return new Map(blocks.map((block) => [/^\/\/ (\S+)\n/.exec(block)![1]!, block]));
}

/** The console output of a page, in order. */
export class PageConsole {
  readonly lines: string[] = [];

  constructor(private readonly page: Page) {
    page.on('console', (message) => message.type() === 'log' && this.lines.push(message.text()));
  }

  /** Waits for a line with this beginning, and removes it and the lines before it. */
  async until(line: string): Promise<void> {
    const at = (): number => this.lines.findIndex((each) => each.startsWith(line));
    while (at() < 0) await this.page.waitForEvent('console', { timeout: 20_000 });
    this.lines.splice(0, at() + 1);
  }
}
