import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { SubscribeMessage } from '@nestjs/websockets';
import { SecureGateway, type SecureSocket } from 'nest-secure-ws';
import { eventually, startApp, type TestApp } from '../support/app.js';
import { selfSigned } from '../support/certificates.js';
import { freePort, unusedPort } from '../support/ports.js';
import { has } from '../support/programs.js';
import { RawClient, type RawOptions, upgradeHead } from '../support/raw-client.js';
import { accepts, Running } from './processes.js';

let folder: string;
let app: TestApp | undefined;
const running: Running[] = [];
const clients: RawClient[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'nest-secure-ws-'));
  mkdirSync(join(folder, 'certificates'));
  const { cert, key } = selfSigned();
  writeFileSync(join(folder, 'certificates', 'both.pem'), cert + key);
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await Promise.all(running.splice(0).map((each) => each.stop(2_000)));
  await app?.close();
  app = undefined;
  rmSync(folder, { recursive: true, force: true });
});

/** Starts a program in the folder with this configuration, and waits until it listens. */
async function startProxy(name: 'haproxy' | 'nginx', text: string, port: number): Promise<void> {
  const file = name === 'nginx' ? 'nginx.conf' : 'haproxy.cfg';
  writeFileSync(join(folder, file), text);
  const env = { PATH: `${process.env['PATH']}:/usr/sbin` };
  const args = name === 'nginx' ? ['-p', '.', '-c', file] : ['-f', file];
  const proxy = new Running(name, args, { cwd: folder, env });
  running.push(proxy);
  await Promise.race([accepts(port), proxy.exit().then(() => Promise.reject(new Error(proxy.printed)))]);
}

async function ask(options: RawOptions): Promise<unknown> {
  const client = await RawClient.connect(options);
  clients.push(client);
  const host = `localhost:${options.port}`;
  const { status } = await client.upgrade(upgradeHead(options.port, { path: '/who', headers: { Host: host } }));
  if (status !== 101) return status;
  client.send('who');
  return ((await client.json()) as { data: unknown }).data;
}

/** The text with each of these parts, which it must contain, replaced everywhere. */
const replaced = (text: string, ...changes: (readonly [from: string, to: string])[]): string =>
  changes.reduce((changed, [from, to]) => {
    expect(changed).toContain(from);
    return changed.replaceAll(from, to);
  }, text);

describe('sample/09-proxy-protocol', () => {
  beforeAll(async () => {
    await promisify(execFile)(process.execPath, ['scripts/build-samples.mjs', '09-proxy-protocol'], {
      env: { ...process.env, NODE_OPTIONS: '' },
    });
  }, 180_000);

  async function startSample(): Promise<number> {
    const port = await unusedPort();
    const cwd = resolve('sample/09-proxy-protocol');
    const sample = new Running(process.execPath, [join(cwd, 'dist/main.js')], { cwd, env: { PORT: String(port) } });
    running.push(sample);
    await sample.prints(/Listening on/);
    return port;
  }

  (has('haproxy') && has('openssl') ? it : it.skip)('reads the client address behind HAProxy', async () => {
    const [application, plain, tls] = [await startSample(), await unusedPort(), await unusedPort()];
    const text = replaced(
      readFileSync('sample/09-proxy-protocol/haproxy.cfg', 'utf8'),
      ['bind :8082', `bind 127.0.0.1:${plain}`],
      ['bind :8445', `bind 127.0.0.1:${tls}`],
      ['127.0.0.1:3010', `127.0.0.1:${application}`],
    );
    await startProxy('haproxy', text, plain);
    expect(await ask({ port: plain, localAddress: '127.0.0.5' })).toEqual({ ip: '127.0.0.5', secure: false });
    const overTls = { port: tls, localAddress: '127.0.0.6', tls: { servername: 'localhost' } };
    expect(await ask(overTls)).toEqual({ ip: '127.0.0.6', secure: true, name: 'localhost' });
    expect(await (await fetch(`http://127.0.0.1:${plain}/`)).text()).toContain('page for 127.0.0.1');
    for (const expected of [{ ip: '127.0.0.6' }, { ip: '127.0.0.6' }, 429])
      expect(await ask(overTls)).toEqual(typeof expected === 'number' ? expected : expect.objectContaining(expected));
    // Around the proxy, from its own address: the connection is reset without a header.
    await expect(fetch(`http://127.0.0.1:${application}/`)).rejects.toThrow();
    // From another address it is an ordinary client.
    expect(await ask({ port: application, localAddress: '127.0.0.9' })).toEqual({ ip: '127.0.0.9', secure: false });
  });

  (has('nginx') ? it : it.skip)('reads the client address behind nginx', async () => {
    const [application, port] = [await startSample(), await unusedPort()];
    const text = replaced(
      readFileSync('sample/09-proxy-protocol/nginx.conf', 'utf8'),
      ['listen 8083', `listen 127.0.0.1:${port}`],
      ['127.0.0.1:3010', `127.0.0.1:${application}`],
    );
    await startProxy('nginx', text, port);
    expect(await ask({ port, localAddress: '127.0.0.5' })).toEqual({ ip: '127.0.0.5', secure: false });
  });
});

