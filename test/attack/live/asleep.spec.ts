import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { allow, type SecureSocket, SecureWsBroadcaster, type SecureWsOptions } from 'nest-secure-ws';
import { WebSocket } from 'ws';
import { eventually, type TestApp } from '../../support/app.js';
import { closeFrame, frame, RawClient, upgradeHead } from '../../support/raw-client.js';
import { passUntil, restoreTime, stopTime } from '../../support/stopped-time.js';
import { type ManualClock, sleep } from '../../support/time.js';
import { isQuiet, LiveGateway, message, nextMessage, openClient, reply, startLive } from './live.js';

let app: TestApp;
let clients: RawClient[] = [];
let clock: ManualClock;

/** A client and its connection at the server; neither has sent a frame. */
async function open(options: SecureWsOptions = {}): Promise<{ client: RawClient; socket: SecureSocket }> {
  app ??= await startLive(options);
  const client = await openClient(app);
  clients.push(client);
  await eventually(() => LiveGateway.sockets.length === clients.length);
  return { client, socket: LiveGateway.sockets.at(-1)! };
}

/** The reader and the writer of the connection, allocated on demand. */
const halves = ({ connection: { reader, writer } }: SecureSocket) => [reader, writer];
const NEITHER = [undefined, undefined];

/** Records the error and close events of a socket. */
function recordEnd(socket: SecureSocket): unknown[] {
  const events: unknown[] = [];
  socket.on('error', (error) => events.push(error.message));
  socket.on('close', (code, reason) => events.push([code, reason.toString(), socket.readyState]));
  return events;
}

const pong = (payload: Buffer) => frame(payload, { opcode: 10 });

beforeEach(() => {
  clients = [];
  clock = stopTime();
});
afterEach(async () => {
  for (const client of clients) client.destroy();
  await eventually(() => isQuiet(app));
  expect(app.stats().deadlines).toBe(0);
  await app.close();
  app = undefined as unknown as TestApp;
  restoreTime();
});

