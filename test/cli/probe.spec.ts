import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Arena } from '../../lib/cli/probe/arena.js';
import { Budget, BudgetExceeded, LIMITS } from '../../lib/cli/probe/budget.js';
import { parseHeaders } from '../../lib/cli/probe/command.js';
import { chooseTarget, requireConsent } from '../../lib/cli/probe/consent.js';
import { type Frame, FrameReader, frame, repeated } from '../../lib/cli/probe/frames.js';
import { Peer } from '../../lib/cli/probe/peer.js';
import { ATTACKS, checkOnly, hasFindings, type ProbeReport } from '../../lib/cli/probe/run.js';
import { findListener, type ProcessReader, usageOf } from '../../lib/cli/probe/server-process.js';
import { kindOf, parseProbeUrl, resolveAddresses, type Target } from '../../lib/cli/probe/target.js';
import { PATHS } from '../../lib/config/rows.js';
import { probeProof } from '../../lib/http/probe-consent.js';

const TOKEN = 'token-of-the-test-0123456789abcdef';
const forever = new AbortController().signal;

describe('the target of a probe', () => {
  it.each([
    ['ws://localhost:3000/chat?a=b', 'localhost', 3000, false, '/chat?a=b', 'localhost:3000'],
    ['localhost:3000', 'localhost', 3000, false, '/', 'localhost:3000'],
    ['wss://app.example', 'app.example', 443, true, '/', 'app.example'],
    ['http://app.example:80/x#y', 'app.example', 80, false, '/x', 'app.example'],
    ['ws://[::1]:81/', '::1', 81, false, '/', '[::1]:81'],
    // The URL standard accepts one address in many notations.
    ['ws://2130706433/', '127.0.0.1', 80, false, '/', '127.0.0.1'],
    ['ws://0x7f.1/', '127.0.0.1', 80, false, '/', '127.0.0.1'],
    ['ws://0/', '0.0.0.0', 80, false, '/', '0.0.0.0'],
    // Hosts that only look local.
    ['ws://evil.invalid#@127.0.0.1/', 'evil.invalid', 80, false, '/', 'evil.invalid'],
    ['ws://127.0.0.1.evil.invalid/', '127.0.0.1.evil.invalid', 80, false, '/', '127.0.0.1.evil.invalid'],
  ])('parses %s', (text, host, port, tls, path, authority) => {
    expect(parseProbeUrl(text)).toEqual({ host, port, tls, path, authority });
  });

  it.each([
    ['ws://127.0.0.1@evil.invalid/', /credentials/],
    ['ws://user:pass@localhost/', /credentials/],
    ['file:///etc/passwd', /not supported/],
    ['ws+unix:///tmp/x', /not supported|not a URL/],
    ['ws://', /not a URL/],
    ['ws://a b/', /not a URL/],
    ['ws://localhost:99999/', /not a URL/],
  ])('refuses %s', (text, words) => expect(() => parseProbeUrl(text)).toThrow(words));

  it.each([
    ['127.0.0.1', 'loopback'],
    ['127.255.0.3', 'loopback'],
    ['::1', 'loopback'],
    ['::ffff:127.0.0.1', 'loopback'],
    ['::ffff:7f00:1', 'loopback'],
    ['8.8.8.8', 'remote'],
    ['10.0.0.1', 'remote'],
    ['169.254.169.254', 'remote'],
    ['::ffff:8.8.8.8', 'remote'],
    ['fe80::1', 'remote'],
    // Gateways translate these addresses, so they leave the machine.
    ['64:ff9b::7f00:1', 'remote'],
    ['2002:7f00:1::', 'remote'],
    ['::7f00:1', 'remote'],
    ['0.0.0.0', 'none'],
    ['::', 'none'],
    ['::ffff:0.0.0.0', 'none'],
    ['224.0.0.1', 'none'],
    ['ff02::1', 'none'],
    ['255.255.255.255', 'none'],
    ['localhost', 'none'],
    ['', 'none'],
  ])('classifies %s as %s', (address, kind) => expect(kindOf(address)).toBe(kind));

  const resolved = (...addresses: string[]) =>
    resolveAddresses(parseProbeUrl('ws://name.invalid/'), async () => addresses);

  it('counts as this machine only when every address of its name does', async () => {
    expect(await resolved('::1', '127.0.0.1')).toEqual({ addresses: ['::1', '127.0.0.1'], isLoopback: true });
    expect(await resolved('192.0.2.1', '192.0.2.2')).toMatchObject({ isLoopback: false });
    for (const mixed of [
      ['127.0.0.1', '192.0.2.1'],
      ['192.0.2.1', '127.0.0.1'],
      ['::1', '::ffff:192.0.2.1'],
      ['127.0.0.1', '64:ff9b::7f00:1'],
    ])
      await expect(resolved(...mixed)).rejects.toThrow(/resolves to this machine and to others/);
    for (const none of [['0.0.0.0'], ['127.0.0.1', '0.0.0.0'], ['::'], ['ff02::1']])
      await expect(resolved(...none)).rejects.toThrow(/not the address of a single server/);
    await expect(resolved()).rejects.toThrow(/no address/);
    await expect(resolveAddresses(parseProbeUrl('ws://name.invalid/'))).rejects.toThrow(/cannot be resolved: E/);
  });
});

