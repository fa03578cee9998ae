import dns from 'node:dns';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { SecureWsOptions } from 'nest-secure-ws';
import { eventually } from '../../support/app.js';
import { clientHello } from '../../support/certificates.js';
import { Child } from '../../support/child.js';
import { freePort } from '../../support/ports.js';
import { RawClient, upgradeHead } from '../../support/raw-client.js';
import { passUntil, restoreTime, stopTime } from '../../support/stopped-time.js';
import { type ManualClock, sleep } from '../../support/time.js';
import { LISTENERS, type OpenOptions, open, type RunningSetup, SETUPS } from './setups.js';

const HALF = 'GET / HTTP/1.1\r\nUpgrade: websocket\r\nHost: a\r\nX-A: ';
const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
const NEVER = () => new Promise<never>(() => undefined);

let places: RunningSetup[] = [];
async function openHere(setup: Parameters<typeof open>[0], options: OpenOptions = {}): Promise<RunningSetup> {
  const place = await open(setup, options);
  places.push(place);
  return place;
}
afterEach(async () => {
  for (const place of places) await place.close();
  places = [];
  restoreTime();
});

/** A TCP connection without TLS. */
const bare = (port: number, localAddress?: string) =>
  RawClient.connect({ port, ...(localAddress === undefined ? {} : { localAddress }) });

/** The bytes read from each TCP connection of a server, once it has ended. */
function bytesReadOf(server: object): number[] {
  const read: number[] = [];
  const handle = (server as { _handle: { onconnection(error: number, client: TcpHandle): void } })._handle;
  const accept = handle.onconnection;
  handle.onconnection = function (error, client) {
    const { close } = client;
    client.close = function (...then) {
      read.push(client.bytesRead);
      close.apply(this, then);
    };
    accept.call(this, error, client);
  };
  return read;
}

interface TcpHandle {
  readonly bytesRead: number;
  close(...then: unknown[]): void;
}

describe.each(LISTENERS)('openTimeout: $name', (setup) => {
  const options: SecureWsOptions = { http: { openTimeout: 3000 } };
  let clock: ManualClock;
  beforeEach(() => {
    clock = stopTime();
  });

  it('closes silent connections, and answers incomplete heads with 408', async () => {
    const place = await openHere(setup, { options });
    const silent = await bare(place.port);
    const half = await place.connect();
    half.write(HALF);
    const dripping = await place.connect();
    dripping.write(HALF);
    await passUntil(clock, () => {
      dripping.write('x');
      return half.ended && dripping.ended && (silent.ended || !setup.own);
    });
    for (const client of [half, dripping]) expect((await client.response()).status).toBe(408);
    // On a shared port it is Node's, whose timeouts are longer.
    if (!setup.own) expect(silent.closed).toBe(false);
    expect(silent.total).toBe(0);
    for (const client of [silent, half, dripping]) client.destroy();
    await eventually(() => place.isEmpty);
  });

  it('answers a complete head whose guard never decides with 503', async () => {
    let asked = 0;
    const place = await openHere(setup, { options: { ...options, guards: [() => ++asked > 0 && NEVER()] } });
    const answer = place.ask(upgradeHead(place.port));
    await eventually(() => asked === 1);
    clock.pass(3500);
    expect((await answer).status).toBe(503);
    await eventually(() => place.isEmpty);
  });

  if (setup.tls && setup.own)
    it('includes the TLS handshake on a dedicated port', async () => {
      const place = await openHere(setup, { options });
      const stalled = await bare(place.port);
      stalled.write((await clientHello()).subarray(0, 100));
      const afterwards = await place.connect();
      for (const client of [stalled, afterwards]) {
        await passUntil(clock, () => client.ended || client.closed);
        expect(client.total).toBe(0);
        client.destroy();
      }
      await eventually(() => place.isEmpty);
    });

  if (!setup.tls || setup.own)
    it('applies to thousands of connections with one timer, while others are served', async () => {
      const place = await openHere(setup, { options });
      const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
      const before = timers();
      const crowd: RawClient[] = [];
      const count = setup.tls ? 300 : setup.own ? 2000 : 1000;
      for (let i = 0; i < count; i += 100)
        crowd.push(...(await Promise.all(Array.from({ length: 100 }, (_, j) => bare(place.port, `127.0.1.${j + 1}`)))));
      for (const client of crowd) if (!setup.tls) client.write(setup.own ? 'G' : HALF);
      await eventually(() => place.test.stats().pending > count / 2);
      if (!setup.tls) expect(timers() - before).toBeLessThan(20);
      expect(clock.running).toBeLessThan(20);
      expect((await place.ask(upgradeHead(place.port))).status).toBe(101);
      clock.pass(3500);
      for (const client of crowd) await client.untilClosed();
      await passUntil(clock, () => place.isEmpty);
      for (const client of crowd) client.destroy();
    });
});

