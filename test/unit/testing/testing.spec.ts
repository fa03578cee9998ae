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
import { eventually, freePort, startApp, type TestApp } from '../../support/app.js';
import { selfSigned } from '../../support/certificates.js';

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
  it('is what a guard sees', () => {
    const guard = new SessionGuard();
    expect(guard.admit(attempt({ ip: '10.1.2.3', path: '/who?name=ada', cookies: { session: 'a b' } }))).toEqual(
      allow({ principal: 'ada@10.1.2.3' }),
    );
    expect(guard.admit(attempt())).toEqual(refuse(401));
  });

  it('has a place for everything', () => {
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
  it('talks to a gateway on the application’s port', async () => {
    running = await startApp({ gateways: [WhoGateway] });
    const client = await connectTo(running.app, '/who?name=ada', { cookies: { session: 'a b' } });
    client.send('echo', 1);
    expect(await client.nextEvent('echo')).toBe(1);
    expect(await client.close()).toMatchObject({ code: 1000 });
    await expect(connectTo(running.app, 'who')).rejects.toMatchObject({ status: 401 });
  });

  it.each([
    ['all addresses', { host: '0.0.0.0' }],
    ['all addresses of IPv6', { host: '::' }],
    ['the loopback of IPv6', { host: '::1' }],
    ['TLS', { https: selfSigned() }],
  ])('finds an application that listens on %s', async (_, listening) => {
    running = await startApp({ gateways: [WhoGateway], options: { proxy: { requireTls: false } }, ...listening });
    const headers = { Cookie: 'session=a%20b' };
    const client = await connectTo(running.app, 'who', { headers, tls: { rejectUnauthorized: false } });
    await client.close();
  });

  it('says when an application does not listen', async () => {
    running = await startApp({ gateways: [WhoGateway] });
    const { app } = running;
    await running.close();
    running = undefined;
    await expect(connectTo(app, '/who')).rejects.toThrow('does not listen');
  });

  it('talks to a port of a gateway’s own', async () => {
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

describe('a test client', () => {
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

  it('takes events by name, in the order of each name, whether they came before or after', async () => {
    const client = await open();
    const early = Promise.all([client.nextEvent('second'), client.nextEvent('first'), client.nextEvent('first')]);
    client.send('send', [first(1), second('a'), first(2), first(3), second('b'), first(4)]);
    expect(await early).toEqual(['a', { n: 1 }, { n: 2 }]);
    expect(await client.nextEvent('first')).toEqual({ n: 3 });
    expect((await client.nextEvent('first')).n).toBe(4);
    expect(client.waiting).toEqual([{ event: 'second', data: 'b' }]);
  });

  it('takes messages that are no events as they came', async () => {
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

  it('asks for subprotocols, and reads a format of the gateway’s own', async () => {
    const parse = (message: unknown) => {
      const [event = '', data] = String(message).split(' ');
      return { event, data };
    };
    const client = await open({ subprotocols: ['v1'], parse });
    expect(client.socket.protocol).toBe('v1');
    client.send('send', ['second hello']);
    expect(await client.nextEvent('second')).toBe('hello');
  });

  it('tells what arrived instead, and where the test waits, when the time is over', async () => {
    const client = await open({ timeout: 60_000 });
    client.send('send', [second('x'.repeat(500)), 'plain']);
    client.send('binary', 'bytes');
    while ((client as unknown as { arrivals: unknown[] }).arrivals.length < 3) await new Promise(setImmediate);
    const error = await client.nextEvent('first', { timeout: 1 }).catch((reason: unknown) => reason as Error);
    expect((error as Error).message).toMatch(
      /^no event 'first' within 1 ms; the connection is open; received and not taken: 'second' "x{180,200}…, text "plain", 5 bytes$/,
    );
    expect((error as Error).stack).toMatch(/^Error: no event 'first' .+\n +at .*testing\.spec\.ts:\d+/);
    // What came too late for one wait is there for the next.
    client.send('send', [first(1)]);
    expect(await client.nextEvent('first')).toEqual({ n: 1 });
  });

  it('lists ten messages at most', async () => {
    const client = await open();
    client.send('send', [...Array.from({ length: 12 }, () => second('a')), first(1)]);
    await client.nextEvent('first');
    await expect(client.nextEvent('first', { timeout: 1 })).rejects.toThrow(/('second' "a", ){10}and 2 more$/);
  });

  it('does not wait for an event of a connection that has ended', async () => {
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

  it('waits by the clock, whatever the fake timers of the runner do', async () => {
    const client = await open();
    jest.useFakeTimers();
    try {
      await expect(client.nextEvent('first', { timeout: 1 })).rejects.toThrow("no event 'first' within 1 ms");
    } finally {
      jest.useRealTimers();
    }
  });

  it('leaves no timer and no socket', async () => {
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
    // Node closes handles in a later turn; a timer of its own may be among the active ones for a moment.
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

  it('tells status, reason, headers and body of a refusal', async () => {
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

  it('fails where the attempt is accepted, and closes the connection', async () => {
    const { app, stats } = await start();
    const accepted = expectRefusal(app, { path: '/who', cookies: { session: 'a b' } }, { status: 401 });
    await expect(accepted).rejects.toThrow('/who accepted the connection; expected { status: 401 }');
    await expect(accepted).rejects.toBeInstanceOf(AssertionError);
    await eventually(() => stats().connections === 0);
  });

  it.each([
    ['another status', { status: 403 }, { status: 401 }],
    ['another reason', { status: 401, reason: 'origin' }, { status: 401, reason: 'guard' }],
    ['a header that is not there', { headers: { 'Retry-After': '5' } }, { headers: { 'Retry-After': undefined } }],
    ['a reset', { status: 'reset' }, { status: 401 }],
  ] as const)('fails with %s', async (_, expected, actual) => {
    const { app } = await start();
    const error = await expectRefusal(app, { path: '/who' }, expected).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(AssertionError);
    expect(error).toMatchObject({ actual, expected });
    expect((error as Error).message).toMatch(/^\/who was refused with 401, reason guard.*; expected \{/);
  });

  it('tells the reasons of attempts apart that are made at the same time', async () => {
    running = await startApp({ gateways: [ClosedGateway] });
    const evil = { path: '/closed', origin: 'https://evil.example' };
    const refusals = [{ path: '/closed' }, evil, { path: '/closed' }].map((each) => expectRefusal(running!.app, each));
    expect((await Promise.all(refusals)).map(({ status, reason }) => [status, reason])).toEqual([
      [403, 'guard'],
      [403, 'origin'],
      [403, 'guard'],
    ]);
  });

  it('knows a connection that ends without a response', async () => {
    running = await startApp({ gateways: [OwnGateway], options: { connections: { deniedIps: ['127.0.0.1'] } } });
    const refusal = { status: 'reset', reason: 'address-denied' } as const;
    expect(await expectRefusal(running.app, { path: '/own', port: OWN }, refusal)).toMatchObject(refusal);
  });

  it('fails with the network’s error where nothing listens', async () => {
    const { app } = await start();
    await expect(expectRefusal(app, { port: freePort() }, { status: 'reset' })).rejects.toMatchObject({
      code: 'ECONNREFUSED',
    });
  });
});
