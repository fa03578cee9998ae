import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { hasChromium, launch } from '../browser/chromium.js';
import { codeBlocks, fileOf } from '../support/markdown-code.js';
import { RawClient, upgradeHead } from '../support/raw-client.js';

/** Runs the README's first gateway in the order of its blocks, and checks what the text says about each. */
const FOLDER = resolve('test/docs/.recipes/first-hour');
const [development = '', production = ''] = codeBlocks('README.md', 'ini');
const [inBrowser = ''] = codeBlocks('README.md', 'js');

/** As `nest new` writes it, except for the port. */
const MAIN = `import { NestFactory } from '@nestjs/core';
import 'reflect-metadata';
import { AppModule } from './app.module.js';

const app = await NestFactory.create(AppModule, { logger: ['log', 'warn', 'error'], abortOnError: false });
await app.listen(process.env.PORT ?? 3000);
console.log('PORT ' + app.getHttpServer().address().port);
`;

/** The README's commands in order: the file that runs each in CI, and its words there. */
const RUN_BY: readonly (readonly [command: string, file: string, words: string])[] = [
  ['npm start', 'scripts/try-quick-start.mjs', "spawn('npm', ['start'"],
  ['npm cit', '.ci/run', 'npm cit'],
  ['npx nest-secure-ws doctor', 'scripts/try-newcomer.mjs', "'doctor'"],
  ['npx nest-secure-ws probe ws://localhost:3000', 'scripts/try-newcomer.mjs', "'probe'"],
  ['npx nest-secure-ws tune messages/', 'scripts/try-newcomer.mjs', "'tune', 'messages/'"],
  [
    'npm install nest-secure-ws @nestjs/websockets @nestjs/config class-validator class-transformer',
    'scripts/try-newcomer.mjs',
    'addPackage(app, pack())',
  ],
];

const running: ChildProcess[] = [];

