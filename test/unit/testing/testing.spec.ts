import { AssertionError } from 'node:assert';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { ConnectedSocket, MessageBody, SubscribeMessage } from '@nestjs/websockets';
import {
  type AdmissionGuard,
  allow,
  refuse,
  SecureGateway,
  type SecureSocket,
  type UpgradeAttempt,
  UseAdmissionGuards,
} from 'nest-secure-ws';
import { attempt, connectTo, expectRefusal, type TestClient } from 'nest-secure-ws/testing';
import { eventually, startApp, type TestApp } from '../../support/app.js';
import { selfSigned } from '../../support/certificates.js';
import { freePort } from '../../support/ports.js';

class SessionGuard implements AdmissionGuard {
  admit({ cookies, query, ip }: UpgradeAttempt) {
    return cookies['session'] === 'a b' ? allow({ principal: `${query.get('name')}@${ip}` }) : refuse(401);
  }
}

@SecureGateway({ path: '/who' })
@UseAdmissionGuards(SessionGuard)
class WhoGateway {
  @SubscribeMessage('echo')
  echo(@MessageBody() data: unknown) {
    return { event: 'echo', data };
  }
}

const OWN = freePort();
@SecureGateway(OWN, { path: '/own', listen: { host: '127.0.0.1' } })
class OwnGateway extends WhoGateway {}

let running: TestApp | undefined;
afterEach(async () => {
  await running?.close();
  running = undefined;
});

describe('attempt()', () => {
  it('creates what a guard receives', () => {
    const guard = new SessionGuard();
    expect(guard.admit(attempt({ ip: '10.1.2.3', path: '/who?name=ada', cookies: { session: 'a b' } }))).toEqual(
      allow({ principal: 'ada@10.1.2.3' }),
    );
    expect(guard.admit(attempt())).toEqual(refuse(401));
  });

  it('accepts every property', () => {
    const aborter = new AbortController();
    const made = attempt({
      ip: '2001:db8::1',
      remoteAddress: '10.0.0.1',
      secure: true,
      host: 'App.example:8443',
      origin: 'https://app.example',
      headers: { 'X-Many': ['1', '2'] },
      protocols: ['v1', 'v2'],
      principal: 7,
      signal: aborter.signal,
    });
    expect(made).toMatchObject({
      ip: '2001:db8::1',
      remoteAddress: '10.0.0.1',
      secure: true,
      host: 'app.example:8443',
      origin: 'https://app.example',
      protocols: ['v1', 'v2'],
      principal: 7,
    });
    expect(made.headers['x-many']).toBe('1, 2');
    aborter.abort('no error');
    expect(made.signal.aborted).toBe(true);
    expect(made.signal.reason).toMatchObject({ name: 'AbortError' });
    expect(() => attempt({ ip: 'nowhere' })).toThrow(TypeError);
    expect(attempt({ ip: '' }).ip).toBe('');
  });
});

describe('connectTo()', () => {
  it('connects to a gateway on the application’s port', async () => {
    running = await startApp({ gateways: [WhoGateway] });
    const client = await connectTo(running.app, '/who?name=ada', { cookies: { session: 'a b' } });
    client.send('echo', 1);
    expect(await client.nextEvent('echo')).toBe(1);
    expect(await client.close()).toMatchObject({ code: 1000 });
    await expect(connectTo(running.app, 'who')).rejects.toMatchObject({ status: 401 });
  });

  it.each([
    ['all IPv4 addresses', { host: '0.0.0.0' }],
    ['all IPv6 addresses', { host: '::' }],
    ['the IPv6 loopback address', { host: '::1' }],
    ['TLS', { https: selfSigned() }],
  ])('finds an application that listens on %s', async (_, listening) => {
    running = await startApp({ gateways: [WhoGateway], options: { proxy: { requireTls: false } }, ...listening });
    const headers = { Cookie: 'session=a%20b' };
    const client = await connectTo(running.app, 'who', { headers, tls: { rejectUnauthorized: false } });
    await client.close();
  });

  it('reports an application that does not listen', async () => {
    running = await startApp({ gateways: [WhoGateway] });
    const { app } = running;
    await running.close();
    running = undefined;
    await expect(connectTo(app, '/who')).rejects.toThrow('does not listen');
  });

  it('connects to a dedicated port', async () => {
    running = await startApp({ gateways: [OwnGateway] });
    const client = await connectTo(running.app, '/own', { port: OWN, headers: { Cookie: 'session=a%20b' } });
    await client.close();
  });
});

interface Events {
  first: { n: number };
  second: string;
  big: string;
}

