// @ts-nocheck
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { WebSocket } from 'ws';
import { writeJoined } from '../../lib/connection/joined-write.js';
import {
  GET_INFO,
  INFLATING,
  internalsOf,
  Receiver,
  type ReceiverInternals,
  Sender,
  type SenderInternals,
  STATUS_CODE,
} from '../../lib/connection/ws-internals.js';
import { frame } from '../support/raw-client.js';

/** What live connections use of `ws` beyond its types: a version that changes one of these must be noticed. */
describe('ws on the server’s side, made from a socket', () => {
  const ends: (() => void)[] = [];
  let ws: WebSocket;
  let raw: Socket;
  let client: Socket;
  let receiver: ReceiverInternals;
  let held: ((error: Error | null, data: Buffer) => void)[];

  beforeEach(async () => {
    held = [];
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
    client = connect((server.address() as AddressInfo).port, '127.0.0.1').on('error', () => undefined);
    raw = await accepted;
    const options = { autoPong: false, allowSynchronousEvents: true, skipUTF8Validation: false, closeTimeout: 1000 };
    ws = new WebSocket(null as unknown as string, undefined, options as object);
    const internals = internalsOf(ws);
    internals._extensions = {
      'permessage-deflate': {
        decompress: (_data: Buffer, _fin: boolean, done: (typeof held)[number]) => held.push(done),
        cleanup: () => undefined,
      },
    };
    internals._protocol = 'chat';
    internals.setSocket(raw, Buffer.alloc(0), { ...options, maxBufferedChunks: 0, maxFragments: 4, maxPayload: 1000 });
    receiver = internals._receiver;
    ends.push(() => {
      ws.terminate();
      client.destroy();
      server.close();
    });
  });
  afterEach(() => {
    for (const end of ends.splice(0)) end();
  });

  it('is open at once, with what was negotiated', () => {
    expect([ws.readyState, ws.protocol, ws.extensions]).toEqual([WebSocket.OPEN, 'chat', 'permessage-deflate']);
    expect(internalsOf(ws)._socket).toBe(raw);
  });

  it('has the fields of a receiver that are read and written', () => {
    expect(receiver).toMatchObject({
      _buffers: [],
      _bufferedBytes: 0,
      _fragments: [],
      _messageLength: 0,
      _fragmented: 0,
      _state: GET_INFO,
      _fin: false,
      _errored: false,
      _totalPayloadLength: 0,
      writableLength: 0,
      writable: true,
    });
    for (const name of ['_mask', '_fragmented']) expect(name in receiver).toBe(true);
    for (const method of ['dataMessage', 'startLoop'] as const)
      expect(typeof Receiver.prototype[method]).toBe('function');
    expect(Receiver.prototype.dataMessage.length).toBe(1);
    expect(Receiver.prototype.startLoop.length).toBe(1);
    expect(Object.keys(internalsOf(ws)._sender)).toEqual(expect.arrayContaining(['_bufferedBytes', '_firstFragment']));
  });

  it('listens to the raw socket with its own data listener last, and to its receiver by these names', () => {
    expect(raw.listeners('data')).toHaveLength(1);
    expect(receiver.eventNames()).toEqual(
      expect.arrayContaining(['message', 'ping', 'pong', 'error', 'conclude', 'drain']),
    );
  });

  it('keeps count of what is unfinished', () => {
    receiver.write(frame('abc', { fin: false }));
    expect(receiver).toMatchObject({ _fragmented: 1, _messageLength: 3, _totalPayloadLength: 3, _state: GET_INFO });
    expect(receiver._fragments).toHaveLength(1);
    receiver.write(frame('defg', { opcode: 0 }).subarray(0, 8));
    expect(receiver._state).not.toBe(GET_INFO);
    expect(receiver._bufferedBytes).toBe(2);
    expect(receiver._buffers).toHaveLength(1);
    expect(receiver._mask).toHaveLength(4);
  });

  it('parses a chunk before the call returns where nothing is to be inflated, and says then what was wrong', () => {
    const messages: string[] = [];
    ws.on('message', (data) => messages.push(String(data)));
    const said: (string | undefined)[] = [];
    const hear = (error?: Error): number => said.push(error?.message);
    receiver._write(Buffer.concat([frame('a'), frame('b')]), 'buffer', hear);
    expect([messages, said]).toEqual([['a', 'b'], [undefined]]);
    receiver._write(frame('c').subarray(0, 1), 'buffer', hear);
    receiver._write(frame('c').subarray(1), 'buffer', hear);
    expect([messages.length, said]).toEqual([3, [undefined, undefined, undefined]]);
    receiver._write(Buffer.from([0xf1, 0x80]), 'buffer', hear);
    expect(said).toHaveLength(4);
    expect(said[3]).toMatch(/Invalid WebSocket frame/);
  });

  it('writes what was held together through _writev, of which one _write may be made', async () => {
    const received: Buffer[] = [];
    client.on('data', (chunk) => received.push(chunk));
    raw._writev = writeJoined;
    const callbacks: number[] = [];
    raw.cork();
    for (const [i, text] of ['one', '\x81two\xff', 'three'].entries())
      raw.write(text, 'latin1', () => callbacks.push(i));
    raw.uncork();
    raw.cork();
    raw.write('four', 'latin1');
    raw.write(Buffer.from('five'));
    raw.write('x'.repeat(20_000), 'latin1', () => callbacks.push(3));
    raw.uncork();
    const wanted = Buffer.from(`one\x81two\xffthreefourfive${'x'.repeat(20_000)}`, 'latin1');
    for (let left = 200; Buffer.concat(received).length < wanted.length && left > 0; left--)
      await new Promise((resolve) => setTimeout(resolve, 10));
    expect(Buffer.concat(received).equals(wanted)).toBe(true);
    expect(callbacks).toEqual([0, 1, 2, 3]);
  });

  it('hands fragments and messages to dataMessage, which says by _fin whether it was the last', () => {
    const seen: boolean[] = [];
    const original = Receiver.prototype.dataMessage;
    receiver.dataMessage = function (this: ReceiverInternals, callback) {
      seen.push(this._fin);
      original.call(this, callback);
    };
    const messages: string[] = [];
    ws.on('message', (data) => messages.push(String(data)));
    receiver.write(Buffer.concat([frame('a', { fin: false }), frame('b', { opcode: 0 })]));
    expect([seen, messages]).toEqual([[false, true], ['ab']]);
  });

  it('inflates in a state of its own and gives control back through the callback', () => {
    receiver.write(frame('x', { rsv1: true }));
    expect(receiver._state).toBe(INFLATING);
    const messages: string[] = [];
    ws.on('message', (data) => messages.push(String(data)));
    held[0]!(null, Buffer.from('inflated'));
    expect([messages, receiver._state]).toEqual([['inflated'], GET_INFO]);
  });

  it('tells of its end through emitClose, with code and reason in these fields', async () => {
    const closed = new Promise<void>((resolve) => {
      const { emitClose } = internalsOf(ws);
      internalsOf(ws).emitClose = function (this: unknown) {
        emitClose.call(this as never);
        resolve();
      };
    });
    client.write(frame(Buffer.concat([Buffer.from([0x0f, 0xa0]), Buffer.from('bye')]), { opcode: 8 }));
    client.on('data', () => client.end());
    await closed;
    expect(ws).toMatchObject({
      _closeCode: 4000,
      _closeMessage: Buffer.from('bye'),
      _closeFrameReceived: true,
      _closeFrameSent: true,
    });
  });

  it('has bufferedAmount as a getter of the prototype, and frames by Sender.frame', () => {
    expect(typeof Object.getOwnPropertyDescriptor(WebSocket.prototype, 'bufferedAmount')?.get).toBe('function');
    const options = { fin: true, rsv1: true, opcode: 1, mask: false as const, readOnly: true };
    expect(Buffer.concat(Sender.frame(Buffer.from('hi'), options)).toString('hex')).toBe('c1026869');
  });
});