beforeAll(() => {
  rmSync(FOLDER, { recursive: true, force: true });
  const files = codeBlocks('README.md', 'ts').map((block) => [fileOf(block)!, block] as const);
  expect(files.map(([name]) => name)).toEqual(['src/chat.gateway.ts', 'src/app.module.ts']);
  for (const [name, text] of [...files, ['src/main.ts', MAIN] as const]) {
    const file = join(FOLDER, name);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
});
afterEach(async () => {
  for (const child of running.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
});
afterAll(() => rmSync(FOLDER, { recursive: true, force: true }));

interface Started {
  readonly port: number;
  readonly output: () => string;
}

/** Starts the application with this `.env`. Rejects with its output when it ends. */
async function start(env: string, environment: Record<string, string> = {}): Promise<Started> {
  writeFileSync(join(FOLDER, '.env'), env);
  const child = spawn(
    process.execPath,
    ['--import', `file://${resolve('test/support/typescript.mjs')}`, 'src/main.ts'],
    {
      cwd: FOLDER,
      env: { PATH: process.env['PATH'], PORT: '0', NO_COLOR: '1', ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  running.push(child);
  let printed = '';
  const ended = once(child, 'exit').then(() => {
    throw new Error(printed);
  });
  ended.catch(() => undefined);
  const port = new Promise<number>((found) => {
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        printed += chunk.toString();
        const [, digits] = /^PORT (\d+)$/m.exec(printed) ?? [];
        if (digits !== undefined) found(Number(digits));
      });
  });
  return { port: await Promise.race([port, ended]), output: () => printed };
}

const COOKIE = { Cookie: 'session=secret' };

async function statusOf(port: number, headers: Record<string, string>): Promise<number> {
  const client = await RawClient.connect({ port, host: 'localhost' });
  const { status } = await client.upgrade(upgradeHead(port, { path: '/chat', headers }));
  client.destroy();
  return status;
}

describe('the first hour with the README', () => {
  it('the gateway validates, authenticates and applies the limits of `.env`', async () => {
    const { port, output } = await start(development);
    expect(output()).toContain('settings from environment: connections.maxPerIp=20, messages.maxSize=16kb');
    expect(await statusOf(port, {})).toBe(401);
    const client = await RawClient.open({ port, host: 'localhost' }, { path: '/chat', headers: COOKIE });
    client.send('say', { text: 'hello' });
    expect(await client.json()).toEqual({ event: 'said', data: { by: 'ada', text: 'hello' } });
    client.send('say', { text: 5 });
    expect(await client.json()).toMatchObject({ event: 'exception' });
    client.send('say', { text: 'x'.repeat(16 * 1024) });
    expect(await client.closeFrame()).toMatchObject({ code: 1009 });
    client.destroy();
  });

  it('production requires a decision about TLS, and the block makes it', async () => {
    const asked = start(development, { NODE_ENV: 'production' });
    await expect(asked).rejects.toThrow(/proxy\.requireTls \(WEBSOCKETS_REQUIRE_TLS\): must be set/);
    const plaintext = await start(`${development}WEBSOCKETS_REQUIRE_TLS=false\n`, { NODE_ENV: 'production' });
    expect(await statusOf(plaintext.port, COOKIE)).toBe(101);

    // The proxy of the block is this machine.
    const behind = production.replace('10.0.0.0/8', 'loopback');
    expect(behind).not.toBe(production);
    const { port } = await start(`${development}${behind}`, { NODE_ENV: 'production' });
    const through = (origin: string, scheme = 'https') =>
      statusOf(port, { ...COOKIE, Origin: origin, 'X-Forwarded-For': '203.0.113.5', 'X-Forwarded-Proto': scheme });
    expect(await through('https://app.example')).toBe(101);
    expect(await through('https://a.b.app.example')).toBe(101);
    expect(await through('https://app.example', 'http')).toBe(403);
    expect(await through('https://app.example.evil')).toBe(403);
  });

  (hasChromium() ? it : it.skip)('the browser code works on a page of the application', async () => {
    const { port } = await start(development);
    const browser = await launch();
    try {
      const page = await browser.newPage();
      const said: string[] = [];
      const first = new Promise<void>((resolve) => {
        page.on('console', (message) => {
          if (message.type() !== 'log') return;
          said.push(message.text());
          resolve();
        });
      });
      expect((await page.goto(`http://localhost:${port}/`))?.status()).toBe(404);
      await page.evaluate(`(() => { ${inBrowser} })()`);
      await first;
      expect(said).toEqual(['{event: said, data: Object}']);
      expect(inBrowser).toContain("// { event: 'said', data: { by: 'ada', text: 'hello' } }");
    } finally {
      await browser.close();
    }
  });

  it('every block and command is run by a test', () => {
    const readme = readFileSync('README.md', 'utf8');
    // This file runs the first two `ts` blocks, both `ini` blocks and the `js` block.
    const fences = [...readme.matchAll(/^```(\w*)\n/gm)].map(([, language]) => language).filter((each) => each !== '');
    expect(fences).toEqual(['sh', 'sh', 'sh', 'ts', 'ts', 'ini', 'js', 'ini']);
    const commands = codeBlocks('README.md', 'sh').flatMap((block) => block.trim().split('\n'));
    const ci = readFileSync('.ci/run', 'utf8');
    expect(commands.map((line) => line.replace(/\s+#.*/, ''))).toEqual(RUN_BY.map(([command]) => command));
    for (const [command, file, words] of RUN_BY) {
      expect([command, readFileSync(file, 'utf8').includes(words)]).toEqual([command, true]);
      expect([file, file === '.ci/run' || file.startsWith('test/') || ci.includes(`node ${file}`)]).toEqual([
        file,
        true,
      ]);
    }
    expect(readme.indexOf('npm install')).toBeLessThan(readme.indexOf('// src/chat.gateway.ts'));
  });
});
