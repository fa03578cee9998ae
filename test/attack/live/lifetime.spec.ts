import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { allow, SecureWsBroadcaster, type SecureWsOptions, type UpgradeAttempt } from 'nest-secure-ws';
import { eventually, type TestApp } from '../../support/app.js';
import { closeFrame, frame, RawClient, upgradeHead } from '../../support/raw-client.js';
import { passUntil, restoreTime, stopTime } from '../../support/stopped-time.js';
import { type ManualClock, sleep, turn } from '../../support/time.js';
import { Frames, isQuiet, LiveGateway, message, nextMessage, openClient, reply, startLive, unmetered } from './live.js';

let app: TestApp;
let clients: RawClient[] = [];
let clock: ManualClock;
beforeEach(() => {
  clock = stopTime();
});

async function open(options: SecureWsOptions = {}, head = {}): Promise<RawClient> {
  app ??= await startLive(options);
  const client = await openClient(app, {}, head);
  clients.push(client);
  return client;
}

afterEach(async () => {
  for (const client of clients) client.destroy();
  clients = [];
  LiveGateway.openGate();
  await eventually(() => isQuiet(app));
  await app.close();
  app = undefined as unknown as TestApp;
  restoreTime();
});

const socketOf = (at = 0) => LiveGateway.sockets[at]!;
const pong = (payload: Buffer) => frame(payload, { opcode: 10 });