describe('a connection without messages', () => {
  it('has neither reader nor writer, and behaves like any other', async () => {
    const { client, socket } = await open();
    expect(halves(socket)).toEqual(NEITHER);
    expect([socket.readyState, socket.bufferedAmount, socket.isPaused]).toEqual([WebSocket.OPEN, 0, false]);
    expect([socket.protocol, socket.extensions, socket.binaryType]).toEqual(['', '', 'nodebuffer']);
    expect([socket.latency, [...socket.rooms], socket.listenerCount('close')]).toEqual([undefined, [], 0]);
    socket.join('quiet');
    expect(halves(socket)).toEqual(NEITHER);
    app.app.get(SecureWsBroadcaster).to('quiet').emit('news', 1);
    expect(await nextMessage(client)).toEqual({ event: 'news', data: 1 });
  });

  it('stays without them while only pings and pongs are exchanged', async () => {
    const { client, socket } = await open({ keepalive: { pingInterval: 50, pingTimeout: 200 } });
    const pongs: Buffer[] = [];
    socket.on('pong', (data) => pongs.push(data));
    for (let i = 0; i < 5; i++) {
      await passUntil(clock, () => client.received.length > 0);
      const ping = (await client.anyFrame())!;
      expect([ping.opcode, ping.fin, ping.payload.length]).toEqual([9, true, 4]);
      clock.time += 20;
      client.write(pong(ping.payload));
      await eventually(() => pongs.length === i + 1);
      expect(pongs[i]).toEqual(ping.payload);
    }
    expect(socket.latency).toBeGreaterThan(0);
    expect(halves(socket)).toEqual(NEITHER);
    // A pong in two reads is still a pong.
    await passUntil(clock, () => client.received.length > 0);
    const bytes = pong((await client.anyFrame())!.payload);
    client.write(bytes.subarray(0, 7));
    await eventually(() => socket.connection.reader !== undefined);
    client.write(bytes.subarray(7));
    await eventually(() => pongs.length === 6);
  });

  it('limits unsolicited pongs', async () => {
    const { client } = await open({ messages: { controlRate: '10/1m' } });
    for (let i = 0; i < 11; i++) client.write(pong(Buffer.from([0, 0, 0, i])));
    expect(await client.closeFrame()).toEqual({ code: 1008, reason: 'control frame rate exceeded' });
  });

  it.each([
    ['a message', message('echo', 1), 1],
    ['the first byte of a message', message('echo', 1).subarray(0, 1), undefined],
    ['a ping', frame('hi', { opcode: 9 }), 10],
  ])('reads %s', async (_, bytes, answer) => {
    const { client, socket } = await open();
    client.write(bytes);
    await eventually(() => socket.connection.reader !== undefined);
    if (answer === undefined) client.write(message('echo', 1).subarray(bytes.length));
    expect((await reply(client))?.opcode).toBe(answer ?? 1);
  });

  it('reads a message that arrived with the handshake', async () => {
    await open();
    const client = await RawClient.connect({ port: app.port });
    clients.push(client);
    client.write(Buffer.concat([Buffer.from(upgradeHead(app.port)), message('echo', 'early')]));
    expect((await client.response()).status).toBe(101);
    expect(await nextMessage(client)).toEqual({ event: 'echo', data: 'early' });
  });

  it.each<[string, (socket: SecureSocket) => void, number, string]>([
    ['a text', (socket) => socket.send('hi'), 1, 'hi'],
    ['bytes', (socket) => socket.send(Buffer.from('hi')), 2, 'hi'],
    ['an event', (socket) => socket.sendEvent('hi'), 1, '{"event":"hi"}'],
    ['a ping', (socket) => socket.ping('hi'), 9, 'hi'],
    ['a pong', (socket) => socket.pong('hi'), 10, 'hi'],
  ])('sends %s', async (_, send, opcode, payload) => {
    const { client, socket } = await open();
    send(socket);
    expect(socket.connection.reader).toBeUndefined();
    const { opcode: got, payload: text } = (await client.frame())!;
    expect([got, text.toString()]).toEqual([opcode, payload]);
  });

  it('can be paused and resumed before and after its first message', async () => {
    const { client, socket } = await open();
    socket.resume();
    expect(halves(socket)).toEqual(NEITHER);
    for (const data of [1, 2]) {
      socket.pause();
      expect(socket.isPaused).toBe(true);
      client.send('echo', data);
      await sleep(60);
      expect(client.received).toHaveLength(0);
      socket.resume();
      expect(await nextMessage(client)).toEqual({ event: 'echo', data });
    }
  });

  it('keeps its binaryType before and after its first message', async () => {
    const { client, socket } = await open();
    socket.binaryType = 'arraybuffer';
    const got: unknown[] = [];
    socket.on('message', (data) => got.push(data));
    client.write(frame('ab', { opcode: 2 }));
    await eventually(() => got.length === 1);
    socket.binaryType = 'nodebuffer';
    client.write(frame('cd', { opcode: 2 }));
    await eventually(() => got.length === 2);
    expect([got[0] instanceof ArrayBuffer, Buffer.isBuffer(got[1])]).toEqual([true, true]);
  });
});