describe.each(LISTENERS)('a refusal: $name', (setup) => {
  const wrong = (port: number) => upgradeHead(port, { headers: { 'Sec-WebSocket-Version': '8' } });

  it('is final: later bytes are not parsed, and the connection ends whatever the peer does', async () => {
    const place = await openHere(setup);
    const together = await place.connect();
    expect((await together.upgrade(`${wrong(place.port)}${GET}${upgradeHead(place.port)}`)).status).toBe(426);
    const later = await place.connect();
    expect((await later.upgrade(wrong(place.port))).status).toBe(426);
    later.write(`${GET}${upgradeHead(place.port)}`);
    const deaf = await place.connect();
    deaf.socket.pause();
    deaf.write(wrong(place.port));
    const endless = await place.connect();
    endless.write(wrong(place.port));
    const drip = setInterval(() => endless.write('x'), 20);
    await eventually(() => place.isEmpty);
    clearInterval(drip);
    for (const client of [together, later]) {
      await client.untilClosed();
      expect(client.received.toString()).toBe('');
    }
    for (const client of [together, later, deaf, endless]) client.destroy();
  });

  if (!setup.own)
    it('discards a bounded number of later bytes', async () => {
      const place = await openHere(setup);
      const read = bytesReadOf(place.test.app.getHttpServer());
      const client = await place.connect();
      client.write(wrong(place.port));
      client.write(Buffer.alloc(16 * 1024 * 1024, 'x'));
      await eventually(() => place.isEmpty && read.length === 1);
      expect(read[0]).toBeGreaterThan(0);
      expect(read[0]).toBeLessThan(512 * 1024);
      client.destroy();
    });
});

describe.each(LISTENERS)('resets: $name', (setup) => {
  let place: RunningSetup;
  beforeAll(async () => {
    place = await open(setup, { options: { guards: [() => sleep(2).then(() => true)] } });
  });
  afterAll(() => place.close());

  it.each(['reset', 'destroy'] as const)('%s at any point of a handshake leaves nothing behind', async (end) => {
    const head = upgradeHead(place.port);
    const refused = upgradeHead(place.port, { headers: { Host: 'a b' } });
    const hello = setup.tls ? await clientHello() : undefined;
    for (let i = 0; i < 200; i++) {
      const text = i % 3 === 0 ? refused : head;
      const client = hello !== undefined && i % 4 === 0 ? await bare(place.port) : await place.connect();
      const bytes = hello !== undefined && i % 4 === 0 ? hello : Buffer.from(text);
      client.write(bytes.subarray(0, i < 150 ? Math.floor((bytes.length * i) / 150) : bytes.length));
      if (i % 2 === 0) await sleep(i % 10);
      client[end]();
    }
    await eventually(() => place.isEmpty);
    expect(place.test.stats().faults).toEqual({});
    expect((await place.ask(upgradeHead(place.port))).status).toBe(101);
    await eventually(() => place.isEmpty);
  });
});

