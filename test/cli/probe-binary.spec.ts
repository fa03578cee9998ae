import { once } from 'node:events';
import { createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import type { ProbeReport } from '../../lib/cli/probe/run.js';
import { ATTACKS } from '../../lib/cli/probe/run.js';
import { selfSigned } from '../support/certificates.js';
import { Child } from '../support/child.js';
import { runCli, runJson } from './run.js';

// Each run starts two processes and attacks for seconds; a busy machine needs longer.
jest.setTimeout(120_000);

const children: Child[] = [];
afterEach(async () => {
  await Promise.all(children.splice(0).map((child) => child.end()));
});

/** Starts a server of one kind in its own process. */
async function serve(kind: string, options: unknown = {}, host = 'localhost'): Promise<{ child: Child; url: string }> {
  const text = typeof options === 'string' ? options : JSON.stringify(options);
  const child = await Child.start('test/cli/peer-server.ts', [kind, text, ...(host === 'localhost' ? [] : [host])]);
  children.push(child);
  return { child, url: `ws://${host}:${child.ready as number}` };
}

/** Resolves when the server has no open connection. */
async function untilNothingIsOpen(child: Child): Promise<void> {
  while ((await child.ask<{ open: number }>('')).open > 0) await new Promise((resolve) => setTimeout(resolve, 20));
}

const probe = (url: string, ...args: string[]) => runJson<ProbeReport>(['probe', url, ...args]);
const ids = ({ results }: ProbeReport, verdict: string): string[] =>
  results.filter((each) => each.verdict === verdict).map(({ id }) => id);
const quick = ATTACKS.filter(({ group }) => group !== 'slow').map(({ id }) => id);
const frames = ATTACKS.filter(({ group }) => group === 'frames').map(({ id }) => id);
const of = ({ results }: ProbeReport, id: string) => results.find((each) => each.id === id);

describe('probe', () => {
  it('finds that this library resists every attack', async () => {
    const { child, url } = await serve('ours');
    const { json, code } = await runJson<ProbeReport>(['probe', url, '--quick'], { asProcess: true });
    expect([ids(json, 'held'), ids(json, 'accepted'), ids(json, 'skipped')]).toEqual([quick, [], []]);
    expect(json.server).toMatchObject({ upgrade: '101 Switching Protocols', dialect: 'plain', echoes: true });
    expect(json.server.name).toMatch(/nest-secure-ws/);
    expect(json.connections).toBeLessThanOrEqual(500);
    expect([code, json.complete, child.isAlive]).toEqual([0, true, true]);
    if (process.platform === 'linux') expect(json.server.pid).toBe(child.process.pid);
    // No connection is left open.
    await untilNothingIsOpen(child);
  });

  it('finds that slow peers are ended', async () => {
    const { child, url } = await serve('ours, impatient with HTTP', {
      http: { openTimeout: '1s' },
      messages: { assemblyTimeout: '1s' },
      keepalive: { pingInterval: '400ms', pingTimeout: '400ms', closeTimeout: '1s' },
    });
    const { json, code } = await probe(url, '--only', 'slow');
    expect([ids(json, 'accepted'), ids(json, 'skipped'), code]).toEqual([[], [], 0]);
    expect(of(json, 'silence')?.seen).toMatch(/^ended(?: with 408)? after \d+ s, by the timeout of the HTTP server$/);
    expect(of(json, 'half-head')?.seen).toMatch(/^ended with 408 after/);
    await untilNothingIsOpen(child);
  });

  it('finds the attacks that bare ws accepts, their cost, and the settings against them', async () => {
    const { url } = await serve('bare');
    const { json, code } = await probe(url, '--quick', '--only', 'head,request,origin,frames,messages,floods');
    expect(code).toBe(1);
    expect(ids(json, 'accepted')).toEqual(
      expect.arrayContaining([
        'header-count',
        'no-host',
        'two-hosts',
        'body',
        'origin',
        'origin-null',
        'big-message',
        'slow-reader',
        'message-flood',
        'pong-flood',
        'connections',
      ]),
    );
    expect(ids(json, 'held')).toEqual(
      expect.arrayContaining([...frames, 'header-line-huge', 'method', 'no-key', 'nul', 'pipelined']),
    );
    expect(of(json, 'bomb')).toMatchObject({ verdict: 'skipped', seen: 'no compression is agreed on' });
    expect(of(json, 'header-count')).toMatchObject({
      setting: 'http.maxNumHeaders',
      variable: 'WEBSOCKETS_MAX_NUM_HEADERS',
      severity: 'warning',
    });
    if (process.platform === 'linux') expect(of(json, 'slow-reader')?.cost?.memory).toBeGreaterThan(8 * 1024 * 1024);
  });

  it('finds bombs accepted with compression enabled', async () => {
    const { url } = await serve('compressing');
    const { json } = await probe(url, '--only', 'bomb');
    expect(of(json, 'bomb')).toMatchObject({ verdict: 'accepted', severity: 'error' });
  });

  it('finds that bare ws waits for slow heads, and names the attacks that need more time', async () => {
    const { url } = await serve('bare');
    const { json } = await probe(url, '--only', 'half-head,drip,no-pong', '--time', '20');
    expect(ids(json, 'accepted')).toEqual(['half-head', 'drip']);
    expect(of(json, 'half-head')?.seen).toBe('still open after 15 s');
    expect(of(json, 'no-pong')).toMatchObject({ verdict: 'skipped', seen: 'takes up to 48 s: raise --time' });
  });

  it('watches a silent connection to an HTTP port for as long as the run allows', async () => {
    const { url } = await serve('ours');
    const { json, code } = await probe(url, '--only', 'silence', '--time', '20');
    expect(of(json, 'silence')).toMatchObject({
      verdict: 'skipped',
      seen: expect.stringMatching(/^still open after \d+ s: the port serves ordinary HTTP too/),
    });
    expect(code).toBe(0);
  });

  it('attacks the stock ws adapter of Nest', async () => {
    const { url } = await serve('stock');
    const { json, code } = await probe(url, '--quick');
    expect([code, json.complete, json.server.echoes]).toEqual([1, true, true]);
    expect(ids(json, 'accepted')).toEqual(
      expect.arrayContaining(['origin', 'header-count', 'message-flood', 'slow-reader']),
    );
    expect(ids(json, 'held')).toEqual(expect.arrayContaining(frames));
  });

  it('attacks socket.io, whose path and protocol it detects', async () => {
    const { url } = await serve('socket.io');
    const { json, code } = await probe(url, '--quick');
    expect(json.server).toMatchObject({ upgrade: '101 Switching Protocols', dialect: 'socket.io', echoes: true });
    expect(json.url).toMatch(/\/socket\.io\/$/);
    expect([code, json.complete]).toEqual([1, true]);
    expect(ids(json, 'held')).toEqual(expect.arrayContaining([...frames, 'no-key', 'big-message']));
    expect(ids(json, 'accepted')).toEqual(expect.arrayContaining(['header-count', 'message-flood']));
  });

  it('reports that a server has ended, and stops', async () => {
    const { child, url } = await serve('fragile');
    const { json, code } = await probe(url, '--quick', '--only', 'frames,floods');
    expect([ids(json, 'ended'), json.complete, code]).toEqual([['unmasked'], false, 1]);
    expect(ids(json, 'held')).toEqual([]);
    if (child.isAlive) await once(child.process, 'exit');
    expect(child.process.exitCode).toBe(9);
  });

  it('runs the remaining attacks when every upgrade is refused', async () => {
    const { url } = await serve('guarded');
    const { json, code } = await probe(url, '--quick');
    expect(of(json, 'unmasked')).toMatchObject({ verdict: 'skipped', seen: 'an upgrade gets 401 Unauthorized' });
    expect(of(json, 'origin')).toMatchObject({ verdict: 'held', seen: '401 Unauthorized' });
    expect([ids(json, 'accepted'), code]).toEqual([[], 0]);
    const { stdout } = await runCli(['probe', url, '--only', 'frames']);
    expect(stdout).toMatch(/Attacks on open connections were skipped: an upgrade gets 401 Unauthorized/);
  });

  it('reports that no gateway is at a path', async () => {
    const { url } = await serve('ours');
    const { code, stdout, stderr } = await runCli(['probe', `${url}/nowhere`]);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain('an upgrade to /nowhere gets 404 Not Found: pass the path of a gateway');
  });

  it('follows no redirect', async () => {
    const other = await serve('bare');
    const { url } = await serve('redirecting', `${other.url}/`);
    const { json } = await probe(url, '--quick');
    expect(of(json, 'origin')).toMatchObject({ verdict: 'held', seen: '302 Found' });
    expect(await other.child.ask<{ connections: number }>('')).toEqual({ connections: 0, open: 0 });
  });

  it('uses no proxy of the environment', async () => {
    let reached = 0;
    const proxy = createServer((socket) => {
      reached++;
      socket.destroy();
    }).listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    const { url } = await serve('ours');
    const address = `http://127.0.0.1:${(proxy.address() as { port: number }).port}`;
    const { code } = await runCli(['probe', url, '--only', 'method'], {
      env: { HTTP_PROXY: address, http_proxy: address, ALL_PROXY: address },
    });
    proxy.close();
    expect([code, reached]).toEqual([0, 0]);
  });

  it('stops at Ctrl-C, prints its results so far, and leaves nothing open', async () => {
    const { child, url } = await serve('bare');
    const { json, code, stderr } = await runJson<ProbeReport>(['probe', url, '--only', 'origin,slow'], {
      onStart: async (run) => {
        // The canary connection and five slow ones: the run is under way.
        while ((await child.ask<{ open: number }>('')).open < 6)
          await new Promise((resolve) => setTimeout(resolve, 50));
        run.kill('SIGINT');
      },
    });
    expect([code, json.complete, stderr]).toEqual([2, false, '']);
    expect(json.results.length).toBeGreaterThan(0);
    expect(of(json, 'no-pong')).toMatchObject({ verdict: 'skipped', seen: 'stopped' });
    await untilNothingIsOpen(child);
  });

  it('connects with TLS to any certificate of this machine', async () => {
    const { url } = await serve('secure', selfSigned());
    const { json } = await probe(url.replace('ws:', 'wss:'), '--quick', '--only', 'frames,half-head,resets');
    expect(json.url).toMatch(/^wss:/);
    expect(ids(json, 'held')).toEqual(['resets', ...frames]);
  });

  const outer = Object.values(networkInterfaces())
    .flatMap((each) => each ?? [])
    .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
  (outer === undefined ? it.skip : it)(
    'attacks a server at a non-loopback address that has the token, and no other',
    async () => {
      const token = 'token-of-the-test-0123456789abcdef';
      const { url } = await serve('ours', { probe: { token } }, outer);
      const args = ['probe', url, '--only', 'method'];
      for (const env of [{}, { WEBSOCKETS_PROBE_TOKEN: `${token}x` }]) {
        const { code, stdout, stderr } = await runCli(args, { env: env as Record<string, string> });
        expect([code, stdout]).toEqual([2, '']);
        expect(stderr).toMatch(/is not this machine|has not proved its consent/);
        expect(stderr).not.toContain(token);
      }
      const { json, code } = await runJson<ProbeReport>(args, { env: { WEBSOCKETS_PROBE_TOKEN: token } });
      expect([ids(json, 'held'), json.address, json.server.pid, code]).toEqual([['method'], outer, undefined, 0]);
    },
  );

  it('prints readable text', async () => {
    const { url } = await serve('bare');
    const { stdout, stderr, code } = await runCli(['probe', url, '--only', 'origin,method,header-count']);
    expect([code, stderr]).toEqual([1, '']);
    expect(stdout).not.toContain('\u001b');
    expect(stdout).toMatch(/^ {2}ACCEPTED {6}header-count {3}101: the connection is open$/m);
    expect(stdout).toMatch(/^ {2}WEBSOCKETS_ALLOWED_ORIGINS {2}connections\.allowedOrigins$/m);
    expect(stdout).toMatch(/1 held, 5 accepted, 0 skipped; \d+ connections, 1 MiB, \d+ s\.\n$/);
  });

  it('refuses to attack any other machine', async () => {
    for (const [url, words] of [
      ['ws://0.0.0.0:80/', /not the address of a single server/],
      ['ws://127.0.0.1:1/', /cannot connect to 127\.0\.0\.1:1 \(127\.0\.0\.1: ECONNREFUSED\)/],
    ] as const) {
      const { code, stdout, stderr } = await runCli(['probe', url, '--time', '5']);
      expect([url, code, stdout]).toEqual([url, 2, '']);
      expect(stderr).toMatch(words);
    }
  });
});