/** Halves of a `WebSocket` that are made when they are needed, in place of what `setSocket` makes at once. */
describe('ws with a receiver and a sender of our own', () => {
  class Halves extends WebSocket {
    receiver: ReceiverInternals | undefined;
    sender: SenderInternals | undefined;
    readonly heard: unknown[][] = [];

    constructor(raw: Socket) {
      super(null as unknown as string, undefined, { autoPong: false, closeTimeout: 1000 } as object);
      Object.assign(internalsOf(this), { _events: undefined, _socket: raw, _readyState: WebSocket.OPEN });
    }

    get _receiver(): ReceiverInternals {
      return (this.receiver ??= Object.assign(
        new Receiver({
          allowSynchronousEvents: true,
          binaryType: internalsOf(this).binaryType,
          extensions: {},
          isServer: true,
          maxBufferedChunks: 0,
          maxFragments: 4,
          maxPayload: 1000,
          skipUTF8Validation: false,
        }),
        { emit: (...args: unknown[]) => this.heard.push(args) > 0, _events: undefined },
      ));
    }
    set _receiver(_none: null) {}

    get _sender(): SenderInternals {
      return (this.sender ??= new Sender(internalsOf(this)._socket, {}));
    }
    set _sender(_none: null) {}
  }

  const written: Buffer[] = [];
  let raw: Duplex;
  let ws: Halves;
  const bytes = () => Buffer.concat(written.splice(0)).toString('hex');
  const tick = () => new Promise((resolve) => setImmediate(resolve));

  beforeEach(() => {
    raw = new Duplex({
      read: () => undefined,
      write: (chunk: Buffer, _, done) => {
        written.push(chunk);
        done();
      },
    });
    ws = new Halves(raw as Socket);
  });
  afterEach(() => {
    clearTimeout(internalsOf(ws)._closeTimer ?? undefined);
    raw.destroy();
  });

  it('makes neither in its constructor, and needs neither to be asked', () => {
    expect([ws.readyState, ws.protocol, ws.extensions, ws.isPaused]).toEqual([WebSocket.OPEN, '', '', false]);
    expect(internalsOf(ws)).toMatchObject({
      _closeCode: 1006,
      _closeFrameReceived: false,
      _closeFrameSent: false,
      _closeTimer: null,
      _errorEmitted: false,
      _paused: false,
    });
    ws.pause();
    expect([ws.isPaused, raw.isPaused()]).toEqual([true, true]);
    ws.terminate();
    expect([ws.readyState, raw.destroyed]).toEqual([WebSocket.CLOSING, true]);
    expect([ws.receiver, ws.sender]).toEqual([undefined, undefined]);
  });

  it('is an emitter without listeners, until the first', () => {
    expect([ws.emit('close'), ws.listenerCount('close'), ws.listeners('close'), ws.eventNames()]).toEqual([
      false,
      0,
      [],
      [],
    ]);
    ws.removeAllListeners().off('close', () => undefined);
    const codes: number[] = [];
    ws.on('close', (code) => codes.push(code));
    ws.emit('close', 1000);
    expect(codes).toEqual([1000]);
  });

  it('sends with the sender that it is given, whose errors go to onerror', () => {
    ws.send('hi', { compress: false });
    ws.ping('p');
    expect(bytes()).toBe(['81026869', '890170'].join(''));
    expect(ws.sender).toMatchObject({ _bufferedBytes: 0, _firstFragment: true });
    expect(typeof ws.sender!.onerror).toBe('function');
    expect(ws.receiver).toBeUndefined();
  });

  it('closes with both: a timer, and the end of the socket once the peer has answered', async () => {
    ws.close(4000, 'go');
    expect([ws.readyState, bytes(), internalsOf(ws)._closeTimer === null]).toEqual([2, '88040fa0676f', false]);
    await tick();
    expect([internalsOf(ws)._closeFrameSent, raw.writableEnded]).toEqual([true, false]);
    internalsOf(ws)._closeFrameReceived = true;
    ws.close();
    expect(raw.writableEnded).toBe(true);
  });

  it('has a receiver that tells all through emit', async () => {
    const receiver = ws._receiver;
    receiver.write(Buffer.concat([frame('a'), frame('b', { opcode: 9 }), frame('c', { opcode: 10 })]));
    receiver.write(frame(Buffer.from([0x0f, 0xa0, 0x78]), { opcode: 8 }));
    await tick();
    expect(receiver).toMatchObject({ writableEnded: true, writableFinished: true });
    expect(ws.heard.filter(([event]) => event !== 'prefinish' && event !== 'close')).toEqual([
      ['message', Buffer.from('a'), false],
      ['ping', Buffer.from('b')],
      ['pong', Buffer.from('c')],
      ['conclude', 4000, Buffer.from('x')],
      ['finish'],
    ]);
  });

  it('has a receiver whose errors carry their close code under a symbol', async () => {
    expect(typeof STATUS_CODE).toBe('symbol');
    ws._receiver.write(frame('x', { opcode: 3 }));
    await tick();
    const [event, error] = ws.heard.find(([name]) => name === 'error')!;
    expect([event, (error as { [STATUS_CODE]: number })[STATUS_CODE]]).toEqual(['error', 1002]);
    expect(ws._receiver._writableState.errorEmitted).toBe(true);
  });

  it('has a receiver that asks for patience with needDrain and drain', async () => {
    let done: (() => void) | undefined;
    const receiver = Object.assign(ws._receiver, {
      startLoop: (callback: () => void) => {
        done = callback;
      },
    });
    expect(receiver.write(Buffer.alloc(100_000))).toBe(false);
    expect(receiver._writableState.needDrain).toBe(true);
    done!();
    await tick();
    expect(ws.heard).toEqual([['drain']]);
    expect(receiver._writableState.needDrain).toBe(false);
  });
});