describe('the end of a connection without messages', () => {
  const SILENT = { pingInterval: null };
  type End = (client: RawClient, socket: SecureSocket) => void;
  const ended = [1006, '', WebSocket.CLOSED];

  it.each<[string, End, unknown[]]>([
    ['a reset', (client) => client.reset(), [ended]],
    ['the peer’s FIN', (client) => client.socket.end(), [ended]],
    ['half a frame, and FIN', (client) => client.socket.end(message('echo').subarray(0, 3)), [ended]],
    ['a close frame', (client) => client.write(closeFrame(4000, 'enough')), [[4000, 'enough', WebSocket.CLOSED]]],
    ['a close frame and FIN', (client) => client.socket.end(closeFrame(4000)), [[4000, '', WebSocket.CLOSED]]],
    ['terminate()', (_, socket) => socket.terminate(), [ended]],
    ['kill()', (_, socket) => socket.connection.kill('test'), [ended]],
    ['an error of the raw socket', (_, socket) => socket.connection.transport.destroy(new Error('test')), [ended]],
  ])('by %s is reported once', async (_, end, events) => {
    const { client, socket } = await open();
    const told = recordEnd(socket);
    end(client, socket);
    await client.untilClosed();
    client.destroy();
    await eventually(() => LiveGateway.left.length === 1);
    await sleep(20);
    expect(told).toEqual(events);
    expect(LiveGateway.left).toEqual([(events[0] as number[])[0]]);
    // Calls after the end have no effect.
    const lost = await new Promise((resolve) => socket.send('late', resolve));
    expect(lost).toBeInstanceOf(Error);
    socket.close();
    socket.terminate();
    socket.pause();
    socket.resume();
    expect([socket.readyState, socket.bufferedAmount, told]).toEqual([WebSocket.CLOSED, 4, events]);
  });

  it('by an invalid frame reports the protocol error', async () => {
    const { client, socket } = await open();
    const told = recordEnd(socket);
    client.write(frame('x', { rsv1: true }));
    expect(await client.closeFrame()).toEqual({ code: 1002, reason: 'protocol error' });
    client.destroy();
    await eventually(() => told.length === 2);
    expect(told).toEqual(['Invalid WebSocket frame: RSV1 must be clear', ended]);
  });

  it.each<[string, SecureWsOptions, End, object]>([
    ['close()', {}, (_, socket) => socket.close(4000, 'go'), { code: 4000, reason: 'go' }],
    ['disconnectSocket()', {}, (_, socket) => disconnect(socket), { code: 1008, reason: 'disconnected' }],
    [
      'the idle timeout',
      { keepalive: { ...SILENT, idleTimeout: 5000 } },
      () => clock.pass(6000),
      { code: 1000, reason: 'idle' },
    ],
    [
      'the lifetime',
      { keepalive: { ...SILENT, maxLifetime: 5000 } },
      () => clock.pass(6000),
      { code: 1001, reason: 'connection lifetime reached' },
    ],
    [
      'the session expiry',
      { guards: [() => allow({ expiresAt: Date.now() + 60_000 })], keepalive: SILENT },
      () => clock.pass(61_000),
      { code: 4401, reason: 'session expired' },
    ],
    ['the shutdown', {}, () => void app.app.close(), { code: 1001, reason: 'server shutdown' }],
    ['memory', {}, (_, socket) => socket.connection.endForMemory('test'), { code: 1013, reason: 'test' }],
  ])('by %s sends a close frame and waits for the answer', async (_, options, end, frameWanted) => {
    const { client, socket } = await open(options);
    const told = recordEnd(socket);
    end(client, socket);
    const last = await client.closeFrame();
    expect(last).toEqual(frameWanted);
    client.write(closeFrame(last!.code));
    await passUntil(clock, () => client.ended || client.closed);
    client.destroy();
    await eventually(() => LiveGateway.left.length === 1);
    // A connection ended for memory is no longer read.
    const { code } = last!;
    expect(told).toEqual(code === 1013 ? [ended] : [[code, '', WebSocket.CLOSED]]);
  });

  it('comes without a pong, and at closeTimeout without an answer', async () => {
    const { client, socket } = await open({ keepalive: { pingInterval: 100, pingTimeout: 200, closeTimeout: 300 } });
    await passUntil(clock, () => client.ended || client.closed);
    await eventually(() => LiveGateway.left.length === 1);
    expect([LiveGateway.left, halves(socket)]).toEqual([[1006], NEITHER]);
    const { client: mute, socket: second } = await open();
    second.close(4000);
    await mute.closeFrame();
    await passUntil(clock, () => mute.ended || mute.closed);
    await eventually(() => LiveGateway.left.length === 2);
    expect(LiveGateway.left).toEqual([1006, 1006]);
  });
});

function disconnect(socket: SecureSocket): void {
  expect(app.app.get(SecureWsBroadcaster).local.disconnectSocket(socket.id)).toBe(1);
}