describe('every kind of port', () => {
  const PROXY = '127.0.6.1';
  const pair = selfSigned();

  /** An application on HTTP or HTTPS, with gateways on dedicated ports too. */
  async function start(https: boolean) {
    const [plain, secure] = [freePort(), freePort()];
    const gateway = (...at: [] | [number, object]) => {
      const decorate =
        at.length === 0 ? SecureGateway({ path: '/who' }) : SecureGateway(at[0], { path: '/who', ...at[1] });
      @decorate
      class WhoGateway {
        @SubscribeMessage('who')
        who(socket: SecureSocket) {
          return { event: 'who', data: [socket.ip, socket.secure] };
        }
      }
      return WhoGateway;
    };
    app = await startApp({
      gateways: [gateway(), gateway(plain, {}), gateway(secure, { tls: pair })],
      options: { proxy: { trusted: [PROXY], protocol: 'any' }, listen: { host: '127.0.0.1' } },
      ...(https ? { https: pair } : {}),
    });
    return { shared: app.port, plain, secure };
  }

  (has('haproxy') && has('openssl') ? it : it.skip)(
    'reads the header of HAProxy in version 1 and 2, with TLS at the proxy or at the application',
    async () => {
      const ports = await start(true);
      const targets: [name: string, options: string, port: number, tls: 'here' | 'there' | 'none'][] = [
        ['v1-plain', 'send-proxy', ports.plain, 'none'],
        ['v2-plain', 'send-proxy-v2', ports.plain, 'none'],
        ['v2-ssl', 'send-proxy-v2-ssl', ports.plain, 'there'],
        ['v1-secure', 'send-proxy', ports.secure, 'here'],
        ['v2-secure', 'send-proxy-v2 proxy-v2-options crc32c', ports.secure, 'here'],
        ['v1-https', 'send-proxy', ports.shared, 'here'],
        ['v2-https', 'send-proxy-v2', ports.shared, 'here'],
      ];
      const fronts = await Promise.all(targets.map(() => unusedPort()));
      const sections = targets.map(
        ([name, options, port, tls], i) => `
frontend ${name}
  bind 127.0.0.1:${fronts[i]}${tls === 'there' ? ' ssl crt certificates/both.pem' : ''}
  default_backend ${name}
backend ${name}
  server one 127.0.0.1:${port} ${options} source ${PROXY} check check-send-proxy inter 50ms`,
      );
      const timeouts = ['connect', 'client', 'server'].map((of) => `\n  timeout ${of} 10s`).join('');
      await startProxy('haproxy', `defaults\n  mode tcp${timeouts}${sections.join('')}\n`, fronts[0]!);
      for (const [i, [name, , , tls]] of targets.entries()) {
        const options = { port: fronts[i]!, localAddress: `127.0.0.${20 + i}`, ...(tls === 'none' ? {} : { tls: {} }) };
        expect([name, await ask(options)]).toEqual([name, [`127.0.0.${20 + i}`, tls !== 'none']]);
      }
      // Many health checks have arrived meanwhile, and none was refused.
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(app!.stats().refused).toEqual({});
      for (const client of clients.splice(0)) client.destroy();
      await Promise.all(running.splice(0).map((each) => each.stop(2_000)));
      await eventually(() => app!.stats().pending === 0 && app!.stats().slots === 0 && app!.stats().connections === 0);
    },
  );

  (has('nginx') ? it : it.skip)('reads the header of nginx that terminates TLS or forwards it', async () => {
    const ports = await start(false);
    const fronts = await Promise.all([1, 2, 3].map(() => unusedPort()));
    const { cert, key } = pair;
    writeFileSync(join(folder, 'server.pem'), cert);
    writeFileSync(join(folder, 'server.key'), key);
    const server = (port: number, to: number, more = '') => `server {
  listen 127.0.0.1:${port}${more}; proxy_pass 127.0.0.1:${to}; proxy_bind ${PROXY}; proxy_protocol on;
  ${more === '' ? '' : 'ssl_certificate server.pem; ssl_certificate_key server.key;'} }`;
    const servers = [
      server(fronts[0]!, ports.shared),
      server(fronts[1]!, ports.secure),
      server(fronts[2]!, ports.plain, ' ssl'),
    ];
    const preamble = readFileSync('sample/09-proxy-protocol/nginx.conf', 'utf8').split('stream {')[0]!;
    await startProxy('nginx', `${preamble}stream { ${servers.join('\n')} }`, fronts[0]!);
    expect(await ask({ port: fronts[0]!, localAddress: '127.0.0.30' })).toEqual(['127.0.0.30', false]);
    expect(await ask({ port: fronts[1]!, localAddress: '127.0.0.31', tls: {} })).toEqual(['127.0.0.31', true]);
    // Version 1 does not carry whether the client uses TLS.
    expect(await ask({ port: fronts[2]!, localAddress: '127.0.0.32', tls: {} })).toEqual(['127.0.0.32', false]);
  });
});