describe('the limits of a run', () => {
  it('bound its time, connections and bytes, whatever is requested', () => {
    let now = 0;
    const budget = new Budget(10 ** 9, forever, () => now);
    expect(budget.left).toBe(60_000);
    for (let i = 0; i < LIMITS.connections; i++) budget.connection();
    expect(() => budget.connection()).toThrow(BudgetExceeded);
    expect(budget.connections).toBe(500);
    expect(budget.spend(LIMITS.bytes)).toBe(true);
    expect(budget.spend(1)).toBe(false);
    now = 60_000;
    const late = new Budget(1000, forever, () => now);
    now = 61_000;
    expect([late.left, late.spend(1)]).toEqual([0, false]);
    expect(() => late.connection()).toThrow('the time is over');
  });

  it('end when the run is stopped', () => {
    const stopped = new AbortController();
    const budget = new Budget(1000, stopped.signal);
    stopped.abort();
    expect([budget.left, budget.spend(1)]).toEqual([0, false]);
    expect(() => budget.connection()).toThrow('stopped');
  });

  it('suffice for the list of attacks', () => {
    expect(new Set(ATTACKS.map(({ id }) => id)).size).toBe(ATTACKS.length);
    for (const { setting, patience } of ATTACKS) {
      if (setting !== undefined) expect(PATHS).toContain(setting);
      expect(patience).toBeLessThan(LIMITS.time - 5000);
    }
    expect(() => checkOnly(['bomb', 'slow'])).not.toThrow();
    expect(() => checkOnly(['bomb', 'nonsense'])).toThrow(/no attack or group is called nonsense/);
  });

  it('count accepted attacks as findings', () => {
    const report = (verdict: string, severity: string) =>
      ({ results: [{ verdict, severity }] }) as unknown as ProbeReport;
    expect(hasFindings(report('held', 'error'), true)).toBe(false);
    expect(hasFindings(report('skipped', 'error'), true)).toBe(false);
    expect(hasFindings(report('accepted', 'warning'), false)).toBe(true);
    expect(hasFindings(report('accepted', 'note'), false)).toBe(false);
    expect(hasFindings(report('accepted', 'note'), true)).toBe(true);
    expect(hasFindings(report('ended', 'note'), false)).toBe(true);
  });

  it('allow headers of the user, except those of the handshake itself', () => {
    expect(parseHeaders(['Cookie: a=b', 'X-A: 1', 'X-A:2'])).toEqual({ Cookie: ['a=b'], 'X-A': ['1', '2'] });
    for (const line of ['Host: evil.invalid', 'host: x', 'Content-Length: 5', 'Sec-WebSocket-Key: x'])
      expect(() => parseHeaders([line])).toThrow(/cannot set/);
    for (const line of ['no colon', 'A: b\r\nHost: evil', 'A b: c', 'Cookie canary'])
      expect(() => parseHeaders([line])).toThrow(/expects 'Name: value'/);
  });
});

describe('probe frames', () => {
  it('are written as told, and read in chunks', () => {
    expect(frame('hi', { masked: false })).toEqual(Buffer.from([0x81, 2, 0x68, 0x69]));
    expect(frame('', { masked: false, opcode: 3, rsv: 5, fin: false })).toEqual(Buffer.from([0x53, 0]));
    expect(frame('', { masked: false, length: 1n << 63n })).toEqual(
      Buffer.from([0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]),
    );
    expect(frame('x')).toHaveLength(7);
    expect(repeated(Buffer.from('ab'), 3).toString()).toBe('ababab');
    const sizes = [0, 1, 125, 126, 65_535, 65_536, 300_000];
    const bytes = Buffer.concat(sizes.map((size) => frame('a'.repeat(size), { masked: false })));
    for (const step of [1000, 4096, bytes.length]) {
      const seen: Frame[] = [];
      const reader = new FrameReader((each) => seen.push(each));
      for (let at = 0; at < bytes.length; at += step) reader.push(bytes.subarray(at, at + step));
      // Of a long frame only the beginning is kept.
      expect(seen.map(({ payload }) => payload.length)).toEqual(sizes.map((size) => Math.min(size, 65_536)));
    }
  });
});

