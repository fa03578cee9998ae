// The floor: what sockets of Node cost for the same bytes, without HTTP, WebSocket or an application. Every read is answered with prebuilt
// bytes: a 101 or a 429 for a head, as many frames as have arrived for messages. Nothing is checked, and no message is read.
import { createServer } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { acceptedWith, keyOf, MASK, sizeOf } from '../support/upgrade.mjs';
import { config, measured } from './agent.mjs';

/**
 * `refuses`: addresses that begin with `denied` are destroyed at accept, those with `capped` get a 429. `deflate`: agrees to
 * permessage-deflate; replies are as long as the compressed message.
 */
const { tls, maxVersion, broadcasts = false, deflate = false, refuses } = config;
/** The key that the load generator always sends (RFC 6455, 1.3). */
const SAMPLE_KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
const EXTENSIONS = deflate ? 'Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n' : '';
const accepted = (key) => acceptedWith(key, EXTENSIONS);
const ACCEPTED = Buffer.from(accepted(SAMPLE_KEY));
const REFUSED = 'HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nContent-Length: 0\r\n\r\n';
const END_OF_HEAD = '\r\n\r\n';
const PING = 9;
const PONG = 10;
const MOST = 128;
const peers = new Set();

const server = tls ? createTlsServer({ ...tls, maxVersion }, accept) : createServer({ noDelay: true }, accept);
server.listen(0, '127.0.0.1', () => measured({ port: server.address().port }));

function accept(socket) {
  socket.on('error', ignore);
  if (refuses && socket.remoteAddress?.startsWith(refuses.denied)) return socket.destroy();
  socket.on('data', onHead);
}

function onHead(chunk) {
  // The load generator sends a head in one write.
  if (chunk.indexOf(END_OF_HEAD) < 0) return this.destroy();
  if (refuses && this.remoteAddress.startsWith(refuses.capped)) return this.end(REFUSED);
  this.write(chunk.indexOf(SAMPLE_KEY) < 0 ? accepted(keyOf(chunk)) : ACCEPTED);
  this.removeListener('data', onHead);
  this.rest = undefined;
  this.on('data', onFrames);
  this.on('close', onClose);
  peers.add(this);
}

function onClose() {
  peers.delete(this);
}

/** Counts the messages that have arrived whole, whose replies are one write. Only pings of clients are looked into. */
function onFrames(chunk) {
  const bytes = this.rest === undefined ? chunk : Buffer.concat([this.rest, chunk]);
  let at = 0;
  let count = 0;
  let last = 0;
  for (let size = sizeOf(bytes, 0); at + size <= bytes.length; size = sizeOf(bytes, at)) {
    if ((bytes[at] & 0x0f) === PING) this.write(pong(bytes.subarray(at, at + size)));
    else {
      count++;
      last = at;
    }
    at += size;
  }
  this.rest = at < bytes.length ? Buffer.from(bytes.subarray(at)) : undefined;
  if (count === 0) return;
  const { length, replies } = repliesTo(bytes.subarray(last));
  const answer = replies.subarray(0, count * length);
  if (!broadcasts) return this.write(answer);
  for (const peer of peers) peer.write(answer);
}

/** The answer to a ping (RFC 6455, 5.5.3). */
function pong(ping) {
  const payload = ping.subarray(2 + MASK).map((byte, at) => byte ^ ping[2 + (at % MASK)]);
  return Buffer.concat([Buffer.from([0x80 | PONG, payload.length]), payload]);
}

const kinds = new Map();

/** Replies as long as this message, as many as are ever due at once: all messages of a load have one length. */
function repliesTo(message) {
  const short = message[1] & 0x7f;
  const [header, payload] = short === 126 ? [4, message.readUInt16BE(2)] : [2, short];
  if (!kinds.has(payload)) {
    const reply = Buffer.alloc(header + payload, 'x');
    message.copy(reply, 0, 0, header);
    reply[1] &= 0x7f;
    kinds.set(payload, { length: reply.length, replies: Buffer.concat(Array.from({ length: MOST }, () => reply)) });
  }
  return kinds.get(payload);
}

function ignore() {}