@SecureGateway({ path: '/lines', connections: { subprotocols: ['v1'] } })
class LinesGateway {
  /** Sends texts as they are. */
  @SubscribeMessage('send') send(@MessageBody() texts: string[], @ConnectedSocket() socket: SecureSocket) {
    for (const text of texts) socket.send(text);
  }

  @SubscribeMessage('binary') binary(@MessageBody() text: string, @ConnectedSocket() socket: SecureSocket) {
    socket.send(Buffer.from(text));
  }

  @SubscribeMessage('end') end(@MessageBody() code: number, @ConnectedSocket() socket: SecureSocket) {
    socket.close(code, 'as asked');
  }
}

const first = (n: number): string => JSON.stringify({ event: 'first', data: { n } });
const second = (text: string): string => JSON.stringify({ event: 'second', data: text });

describe('TestClient', () => {
  const clients: TestClient<Events>[] = [];
  const open = async (options: Parameters<typeof connectTo>[2] = {}): Promise<TestClient<Events>> => {
    running ??= await startApp({ gateways: [LinesGateway] });
    const client = await connectTo<Events>(running.app, '/lines', options);
    clients.push(client);
    return client;
  };
  afterEach(async () => {
    for (const client of clients.splice(0)) await client.close();
  });

  it('returns events by name, in the order of each name, whether they arrived before or after the call', async () => {
    const client = await open();
    const early = Promise.all([client.nextEvent('second'), client.nextEvent('first'), client.nextEvent('first')]);
    client.send('send', [first(1), second('a'), first(2), first(3), second('b'), first(4)]);
    expect(await early).toEqual(['a', { n: 1 }, { n: 2 }]);
    expect(await client.nextEvent('first')).toEqual({ n: 3 });
    expect((await client.nextEvent('first')).n).toBe(4);
    expect(client.waiting).toEqual([{ event: 'second', data: 'b' }]);
  });

  it('returns other messages as they arrived', async () => {
    const client = await open();
    client.send('send', ['plain', '5', first(1), '{']);
    client.send('binary', 'bytes');
    expect(await client.nextEvent('first')).toEqual({ n: 1 });
    expect(await client.nextMessage()).toBe('plain');
    expect(await client.nextMessage()).toBe('5');
    expect(await client.nextMessage()).toBe('{');
    expect(await client.nextMessage()).toEqual(Buffer.from('bytes'));
    expect(client.waiting).toEqual([]);
  });

  it('requests subprotocols, and parses a custom message format', async () => {
    const parse = (message: unknown) => {
      const [event = '', data] = String(message).split(' ');
      return { event, data };
    };
    const client = await open({ subprotocols: ['v1'], parse });
    expect(client.socket.protocol).toBe('v1');
    client.send('send', ['second hello']);
    expect(await client.nextEvent('second')).toBe('hello');
  });

  it('names at the timeout the messages that arrived instead, and the line of the test', async () => {
    const client = await open({ timeout: 60_000 });
    client.send('send', [second('x'.repeat(500)), 'plain']);
    client.send('binary', 'bytes');
    while ((client as unknown as { arrivals: unknown[] }).arrivals.length < 3) await new Promise(setImmediate);
    const error = await client.nextEvent('first', { timeout: 1 }).catch((reason: unknown) => reason as Error);
    expect((error as Error).message).toMatch(
      /^no event 'first' within 1 ms; the connection is open; received and not taken: 'second' "x{180,200}…, text "plain", 5 bytes$/,
    );
    expect((error as Error).stack).toMatch(/^Error: no event 'first' .+\n +at .*testing\.spec\.ts:\d+/);
    // A message too late for one wait is returned by the next.
    client.send('send', [first(1)]);
    expect(await client.nextEvent('first')).toEqual({ n: 1 });
  });

  it('lists at most ten messages', async () => {
    const client = await open();
    client.send('send', [...Array.from({ length: 12 }, () => second('a')), first(1)]);
    await client.nextEvent('first');
    await expect(client.nextEvent('first', { timeout: 1 })).rejects.toThrow(/('second' "a", ){10}and 2 more$/);
  });

  it('stops waiting for an event when the connection ends', async () => {
    const client = await open({ timeout: 60_000 });
    const waits = client.nextEvent('first');
    client.send('send', [second('last')]);
    client.send('end', 4000);
    const message =
      "no event 'first'; the connection ended with 4000 'as asked'; received and not taken: 'second' \"last\"";
    await expect(waits).rejects.toThrow(message);
    await expect(client.nextEvent('first')).rejects.toThrow(message);
    expect(await client.nextEvent('second')).toBe('last');
    await expect(client.nextMessage()).rejects.toThrow('received and not taken: nothing');
    expect(await client.closed()).toMatchObject({ code: 4000, reason: 'as asked' });
  });

  it('waits for the end of a connection as long as for an event', async () => {
    const client = await open({ timeout: 60_000 });
    await expect(client.closed({ timeout: 1 })).rejects.toThrow('the connection did not end within 1 ms');
    client.send('end', 4001);
    expect(await client.closed()).toMatchObject({ code: 4001 });
  });

  it("uses real timers even with the runner's fake timers", async () => {
    const client = await open();
    jest.useFakeTimers();
    try {
      await expect(client.nextEvent('first', { timeout: 1 })).rejects.toThrow("no event 'first' within 1 ms");
    } finally {
      jest.useRealTimers();
    }
  });

  it('leaves no timer and no socket behind', async () => {
    const active = () => process.getActiveResourcesInfo().filter((name) => /Timeout|TCPSocket/.test(name)).length;
    const before = active();
    const client = await open();
    client.send('send', [first(1)]);
    await client.nextEvent('first');
    await client[Symbol.asyncDispose]();
    await client.close();
    await client.closed();
    await running!.close();
    running = undefined;
    // Node closes handles in a later turn, and may use a timer of its own for a moment.
    for (let looks = 0; active() > before && looks < 200; looks++)
      await new Promise((resolve) => setTimeout(resolve, 10).unref());
    expect(active()).toBeLessThanOrEqual(before);
  });

  it('ends with the application', async () => {
    const client = await open();
    await running!.close();
    running = undefined;
    expect(await client.closed()).toMatchObject({ code: 1001 });
  });
});

