import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, it, jest } from '@jest/globals';
import type { DoctorReport } from '../../lib/cli/doctor/examine.js';
import { accepts } from '../samples/processes.js';
import { issue } from '../support/certificates.js';
import { unusedPort } from '../support/ports.js';
import { has } from '../support/programs.js';
import { runCli, runJson } from './run.js';

jest.setTimeout(120_000);

const folder = mkdtempSync(join(tmpdir(), 'nest-secure-ws-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A working directory with a `.env` of these lines. */
function directory(name: string, ...lines: string[]): string {
  const path = join(folder, name);
  mkdirSync(path);
  writeFileSync(join(path, '.env'), `${lines.join('\n')}\n`);
  return path;
}

const doctor = (args: readonly string[], options: Parameters<typeof runJson>[1]) =>
  runJson<DoctorReport>(['doctor', ...args], options);
/** The check of Node's end of life depends on the machine, not on the deployment. */
const found = ({ findings }: DoctorReport) =>
  findings.filter(({ check }) => check !== 'node').map(({ check, severity }) => `${severity} ${check}`);
const setting = ({ settings }: DoctorReport, path: string, gateway?: string) =>
  settings.find((each) => each.path === path && each.gateway === gateway);

describe('doctor on the environment', () => {
  it('finds nothing in a good environment', async () => {
    const cwd = directory(
      'good',
      'NODE_ENV=production',
      'WEBSOCKETS_TRUSTED_PROXIES=10.0.0.0/8',
      'WEBSOCKETS_REQUIRE_TLS=true',
      'WEBSOCKETS_ALLOWED_ORIGINS=https://app.example',
      'WEBSOCKETS_MAX_CONNECTIONS=500',
      'WEBSOCKETS_MAX_PENDING=100',
    );
    const { json, stderr } = await doctor([], { cwd, asProcess: true });
    expect([found(json), stderr]).toEqual([[], '']);
    expect(json.schema).toBe('nest-secure-ws/doctor/1');
    expect(setting(json, 'connections.max')).toEqual({
      path: 'connections.max',
      variable: 'WEBSOCKETS_MAX_CONNECTIONS',
      value: 500,
      text: '500',
      secret: false,
      source: '.env',
    });
    expect(setting(json, 'messages.maxSize')).toMatchObject({ source: 'default', value: 1_048_576 });
  });

  it('reports every problem at once, with its source', async () => {
    const cwd = directory(
      'bad',
      'WEBSOCKETS_MAX_SIZE=huge',
      'WEBSOCKETS_MAX_SIZ=1',
      'WEBSOCKETS_ALLOWED_ORIGINS=*',
      'WEBSOCKETS_MAX_CONNECTIONS_PER_IP=20000',
    );
    const { json, code } = await doctor([], {
      cwd,
      env: { WEBSOCKETS_TRUSTED_PROXIES: '0.0.0.0/0', WEB_CONCURRENCY: '3' },
    });
    expect(found(json)).toEqual(
      expect.arrayContaining([
        'error settings',
        'warning settings',
        'error trusted-proxies',
        'warning origins',
        'warning workers',
      ]),
    );
    expect(code).toBe(1);
    expect(setting(json, 'proxy.trusted')?.source).toBe('environment');
    expect(setting(json, 'connections.allowedOrigins')?.source).toBe('.env');
  });

  it('reads another file, and checks as for production', async () => {
    const cwd = directory('files', 'WEBSOCKETS_MAX_SIZE=1kb');
    writeFileSync(join(cwd, '.env.production'), 'WEBSOCKETS_MAX_SIZE=2kb\n');
    const { json } = await doctor(['--env-file', '.env.production', '--production'], { cwd });
    expect(setting(json, 'messages.maxSize')).toMatchObject({ value: 2048, source: '.env.production' });
    expect(json.findings.map(({ what }) => what).join()).toContain('WEBSOCKETS_REQUIRE_TLS) must be set');
  });

  it('reads certificates', async () => {
    const path = (name: string) => join(folder, 'tls', name);
    const cwd = directory('tls', `WEBSOCKETS_TLS_CERT=${path('cert.pem')}`, `WEBSOCKETS_TLS_KEY=${path('key.pem')}`);
    const { cert, key } = issue('localhost');
    writeFileSync(join(cwd, 'cert.pem'), cert);
    writeFileSync(join(cwd, 'key.pem'), key, { mode: 0o600 });
    const { json } = await doctor([], { cwd });
    // The certificate of the test is valid for two days, and self-signed.
    expect(found(json)).toEqual(['error certificates', 'warning certificates']);
    chmodSync(join(cwd, 'key.pem'), 0o644);
    const open = await doctor([], { cwd });
    expect(found(open.json)).toContain('warning key-file');
    expect(open.stdout).not.toContain('PRIVATE KEY');
    writeFileSync(join(cwd, 'key.pem'), issue('other').key);
    const { json: mismatch } = await doctor([], { cwd });
    expect(found(mismatch)).toContain('error settings');
  });

  it('reads the limits of its own process', async () => {
    const cwd = directory('limits');
    const script = `ulimit -n 300 && exec "$0" "$@"`;
    const entry =
      process.env['DIST'] === '1'
        ? [resolve('bin/nest-secure-ws.js')]
        : ['--import', `file://${resolve('test/support/typescript.mjs')}`, resolve('bin/nest-secure-ws.js')];
    const output = spawnedOutput('sh', ['-c', script, process.execPath, ...entry, 'doctor', '--json'], cwd);
    const report = JSON.parse(output) as DoctorReport;
    expect(report.findings.find(({ check }) => check === 'descriptors')?.what).toContain('may have 300');
  });

  it('prints without escapes outside a terminal, with the lines to set and a summary line', async () => {
    const cwd = directory('people', 'WEBSOCKETS_ALLOWED_ORIGINS=*', 'WEBSOCKETS_SERVER=a\u001b[2Jb');
    const { stdout, code } = await runCli(['doctor'], { cwd });
    expect(stdout).not.toContain('\u001b');
    expect(stdout).toMatch(/^WARNING origins\n {2}connections\.allowedOrigins contains \*/m);
    expect(stdout).toMatch(/^ {4}WEBSOCKETS_ALLOWED_ORIGINS=https:\/\/app\.example$/m);
    expect(stdout).toMatch(/\d+ checks passed\.\n$/);
    expect(code).toBe(1);
  });

  it('prints no secret', async () => {
    const secret = 'canary-0123456789abcdef0123456789abcdef';
    const cwd = directory(
      'secret',
      `WEBSOCKETS_CLUSTER_URL=redis://user:${secret}@127.0.0.1:1/0`,
      `WEBSOCKETS_CLUSTER_SECRET=${secret}`,
      `WEBSOCKETS_PROBE_TOKEN=${secret}`,
      `DATABASE_URL=${secret}`,
    );
    for (const args of [['doctor'], ['doctor', '--json']]) {
      const { stdout, stderr } = await runCli(args, { cwd });
      expect(`${stdout}${stderr}`).toContain('127.0.0.1:1');
      expect(`${stdout}${stderr}`).not.toContain('canary');
    }
  });

  it('explains why it cannot run, and exits with 2', async () => {
    const cwd = directory('cannot');
    for (const [args, words] of [
      [['doctor', '--app', 'missing.js'], /no such file; build the application first/],
      [['doctor', '--pid', '0'], /expected a whole number of at least 1/],
      [['doctor', '--nonsense'], /unknown option '--nonsense'/],
      [['nonsense'], /unknown command 'nonsense'/],
      [[], /Usage: nest-secure-ws/],
    ] as const) {
      const { code, stderr, stdout } = await runCli(args, { cwd });
      expect([code, stdout]).toEqual([2, '']);
      expect(stderr).toMatch(words);
    }
    const { code, stderr } = await runCli(['doctor', '--env-file', 'missing'], { cwd });
    // As a process: Node 20 takes --env-file after the script for its own, and exits with 9 when the file is missing.
    expect([2, 9]).toContain(code);
    expect(stderr).toMatch(/missing cannot be read: ENOENT|missing: not found/);
    const help = await runCli(['doctor', '--help'], { cwd });
    expect([help.code, help.stderr]).toEqual([0, '']);
    expect(help.stdout).toMatch(/Examples:\n {2}npx nest-secure-ws doctor/);
  });
});

/** The output of a command, whatever its exit code. */
function spawnedOutput(command: string, args: readonly string[], cwd: string): string {
  try {
    return execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch (error) {
    return (error as { stdout: string }).stdout;
  }
}

const app = (name: string): string => resolve('test/cli/apps', `${name}.app.ts`);

/** These applications are TypeScript, which only the executable over the sources can load. */
(process.env['DIST'] === '1' ? describe.skip : describe)('doctor on an application', () => {
  it('reads options in code and of gateways, runs no hook, and leaves nothing behind', async () => {
    const cwd = directory('app', 'WEBSOCKETS_MAX_FRAGMENTS=33');
    const { json, stdout, stderr, code } = await doctor(['--app', app('chat')], { cwd });
    expect(found(json)).toEqual(['warning origins']);
    expect(json.findings[0]).toMatchObject({ where: 'gateway /chat' });
    expect(code).toBe(1);
    expect(setting(json, 'connections.maxPerIp')).toMatchObject({ value: 7, source: 'options' });
    expect(setting(json, 'messages.maxFragments')).toMatchObject({ value: 33, source: '.env' });
    expect(setting(json, 'messages.maxSize', '/chat')).toMatchObject({ value: 2048, source: 'gateway' });
    expect(`${stdout}${stderr}`).not.toContain('canary');
  });

  it('checks its ports as for production', async () => {
    const cwd = directory('app-production');
    const { json } = await doctor(['--app', app('chat'), '--production'], {
      cwd,
      env: { WEBSOCKETS_REQUIRE_TLS: 'false' },
    });
    expect(json.findings.find(({ check }) => check === 'plaintext')?.what).toContain('/plain at port 18443');
    const { json: unchosen } = await doctor(['--app', app('chat'), '--production'], { cwd });
    expect(unchosen.findings[0]?.what).toContain('must be set');
    const { json: https } = await doctor(['--app', app('chat'), '--production', '--https'], { cwd });
    expect(found(https)).not.toContain('error settings');
  });

  it('reports what would stop its start', async () => {
    const { json, code } = await doctor(['--app', app('broken')], { cwd: directory('app-broken') });
    expect(json.findings.filter(({ check }) => check === 'settings').map(({ what }) => what)).toEqual([
      expect.stringContaining("unknown option 'maxPayload'"),
      expect.stringContaining('messages.maxSize (WEBSOCKETS_MAX_SIZE): "huge" is not a size'),
    ]);
    expect(code).toBe(1);
  });

  it('opens no port, even if the application does', async () => {
    const port = await unusedPort();
    let seen = false;
    const look = setInterval(() => {
      const socket = connect(port, '127.0.0.1', () => {
        seen = true;
        socket.destroy();
      });
      socket.on('error', () => undefined);
    }, 10);
    const { code, stderr } = await runCli(['doctor', '--app', app('listening')], {
      cwd: directory('app-listening'),
      env: { PORT: String(port) },
    });
    clearInterval(look);
    expect([code, seen]).toEqual([2, false]);
    expect(stderr).toContain('doctor opens no port');
  });

  it('explains why the application cannot be constructed, without its secrets', async () => {
    const { code, stderr } = await runCli(['doctor', '--app', app('failing')], { cwd: directory('app-failing') });
    expect([code, stderr.includes('canary')]).toEqual([2, false]);
    expect(stderr).toContain('cannot reach postgres://…@db/prod');
    const none = await runCli(['doctor', '--app', resolve('test/cli/run.ts')], { cwd: directory('app-none') });
    expect([none.code, none.stderr.includes('exports no Nest module')]).toEqual([2, true]);
  });
});

(has('redis-server') ? describe : describe.skip)('doctor on Redis', () => {
  it('reads its version, policy, latency and clock, and reports when it is gone', async () => {
    const port = await unusedPort();
    const policy = ['--maxmemory', '64mb', '--maxmemory-policy', 'allkeys-lru', '--requirepass', 'canary-password'];
    const server = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', '', ...policy], {
      stdio: 'ignore',
    });
    const ended = once(server, 'exit');
    const cwd = directory('redis', `WEBSOCKETS_CLUSTER_URL=redis://:canary-password@127.0.0.1:${port}`);
    try {
      await accepts(port);
      const { json, stdout } = await doctor(['--workers', '4'], { cwd });
      expect(json.findings.filter(({ check }) => check === 'redis').map(({ what }) => what)).toEqual([
        'maxmemory is 64 MiB with maxmemory-policy allkeys-lru.',
      ]);
      expect(found(json)).not.toContain('warning workers');
      expect(stdout).not.toContain('canary');
    } finally {
      server.kill('SIGKILL');
      await ended;
    }
    const { json } = await doctor([], { cwd });
    expect(json.findings.find(({ check }) => check === 'redis')?.what).toMatch(/cannot be queried/);
  });

  it('does not wait for a Redis that does not answer', async () => {
    // A socket that is not read would never learn that its peer has left, and keep this process alive.
    const silent = createServer((socket) => socket.on('error', () => undefined).resume()).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as { port: number };
    const cwd = directory('redis-silent', `WEBSOCKETS_CLUSTER_URL=redis://127.0.0.1:${port}`);
    const { json } = await doctor([], { cwd });
    await new Promise((resolve) => silent.close(resolve));
    expect(json.findings.find(({ check }) => check === 'redis')?.what).toMatch(/cannot be queried/);
  });
});