describe.each(SETUPS)('closing the application: $name', (setup) => {
  it('ends pending handshakes', async () => {
    const place = await open(setup, { options: { guards: [NEVER] } });
    const silent = await bare(place.port);
    const idle = await place.connect();
    const half = await place.connect();
    half.write(HALF);
    const deciding = await place.connect();
    deciding.write(upgradeHead(place.port));
    const lingering = await place.connect();
    lingering.write(upgradeHead(place.port, { path: '/nowhere' }));
    const ordinary = await place.connect();
    ordinary.write('GET / HTTP/1.1\r\nX-A:');
    await lingering.response();
    // A connection that has not requested an upgrade on a shared port is Node's, which waits for it.
    const others = [silent, idle, ordinary];
    await eventually(() => place.test.stats().pending === (setup.own ? 6 : 3));
    if (!setup.own) for (const client of others) client.destroy();
    await place.close();
    expect((await deciding.response()).status).toBe(503);
    for (const client of [silent, idle, half, deciding, lingering, ordinary]) {
      await client.untilClosed();
      client.destroy();
    }
    await eventually(() => place.isEmpty);
  });
});

describe.each(LISTENERS.slice(0, 2))('memory for heads: $name', (setup) => {
  it('is limited to 16 MiB in total, and freed from the address that holds most', async () => {
    const place = await openHere(setup);
    const honest = await place.connect('127.0.2.1');
    honest.write(HALF);
    const crowd = await Promise.all(Array.from({ length: 60 }, (_, i) => place.connect(`127.0.3.${i + 1}`)));
    let most = 0;
    const watch = setInterval(() => {
      most = Math.max(most, place.test.stats().heldBytes);
    }, 1);
    const line = 'a: '.padEnd(7998, 'v').concat('\r\n');
    for (const client of crowd) client.write(`GET / HTTP/1.1\r\nUpgrade: websocket\r\n${line.repeat(100)}`);
    await eventually(() => crowd.filter(({ ended, closed }) => ended || closed).length >= 40);
    clearInterval(watch);
    expect(most).toBeLessThanOrEqual(16 * 1024 * 1024);
    expect(most).toBeGreaterThan(8 * 1024 * 1024);
    expect((await honest.upgrade(`1\r\n${upgradeHead(1).split('\r\n').slice(3).join('\r\n')}`)).status).toBe(101);
    for (const client of [honest, ...crowd]) client.destroy();
    await eventually(() => place.isEmpty);
  });

  it('counts a head that arrived in one chunk, and the bytes after it, while guards decide', async () => {
    const place = await openHere(setup, { options: { guards: [NEVER] } });
    const client = await place.connect('127.0.2.1');
    client.write(upgradeHead(place.port, { headers: { 'X-Long': 'v'.repeat(4000) } }));
    await eventually(() => place.test.stats().heldBytes > 4000);
    client.write(Buffer.alloc(3000));
    await eventually(() => place.test.stats().heldBytes > 7000);
    client.destroy();
    await eventually(() => place.isEmpty);
  });

  it('counts complete heads while guards decide', async () => {
    const place = await openHere(setup, { options: { guards: [NEVER] } });
    const honest = await place.connect('127.0.2.1');
    honest.write(upgradeHead(place.port));
    const headers = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`x-${i}`, 'v'.repeat(7990)]));
    const crowd = await Promise.all(Array.from({ length: 30 }, (_, i) => place.connect(`127.0.3.${i + 1}`)));
    for (const client of crowd) client.write(upgradeHead(place.port, { headers }));
    await eventually(() => crowd.filter(({ ended, closed }) => ended || closed).length >= 9);
    expect(place.test.stats().heldBytes).toBeLessThanOrEqual(16 * 1024 * 1024);
    expect(place.test.stats().heldBytes).toBeGreaterThan(8 * 1024 * 1024);
    expect(honest.closed || honest.ended).toBe(false);
    for (const client of [honest, ...crowd]) client.destroy();
    await eventually(() => place.isEmpty);
  });
});