@SecureGateway({ path: '/closed', guards: [() => new Promise<boolean>((done) => setTimeout(done, 50, false))] })
class ClosedGateway {}

describe('expectRefusal()', () => {
  const start = async (options = {}): Promise<TestApp> =>
    (running = await startApp({ gateways: [WhoGateway], options }));

  it('returns status, reason, headers and body of a refusal', async () => {
    const { app } = await start();
    expect(await expectRefusal(app, { path: '/who?name=ada' }, { status: 401, reason: 'guard' })).toMatchObject({
      status: 401,
      reason: 'guard',
      body: expect.any(String),
    });
    await expectRefusal(app, { path: '/none' }, { status: 404, reason: 'path' });
    await expectRefusal(
      app,
      { path: '/who', origin: 'https://evil.example', cookies: { session: 'a b' } },
      { status: 403, reason: 'origin', headers: { Connection: 'close' } },
    );
    expect(await expectRefusal(app, { path: '/who' })).toMatchObject({ status: 401 });
  });

  it('fails when the attempt is accepted, and closes the connection', async () => {
    const { app, stats } = await start();
    const accepted = expectRefusal(app, { path: '/who', cookies: { session: 'a b' } }, { status: 401 });
    await expect(accepted).rejects.toThrow('/who accepted the connection; expected { status: 401 }');
    await expect(accepted).rejects.toBeInstanceOf(AssertionError);
    await eventually(() => stats().connections === 0);
  });

  it.each([
    ['another status', { status: 403 }, { status: 401 }],
    ['another reason', { status: 401, reason: 'origin' }, { status: 401, reason: 'guard' }],
    ['a missing header', { headers: { 'Retry-After': '5' } }, { headers: { 'Retry-After': undefined } }],
    ['a reset', { status: 'reset' }, { status: 401 }],
  ] as const)('fails with %s', async (_, expected, actual) => {
    const { app } = await start();
    const error = await expectRefusal(app, { path: '/who' }, expected).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(AssertionError);
    expect(error).toMatchObject({ actual, expected });
    expect((error as Error).message).toMatch(/^\/who was refused with 401, reason guard.*; expected \{/);
  });

  it('assigns the reasons to attempts made at the same time', async () => {
    running = await startApp({ gateways: [ClosedGateway] });
    const evil = { path: '/closed', origin: 'https://evil.example' };
    const refusals = [{ path: '/closed' }, evil, { path: '/closed' }].map((each) => expectRefusal(running!.app, each));
    expect((await Promise.all(refusals)).map(({ status, reason }) => [status, reason])).toEqual([
      [403, 'guard'],
      [403, 'origin'],
      [403, 'guard'],
    ]);
  });

  it('reports a connection that ends without a response', async () => {
    running = await startApp({ gateways: [OwnGateway], options: { connections: { deniedIps: ['127.0.0.1'] } } });
    const refusal = { status: 'reset', reason: 'address-denied' } as const;
    expect(await expectRefusal(running.app, { path: '/own', port: OWN }, refusal)).toMatchObject(refusal);
  });

  it('fails with the network error when nothing listens', async () => {
    const { app } = await start();
    await expect(expectRefusal(app, { port: freePort() }, { status: 'reset' })).rejects.toMatchObject({
      code: 'ECONNREFUSED',
    });
  });
});