describe('keepalive', () => {
  it('pings, measures the latency, and keeps peers that answer', async () => {
    const client = await open({ keepalive: { pingInterval: 100, pingTimeout: 150 } });
    expect(socketOf().latency).toBeUndefined();
    let pongs = 0;
    socketOf().on('pong', () => pongs++);
    for (let i = 0; i < 5; i++) {
      const { transport } = socketOf().connection;
      const { bytesWritten } = transport;
      await passUntil(clock, () => transport.bytesWritten > bytesWritten);
      const ping = await client.anyFrame();
      expect([ping?.opcode, ping?.payload.length]).toEqual([9, 4]);
      clock.time += 20;
      client.write(pong(ping!.payload));
      await eventually(() => pongs === i + 1);
      // By the clock of the test. The ping was sent within the last step.
      expect(socketOf().latency).toBeGreaterThanOrEqual(20);
      expect(socketOf().latency).toBeLessThanOrEqual(120);
    }
    expect(client.ended).toBe(false);
  });

  it.each([
    ['nothing', () => undefined],
    ['a pong of another payload', () => pong(Buffer.from([0, 0, 0, 0]))],
    ['only messages', () => message('sink')],
  ])('terminates a peer that answers with %s', async (_, answer) => {
    const client = await open({ keepalive: { pingInterval: 100, pingTimeout: 200 } });
    await passUntil(clock, () => {
      const bytes = answer();
      if (bytes !== undefined) client.write(bytes);
      return client.closed || client.ended;
    });
    // Terminated without a close frame.
    while (client.received.length > 0) expect((await client.anyFrame())?.opcode).toBe(9);
    await eventually(() => app.stats().connections === 0);
    expect(app.stats().closed).toEqual({ 1006: 1 });
  });

  it('pauses its deadlines while the server does not read', async () => {
    const client = await open({
      messages: unmetered({ maxQueue: 1, assemblyTimeout: 1500 }),
      keepalive: { pingInterval: 100, pingTimeout: 1500, idleTimeout: 2000 },
    });
    LiveGateway.closeGate();
    const whole = message('echo', 'late');
    client.send('wait', 1);
    await eventually(() => socketOf().connection.input.gate.paused);
    // After the pause: half a message, and no pong that could be read.
    client.write(whole.subarray(0, 5));
    clock.pass(3000);
    // A deadline that passed would end the connection in its own turn.
    await turn();
    expect(socketOf().readyState).toBe(1);
    LiveGateway.openGate();
    const pings: Buffer[] = [];
    for (let next = await client.anyFrame(); next?.opcode !== 1; next = await client.anyFrame())
      pings.push(next!.payload);
    client.write(Buffer.concat([whole.subarray(5), ...pings.map(pong)]));
    expect(await nextMessage(client)).toEqual({ event: 'echo', data: 'late' });
    await eventually(() => socketOf().latency !== undefined);
    expect(socketOf().latency).toBeGreaterThanOrEqual(0);
    expect(socketOf().latency).toBeLessThan(1500);
    // Deadlines count again afterwards.
    await passUntil(clock, () => client.ended || client.closed);
  });

  it('checks its deadlines when reading resumes', async () => {
    const client = await open({
      messages: { maxQueue: 1 },
      keepalive: { pingInterval: null, idleTimeout: 300 },
    });
    LiveGateway.closeGate();
    client.send('wait', 1);
    await eventually(() => socketOf().connection.input.gate.paused);
    // The deadline passes while the server does not read.
    clock.pass(700);
    await turn();
    expect(socketOf().readyState).toBe(1);
    expect(client.received.length).toBe(0);
    LiveGateway.openGate();
    expect(await nextMessage(client)).toEqual({ event: 'wait', data: 1 });
    await passUntil(clock, () => client.received.length > 0);
    expect(await client.closeFrame()).toEqual({ code: 1000, reason: 'idle' });
  });

  it.each([
    ['an idle peer', { idleTimeout: 250 }, { code: 1000, reason: 'idle' }],
    ['a connection at maxLifetime', { maxLifetime: 300 }, { code: 1001, reason: 'connection lifetime reached' }],
  ])('ends %s, with or without pongs', async (_, keepalive, expected) => {
    const client = await open({ keepalive: { pingInterval: 50, ...keepalive } });
    // The whole frame: a ping may contain any byte.
    const closing = closeFrame(expected.code, expected.reason, { masked: false });
    await passUntil(clock, () => {
      client.write(pong(Buffer.alloc(4)));
      return client.received.includes(closing);
    });
    expect(await client.closeFrame()).toEqual(expected);
  });

  it('resets idleTimeout by messages in either direction', async () => {
    const client = await open({ keepalive: { pingInterval: null, idleTimeout: 400 } });
    for (let i = 0; i < 4; i++) {
      clock.pass(300);
      if (i % 2 === 0) {
        client.send('sink');
        await eventually(() => LiveGateway.started === 1 + i / 2);
      } else {
        socketOf().sendEvent('news');
        expect(await nextMessage(client)).toEqual({ event: 'news' });
      }
    }
    expect(socketOf().readyState).toBe(1);
    await passUntil(clock, () => client.received.length > 0);
    expect(await client.closeFrame()).toEqual({ code: 1000, reason: 'idle' });
  });

  it('accepts durations of months', async () => {
    const months = 90 * 24 * 3600 * 1000;
    const client = await open({
      keepalive: {
        pingInterval: months,
        pingTimeout: months,
        idleTimeout: months,
        maxLifetime: months,
        closeTimeout: months,
      },
      messages: { handlerTimeout: months, assemblyTimeout: months },
      buffers: { stallTimeout: months },
    });
    socketOf().renew({ expiresAt: Date.now() + months });
    clock.pass(60_000);
    client.send('echo', 1);
    expect(await nextMessage(client)).toEqual({ event: 'echo', data: 1 });
    socketOf().close(1000);
    expect(await client.closeFrame()).toEqual({ code: 1000, reason: 'bye' });
    clock.pass(60_000);
    await sleep(50);
    expect(client.closed).toBe(false);
  });
});

describe('pings of the application', () => {
  it('get pongs that do not count as unsolicited, one each', async () => {
    const client = await open({ messages: { controlRate: '10/1m' }, keepalive: { pingInterval: null } });
    await eventually(() => LiveGateway.sockets.length === 1);
    const heard: string[] = [];
    socketOf().on('pong', (data) => heard.push(data.toString()));
    for (let at = 0; at < 50; at++) {
      socketOf().ping(String(at));
      client.write(pong((await client.frame())!.payload));
    }
    await eventually(() => heard.length === 50);
    expect(heard).toEqual(Array.from({ length: 50 }, (_, at) => String(at)));
    for (let at = 0; at < 11; at++) client.write(pong(Buffer.from('unasked')));
    expect(await client.closeFrame()).toEqual({ code: 1008, reason: 'control frame rate exceeded' });
  });
});

