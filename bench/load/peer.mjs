import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { frame, OPCODE } from './frames.mjs';
import { FrameReader } from './reader.mjs';

const HEAD_END = Buffer.from('\r\n\r\n');
const PATHS = { ws: '/', io: '/socket.io/?EIO=4&transport=websocket' };
const IO_CONNECT = frame('40');
const IO_PONG = frame('3');
// Every read of every peer lands here: it is looked at before the next read.
const SHARED = Buffer.allocUnsafe(65_536);

/** Loopback addresses that connections are spread over: 127.0.<net>.1 and up. */
export const source = (index, { net = 2, sources = 128 } = {}) => `127.0.${net}.${1 + (index % sources)}`;

/** The bytes of an opening handshake, the same for every connection of a port. */
export function upgradeRequest(port, { protocol = 'ws', deflate = false } = {}) {
  const lines = [
    `GET ${PATHS[protocol]} HTTP/1.1`,
    `Host: 127.0.0.1:${port}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'User-Agent: bench',
  ];
  if (deflate) lines.push('Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits');
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
}

/** A WebSocket client that is no more than a socket and a frame counter. */
export class Peer {
  onMessages = null;
  #expectedGreetings;
  #settle;

  /** `session`: of an earlier connection over TLS, to be resumed. */
  constructor({ port, from, request, protocol, deflate = false, tls = false, session }) {
    this.#expectedGreetings = protocol === 'io' ? 2 : 0;
    this.deflate = deflate;
    this.reader = null;
    this.ready = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    const onread = { buffer: SHARED, callback: (size, buffer) => this.#read(buffer.subarray(0, size)) };
    const where = { port, host: '127.0.0.1', localAddress: from, onread, noDelay: true };
    this.socket = tls ? connectTls({ ...where, session, rejectUnauthorized: false }) : connect(where);
    this.socket.on(tls ? 'secureConnect' : 'connect', () => this.socket.write(request));
    this.socket.on('error', (error) => this.#settle?.reject(error));
    this.socket.on('close', () => this.#gone());
  }

  send(bytes) {
    this.socket.write(bytes);
  }

  end() {
    this.socket.destroy();
  }

  #read(chunk) {
    if (!this.reader) return this.#handshake(chunk);
    const ended = this.reader.push(chunk);
    if (this.#expectedGreetings > 0) this.#greet(ended);
    else if (ended > 0) this.onMessages?.(ended);
    return true;
  }

  #handshake(chunk) {
    this.head = this.head ? Buffer.concat([this.head, chunk]) : Buffer.from(chunk);
    const end = this.head.indexOf(HEAD_END);
    if (end < 0) return true;
    const head = this.head.latin1Slice(0, end);
    const rest = this.head.subarray(end + HEAD_END.length);
    this.head = null;
    if (!head.startsWith('HTTP/1.1 101')) this.#done(new Error(head.split('\r\n')[0]));
    else if (this.deflate && !/permessage-deflate/i.test(head)) this.#done(new Error('no permessage-deflate'));
    else this.#opened(rest);
    return true;
  }

  #opened(rest) {
    this.reader = new FrameReader({
      onPing: (payload) => this.send(frame(payload, { opcode: OPCODE.pong })),
      onClose: (code) => this.#closed(code),
      onEngineByte: this.#expectedGreetings > 0 ? () => this.send(IO_PONG) : null,
    });
    if (this.#expectedGreetings === 0) this.#done();
    if (rest.length > 0) this.#read(rest);
  }

  // socket.io: the engine's open packet, then the answer to our CONNECT.
  #greet(ended) {
    for (; ended > 0 && this.#expectedGreetings > 0; ended--) {
      this.#expectedGreetings--;
      if (this.#expectedGreetings === 1) this.send(IO_CONNECT);
      else this.#done();
    }
  }

  #closed(code) {
    this.closeCode = code;
    this.onClose?.(code);
  }

  #gone() {
    this.#settle?.reject(new Error('closed during the handshake'));
    if (this.closeCode === undefined) this.#closed(1006);
  }

  #done(error) {
    if (error) this.#settle?.reject(error);
    else this.#settle?.resolve();
    this.#settle = null;
    if (error) this.end();
  }
}