describe('memory for heads above a limit', () => {
  it('stays under 48 MiB for 200 clients with half a megabyte each', async () => {
    const ownPort = freePort();
    const server = await Child.start('test/attack/opening/server.ts', [String(ownPort)]);
    const ask = () => server.ask<{ peak: number; now: number }>('memory');
    const attack = async (port: number) => {
      const flood = Buffer.from(`${HALF}${'x'.repeat(512 * 1024)}`);
      const clients = await Promise.all(Array.from({ length: 200 }, () => bare(port)));
      for (const client of clients) client.write(flood);
      await Promise.all(clients.map((client) => client.untilClosed()));
      for (const client of clients) client.destroy();
    };
    try {
      for (const port of [server.ready as number, ownPort]) {
        const { now } = await ask();
        await attack(port);
        const { peak } = await ask();
        expect(peak - now).toBeLessThan(48 * 1024 * 1024);
      }
    } finally {
      await server.end();
    }
  }, 180_000);
});

describe('the Server header', () => {
  const answersOf = async (serverHeader?: string | null): Promise<(string | undefined)[]> => {
    const place = await openHere(SETUPS[0]!, { options: serverHeader === undefined ? {} : { serverHeader } });
    const accepted = await place.ask(upgradeHead(place.port));
    const refused = await place.ask(upgradeHead(place.port, { path: '/nowhere' }));
    expect([accepted.status, refused.status]).toEqual([101, 404]);
    return [accepted.headers['server'], refused.headers['server']];
  };
  afterEach(() => {
    delete process.env['WEBSOCKETS_SERVER'];
  });

  it.each([
    ['the option', 'acme/1', undefined, 'acme/1'],
    ['the option, removing it', null, undefined, undefined],
    ['the variable', undefined, 'acme/2', 'acme/2'],
    ['the variable, removing it', undefined, '', undefined],
    ['the option over the variable', 'acme/1', 'acme/2', 'acme/1'],
    ['the option over the empty variable', 'acme/1', '', 'acme/1'],
    ['the option, removing it, over the variable', null, 'acme/2', undefined],
  ] as const)('is set by %s', async (_, option, variable, expected) => {
    if (variable !== undefined) process.env['WEBSOCKETS_SERVER'] = variable;
    expect(await answersOf(option)).toEqual([expected, expected]);
  });
});

describe('a dedicated port', () => {
  it('closes a TLS ClientHello on plaintext without an answer', async () => {
    const place = await openHere(SETUPS[1]!);
    const client = await place.connect();
    client.write(await clientHello());
    await client.untilClosed();
    expect(client.total).toBe(0);
    client.destroy();
  });

  it('that Fastify opens in addition is protected', async () => {
    const lookup = jest.spyOn(dns, 'lookup').mockImplementation(((
      host: string,
      options: unknown,
      callback: unknown,
    ) => {
      const done = (callback ?? options) as (error: null, ...found: unknown[]) => void;
      const both = [
        { address: '127.0.0.1', family: 4 },
        { address: '::1', family: 6 },
      ];
      // Node 22 looks up addresses too, and asks for all of them.
      const found = host === 'localhost' ? both : both.filter(({ address }) => address === host);
      if ((options as { all?: boolean }).all) done(null, found);
      else done(null, found[0]!.address, found[0]!.family);
    }) as never);
    const place = await openHere(SETUPS.find(({ platform }) => platform === 'fastify')!, { host: null });
    lookup.mockRestore();
    const tooLong = upgradeHead(place.port, { headers: { 'X-A': 'x'.repeat(8192) } });
    for (const host of ['127.0.0.1', '::1']) {
      // Fastify forwards upgrades itself: the protection begins at accept.
      const half = await RawClient.connect({ port: place.port, host });
      half.write(HALF);
      await eventually(() => place.test.stats().pending === 1);
      half.destroy();
      await eventually(() => place.test.stats().pending === 0);
      const client = await RawClient.open({ port: place.port, host });
      client.send('echo', host);
      expect(await client.json()).toEqual({ event: 'echo', data: host });
      client.destroy();
      const wrong = await RawClient.connect({ port: place.port, host });
      expect((await wrong.upgrade(tooLong)).status).toBe(431);
      wrong.destroy();
      const later = await RawClient.connect({ port: place.port, host });
      expect((await later.upgrade(GET)).status).toBe(404);
      expect((await later.upgrade(upgradeHead(place.port))).status).toBe(101);
      later.destroy();
    }
  });
});