describe('the reported close code', () => {
  it.each([
    ['a protocol error', frame('x', { rsv1: true }), 1002],
    ['invalid UTF-8', frame(Buffer.from([0xff])), 1007],
    ['a message above maxSize', frame('', { length: 2 ** 31 }), 1009],
  ])('is the code that was sent for %s', async (_, bytes, code) => {
    const client = await open();
    client.write(bytes);
    expect((await client.closeFrame())?.code).toBe(code);
    client.destroy();
    await eventually(() => app.stats().connections === 0);
    expect(app.stats().closed).toEqual({ [code]: 1 });
  });

  it.each([
    ['a reason that is too long', 1008, 'é'.repeat(200), { code: 1008, reason: 'é'.repeat(61) }],
    ['an unknown code', 99, 'why', { code: 1008, reason: 'why' }],
    ['a code that may not be sent', 1006, '', { code: 1008, reason: 'policy violation' }],
  ])('is valid for disconnectUser and disconnectSocket with %s', async (_, code, reason, expected) => {
    const options: SecureWsOptions = { guards: [() => allow({ principal: 'anna' })] };
    const [byUser, byId] = [await open(options), await open(options)];
    await eventually(() => LiveGateway.sockets.length === 2);
    const broadcaster = app.app.get(SecureWsBroadcaster);
    expect(await broadcaster.disconnectSocket(socketOf(1).id, code, reason)).toBe(1);
    expect(await broadcaster.disconnectUser('anna', code, reason)).toBe(2);
    for (const client of [byUser, byId]) expect(await client.closeFrame()).toEqual(expected);
  });
});

describe('expiresAt of a session', () => {
  const MINUTE = 60_000;
  const HOUR = 60 * MINUTE;
  const soon = (ms: number): SecureWsOptions => ({
    guards: [() => allow({ expiresAt: Date.now() + ms })],
    keepalive: { pingInterval: null },
  });

  it('ends the connection with 4401', async () => {
    const client = await open(soon(2000));
    await passUntil(clock, () => client.received.length > 0);
    expect(await client.closeFrame()).toEqual({ code: 4401, reason: 'session expired' });
    expect(app.stats().closed).toEqual({});
  });

  it('moves with renew(): later, earlier, or never', async () => {
    const clients = [await open(soon(HOUR)), await open(soon(9 * HOUR)), await open(soon(HOUR))];
    const [later, earlier] = clients;
    await eventually(() => LiveGateway.sockets.length === 3);
    socketOf(0).renew({ expiresAt: Date.now() + 5 * HOUR, principal: 'somebody else' });
    socketOf(1).renew({ expiresAt: new Date(Date.now() + 2 * HOUR) });
    socketOf(2).renew({ expiresAt: null });
    expect(socketOf(0).principal).toBe('somebody else');
    const isOpen = () => [0, 1, 2].map((at) => socketOf(at).readyState === 1);
    // The real clock moves meanwhile, so that the ends are somewhat later than these times.
    clock.pass(HOUR + MINUTE);
    expect(isOpen()).toEqual([true, true, true]);
    clock.pass(2 * HOUR);
    expect(isOpen()).toEqual([true, false, true]);
    expect(await earlier!.closeFrame()).toEqual({ code: 4401, reason: 'session expired' });
    clock.pass(3 * HOUR);
    expect(isOpen()).toEqual([false, false, true]);
    expect(await later!.closeFrame()).toEqual({ code: 4401, reason: 'session expired' });
    clock.pass(24 * HOUR);
    expect(isOpen()).toEqual([false, false, true]);
  });

  it('is ignored by renew() after the connection ended', async () => {
    const client = await open();
    await eventually(() => LiveGateway.sockets.length === 1);
    client.destroy();
    await eventually(() => LiveGateway.left.length === 1);
    socketOf().renew({ expiresAt: Date.now() + 1e9 });
    expect(app.stats().deadlines).toBe(0);
    socketOf().renew({ principal: 'anna' });
    expect(await app.app.get(SecureWsBroadcaster).disconnectUser('anna')).toBe(0);
    expect(() => socketOf().renew({ expiresAt: 3600 })).toThrow(RangeError);
  });

  it('stays when renew() does not name another', async () => {
    const client = await open(soon(2000));
    await eventually(() => LiveGateway.sockets.length === 1);
    socketOf().renew({ principal: 'somebody else' });
    socketOf().renew({ expiresAt: undefined });
    await passUntil(clock, () => client.received.length > 0);
    expect(await client.closeFrame()).toEqual({ code: 4401, reason: 'session expired' });
  });

  it('renew() may reassign the connection to another user, for maxPerUser and disconnectUser', async () => {
    const byToken = ({ headers }: UpgradeAttempt) => allow({ principal: headers['authorization'] });
    const as = (name: string) => ({ headers: { Authorization: name } });
    const options: SecureWsOptions = { guards: [byToken], connections: { maxPerUser: 1 } };
    const [first, second] = [await open(options, as('anna')), await open(options, as('bert'))];
    await eventually(() => LiveGateway.sockets.length === 2);
    const users = app.app.get(SecureWsBroadcaster);
    const [socket, other] = [socketOf(0), socketOf(1)];
    // At a full maxPerUser nothing changes.
    expect(() => socket.renew({ principal: 'bert', expiresAt: Date.now() + 200 })).toThrow(RangeError);
    expect(() => socket.renew({ principal: {} })).toThrow(RangeError);
    expect(() => socket.renew({ principal: 'x', userKey: '' })).toThrow(RangeError);
    expect(socket.principal).toBe('anna');
    socket.renew({ principal: { sub: 'carl' } });
    await open(options, as('anna'));
    await expect(open(options, as('carl'))).rejects.toThrow('429');
    socket.renew({ principal: { id: 'carl' } });
    other.renew({ principal: 'bert', userKey: 7 });
    expect(await users.disconnectUser('bert')).toBe(0);
    expect([await users.disconnectUser('carl'), await users.disconnectUser(7)]).toEqual([1, 1]);
    for (const client of [first, second]) expect(await client.closeFrame()).toMatchObject({ code: 1008 });
  });

  it("renew() with onUserLimit 'closeOldest' closes the oldest connection of the new user", async () => {
    const options: SecureWsOptions = {
      guards: [({ headers }) => allow({ principal: headers['authorization'] })],
      connections: { maxPerUser: 1, onUserLimit: 'closeOldest' },
    };
    const oldest = await open(options, { headers: { Authorization: 'anna' } });
    const renewed = await open(options, { headers: { Authorization: 'bert' } });
    await eventually(() => LiveGateway.sockets.length === 2);
    socketOf(1).renew({ principal: 'anna' });
    expect(await oldest.closeFrame()).toMatchObject({ code: 1008 });
    renewed.write(frame('still here', { opcode: 9 }));
    expect((await renewed.frame())?.opcode).toBe(10);
  });
});

