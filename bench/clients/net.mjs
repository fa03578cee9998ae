// The floor of a client: what sockets of Node cost for the same bytes. The frames are prebuilt, those that a read has room for are
// written at once, and replies are counted by their length, not read.
import { once } from 'node:events';
import { connect } from 'node:net';
import { config, measured } from './agent.mjs';

const REQUEST =
  'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';
const END_OF_HEAD = '\r\n\r\n';
const FIN_TEXT = 0x81;
const MASKED = 0x80;
/** Header and masking key of a short frame of a client; header of a short frame of a server. */
const SENT_HEAD = 6;
const RECEIVED_HEAD = 2;
const MOST = 128;

/** One connection, with the methods of a WebSocket that the load needs. */
class FloorClient {
  due = 0;
  isReading = false;
  rest = 0;

  constructor(socket) {
    this.socket = socket;
    socket.on('data', (chunk) => this.read(chunk));
  }

  send(text) {
    if (this.isReading) this.due++;
    else this.write(text, 1);
  }

  read({ length }) {
    this.isReading = true;
    const size = RECEIVED_HEAD + this.text.length;
    this.rest += length;
    for (; this.rest >= size; this.rest -= size) this.take();
    this.isReading = false;
    if (this.due > 0) this.write(this.text, this.due);
    this.due = 0;
  }

  write(text, count) {
    this.text = text;
    this.socket.write(framesOf(text).subarray(0, count * (SENT_HEAD + text.length)));
  }
}

const prebuilt = new Map();

/** As many frames of a short text as are ever due at once, with a masking key of zero. */
function framesOf(text) {
  let frames = prebuilt.get(text);
  if (frames === undefined) {
    const frame = Buffer.from([FIN_TEXT, MASKED | text.length, 0, 0, 0, 0, ...Buffer.from(text)]);
    prebuilt.set(text, (frames = Buffer.concat(Array.from({ length: MOST }, () => frame))));
  }
  return frames;
}

const clients = [];
for (let at = 0; at < config.count; at++) {
  const socket = connect({ port: config.port, host: '127.0.0.1', noDelay: true });
  socket.write(REQUEST);
  const [head] = await once(socket, 'data');
  if (!head.latin1Slice().endsWith(END_OF_HEAD)) throw new Error('unexpected bytes after the head');
  socket.on('error', ignore);
  clients.push(new FloorClient(socket));
}

measured(clients, (client, take) => {
  client.take = take;
});

function ignore() {}