describe('findListener and usageOf', () => {
  const TCP = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 0100007F:0BB9 0100007F:0BB8 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0\n`;
  const reader: ProcessReader = {
    read: (path) =>
      ({
        '/proc/net/tcp': TCP,
        '/proc/42/stat': '42 (a (strange) name) S 1 42 42 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 11 0 1 1 9 1',
        '/proc/42/status': 'Name:\tnode\nVmRSS:\t   2048 kB\n',
        '/proc/43/stat': '43 (node) Z 1 42 42 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 11 0 1 1 9 1',
      })[path],
    list: (path) => ({ '/proc': ['1', 'self', '42'], '/proc/1/fd': ['0'], '/proc/42/fd': ['0', '21'] })[path] ?? [],
    link: (path) => (path === '/proc/42/fd/21' ? 'socket:[4711]' : 'socket:[1]'),
  };

  it("find the server's process by its port, and read its usage", () => {
    expect(findListener(3000, reader)).toBe(42);
    // A client's connection is not a listener.
    expect(findListener(3001, reader)).toBeUndefined();
    expect(usageOf(42, reader)).toEqual({ cpu: 3, memory: 2048 * 1024 });
    expect([usageOf(43, reader), usageOf(44, reader)]).toEqual([undefined, undefined]);
  });
});

const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
});

interface Recorded {
  readonly port: number;
  /** The bytes sent by each connection. */
  readonly said: string[];
}

/** A raw server that answers each head and records everything. */
async function recorder(answer: (head: string) => string, host = '127.0.0.1'): Promise<Recorded> {
  const said: string[] = [];
  const server = createServer((socket: Socket) => {
    const at = said.push('') - 1;
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      said[at] += chunk.toString('latin1');
      if (said[at]!.includes('\r\n\r\n')) socket.end(answer(said[at]!));
    });
    socket.on('end', () => socket.end());
  }).listen(0, host);
  servers.push(server);
  await once(server, 'listening');
  return { port: (server.address() as { port: number }).port, said };
}

const REFUSED = 'HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 0\r\n';
const nonceOf = (head: string): string => /^nest-secure-ws-probe: (.*)\r$/im.exec(head)?.[1] ?? '';

/** A loopback target that claims to be another machine: the decisions do not depend on its address. */
const remote = (port: number, more: Partial<Target> = {}): Target => ({
  ...parseProbeUrl(`ws://127.0.0.1:${port}/`),
  address: '127.0.0.1',
  isLoopback: false,
  verify: true,
  ...more,
});
const arenaOf = (target: Target): Arena => new Arena(target, new Budget(10_000, forever), {}, '$DATA');