describe('the closing handshake', () => {
  it.each([
    ['a code and a reason', closeFrame(4000, 'enough'), { code: 4000, reason: 'enough' }],
    ['a code', closeFrame(1000), { code: 1000, reason: 'bye' }],
    ['an empty close frame', frame('', { opcode: 8 }), { code: 1005, reason: '' }],
  ])('answers a peer that begins with %s', async (_, bytes, expected) => {
    const client = await open();
    client.write(bytes);
    expect(await client.closeFrame()).toEqual(expected);
    await client.untilClosed();
    client.destroy();
    await eventually(() => LiveGateway.left.length === 1);
    expect(LiveGateway.left).toEqual([expected.code]);
  });

  it.each([
    ['answers the close frame and stays', true],
    ['does not answer', false],
  ])('with a peer that %s ends at closeTimeout, which releases the slot', async (_, answers) => {
    const client = await open({ connections: { max: 1 }, keepalive: { closeTimeout: 400 } });
    await eventually(() => LiveGateway.sockets.length === 1);
    socketOf().close(4000, 'go');
    await client.closeFrame();
    if (answers) {
      client.write(closeFrame(4000));
      // The server has answered the close frame, and ends TCP.
      await client.untilClosed();
    }
    clock.pass(300);
    await turn();
    expect(app.stats().slots).toBe(1);
    const refused = await RawClient.connect({ port: app.port });
    expect((await refused.upgrade(upgradeHead(app.port))).status).toBe(503);
    refused.destroy();
    await passUntil(clock, () => app.stats().slots === 0);
    await open();
  });

  it('ends a peer that has half-closed', async () => {
    const client = await open({ keepalive: { closeTimeout: 300 } });
    client.socket.end();
    await passUntil(clock, () => client.ended || client.closed);
    await eventually(() => app.stats().slots === 0);
    expect(LiveGateway.left).toEqual([1006]);
  });

  it('ends a peer that has half-closed and does not read the rest', async () => {
    const client = await open({ keepalive: { closeTimeout: 300 }, buffers: { writeLimit: '2mb' } });
    client.socket.pause();
    await eventually(() => LiveGateway.sockets.length === 1);
    while (socketOf().bufferedAmount < 500_000) socketOf().sendEvent('n', 'x'.repeat(50_000));
    client.socket.end();
    await passUntil(clock, () => app.stats().slots === 0);
    expect(LiveGateway.left).toEqual([1006]);
  });

  it('finishes although a handler is stuck and the queue is full', async () => {
    const client = await open({ messages: unmetered({ maxQueue: 1 }) });
    LiveGateway.closeGate();
    client.send('wait');
    await eventually(() => socketOf().connection.input.gate.paused);
    socketOf().close(4000, 'go');
    expect(await client.closeFrame()).toEqual({ code: 4000, reason: 'go' });
    client.write(Buffer.concat([message('echo'), closeFrame(4000)]));
    await client.untilClosed();
  });

  it.each([
    ['a listener began it while the queue was full', message('echo'), 1],
    ['running handlers fill the queue', Buffer.concat(['wait', 'wait', 'sink'].map((event) => message(event))), 3],
  ])('finishes although %s', async (_, bytes, concurrency) => {
    const client = await open({ messages: unmetered({ maxQueue: 1, concurrency }) });
    LiveGateway.closeGate();
    await eventually(() => LiveGateway.sockets.length === 1);
    let seen = 0;
    socketOf().on('message', () => ++seen === concurrency && socketOf().close(4000, 'go'));
    client.write(bytes);
    expect(await client.closeFrame()).toEqual({ code: 4000, reason: 'go' });
    client.write(closeFrame(4000));
    await client.untilClosed();
    client.destroy();
    await eventually(() => LiveGateway.left.length === 1);
    expect(LiveGateway.left).toEqual([4000]);
  });

  it('delivers the messages queued before it', async () => {
    const client = await open();
    client.socket.pause();
    await eventually(() => LiveGateway.sockets.length === 1);
    let sent = 0;
    for (; socketOf().bufferedAmount < 500_000; sent++) socketOf().sendEvent('n', 'x'.repeat(50_000));
    socketOf().close(4000, 'that was it');
    let nextMessage: string | undefined;
    const { sizes } = new Frames(client, (opcode, payload) => {
      if (opcode === 8) nextMessage = payload.subarray(2).toString();
    });
    await eventually(() => nextMessage !== undefined);
    expect(sizes).toHaveLength(sent + 1);
    expect(nextMessage).toBe('that was it');
  });

  it.each([
    ['a reserved bit', frame('x', { rsv1: true }), 1002, 'protocol error'],
    ['an unmasked frame', frame('x', { masked: false }), 1002, 'protocol error'],
    ['an unknown opcode', frame('x', { opcode: 3 }), 1002, 'protocol error'],
    ['a continuation without a message', frame('x', { opcode: 0 }), 1002, 'protocol error'],
    ['a fragmented ping', frame('x', { opcode: 9, fin: false }), 1002, 'protocol error'],
    ['a long ping', frame('x'.repeat(126), { opcode: 9 }), 1002, 'protocol error'],
    ['an invalid close code', closeFrame(1005), 1002, 'protocol error'],
    ['invalid UTF-8', frame(Buffer.from([0xc3, 0x28])), 1007, 'invalid payload data'],
  ])('names the reason for %s', async (_, bytes, code, reason) => {
    const client = await open();
    const other = await open();
    client.write(bytes);
    expect(await client.closeFrame()).toEqual({ code, reason });
    other.send('echo', 'unharmed');
    expect(await nextMessage(other)).toEqual({ event: 'echo', data: 'unharmed' });
  });

  it('does not wait for a half-open peer', async () => {
    const client = await open({ keepalive: { pingInterval: 100, pingTimeout: 200 } });
    client.socket.pause();
    await passUntil(clock, () => app.stats().slots === 0);
    expect(LiveGateway.left).toEqual([1006]);
    expect(await reply(client, 100).catch(() => undefined)).toBeUndefined();
  });
});

it('pause() and resume() of the application stop and continue reading', async () => {
  const client = await open({ keepalive: { pingInterval: 100, pingTimeout: 200 } });
  await eventually(() => LiveGateway.sockets.length === 1);
  socketOf().pause();
  client.send('echo', 1);
  clock.pass(700);
  await turn();
  expect(socketOf().readyState).toBe(1);
  socketOf().resume();
  expect(await nextMessage(client)).toEqual({ event: 'echo', data: 1 });
});