describe('a server on another machine', () => {
  it('is attacked when it proves that it has the token', async () => {
    const { port, said } = await recorder(
      (head) => `${REFUSED}Nest-Secure-Ws-Probe: ${probeProof(TOKEN, nonceOf(head))}\r\n\r\n`,
    );
    await requireConsent(arenaOf(remote(port)), TOKEN);
    await requireConsent(arenaOf(remote(port)), TOKEN);
    const nonces = said.map(nonceOf);
    expect(new Set(nonces).size).toBe(2);
    for (const nonce of nonces) expect(nonce).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect(said.join()).not.toContain(TOKEN);
  });

  it.each([
    ['sends no proof', () => `${REFUSED}\r\n`],
    ['repeats the nonce', (head: string) => `${REFUSED}Nest-Secure-Ws-Probe: ${nonceOf(head)}\r\n\r\n`],
    [
      'has another token',
      (head: string) => `${REFUSED}Nest-Secure-Ws-Probe: ${probeProof(`${TOKEN}x`, nonceOf(head))}\r\n\r\n`,
    ],
    [
      'has a proof of another run',
      () => `${REFUSED}Nest-Secure-Ws-Probe: ${probeProof(TOKEN, 'A'.repeat(43))}\r\n\r\n`,
    ],
    [
      'sends the proof in the body',
      (head: string) => `${REFUSED}\r\nNest-Secure-Ws-Probe: ${probeProof(TOKEN, nonceOf(head))}\r\n\r\n`,
    ],
    ['answers without HTTP', () => 'hello\r\n\r\n'],
    ['closes the connection', () => ''],
  ])('gets one request and no attack when it %s', async (_, answer) => {
    const { port, said } = await recorder(answer);
    await expect(requireConsent(arenaOf(remote(port)), TOKEN)).rejects.toThrow(/has not proved its consent/);
    expect(said).toHaveLength(1);
    expect(said[0]!.length).toBeLessThan(400);
  });

  it('gets no request without a token', async () => {
    const { port, said } = await recorder(() => REFUSED);
    await expect(requireConsent(arenaOf(remote(port)), undefined)).rejects.toThrow(/is not this machine/);
    expect(said).toEqual([]);
  });

  it('is not followed to a redirect, whose target gets no request', async () => {
    const other = await recorder(
      (head) => `${REFUSED}Nest-Secure-Ws-Probe: ${probeProof(TOKEN, nonceOf(head))}\r\n\r\n`,
    );
    const { port } = await recorder(
      () => `HTTP/1.1 307 Temporary Redirect\r\nLocation: ws://127.0.0.1:${other.port}/\r\n\r\n`,
    );
    await expect(requireConsent(arenaOf(remote(port)), TOKEN)).rejects.toThrow(/redirects are not followed/);
    expect(other.said).toEqual([]);
  });
});

describe('the address of a run', () => {
  it('is looked up once: a name that resolves differently later has no effect', async () => {
    const mine = await recorder(() => `${REFUSED}\r\n`, '127.0.0.1');
    // The same port of another address, where the name points from the second lookup on.
    const others = createServer((socket) => socket.destroy()).listen(mine.port, '127.0.0.2');
    servers.push(others);
    await once(others, 'listening');
    let reached = 0;
    others.on('connection', () => reached++);
    let lookups = 0;
    const resolver = async () => (lookups++ === 0 ? ['127.0.0.1'] : ['127.0.0.2']);
    const target = await chooseTarget(parseProbeUrl(`ws://rebinding.invalid:${mine.port}/`), {
      verify: true,
      signal: forever,
      resolver,
    });
    const arena = arenaOf(target);
    for (let i = 0; i < 5; i++) expect(await arena.refuses(arena.head(), 2000)).toMatchObject({ verdict: 'held' });
    expect([lookups, reached, target.address]).toEqual([1, 0, '127.0.0.1']);
    expect(mine.said.filter((head) => head.includes('Host: rebinding.invalid')).length).toBe(5);
  });

  it('is the first of several that accepts a connection', async () => {
    const { port } = await recorder(() => REFUSED, '127.0.0.3');
    const resolver = async () => ['127.0.0.2', '127.0.0.3'];
    const url = parseProbeUrl(`ws://several.invalid:${port}/`);
    expect(await chooseTarget(url, { verify: true, signal: forever, resolver })).toMatchObject({
      address: '127.0.0.3',
      isLoopback: true,
    });
    await expect(
      chooseTarget(url, { verify: true, signal: forever, resolver: async () => ['127.0.0.2'] }),
    ).rejects.toThrow(/cannot connect to several\.invalid:\d+ \(127\.0\.0\.2: ECONNREFUSED\)/);
  });

  const own = Object.values(networkInterfaces())
    .flatMap((each) => each ?? [])
    .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
  (own === undefined ? it.skip : it)('needs consent even if it is an external address of this machine', async () => {
    const { port, said } = await recorder(() => REFUSED, own);
    const target = await chooseTarget(parseProbeUrl(`ws://${own}:${port}/`), { verify: true, signal: forever });
    expect(target.isLoopback).toBe(false);
    await expect(requireConsent(arenaOf(target), undefined)).rejects.toThrow(/is not this machine/);
    expect(said.join('')).toBe('');
  });

  it('is checked again after connecting', async () => {
    // A target that claims to be this machine and is not: nothing is sent.
    const { port, said } = await recorder(() => REFUSED, own ?? '127.0.0.1');
    const target = { ...remote(port), address: own ?? '127.0.0.1', isLoopback: true };
    const opening = Peer.open(target, new Budget(5000, forever));
    if (own === undefined) (await opening).destroy();
    else await expect(opening).rejects.toThrow(/not to this machine/);
    expect(said.join('')).toBe('');
  });
});
