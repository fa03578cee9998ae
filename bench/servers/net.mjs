// The floor: what sockets of Node cost for the same bytes, without HTTP, WebSocket or an application. Every read is answered with prebuilt
// bytes: a 101 or a 429 for a head, as many frames as have arrived for messages. Nothing is parsed or checked.
import { createHash } from 'node:crypto';
import { createServer } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { config, measured } from './agent.mjs';

/** `refuses`: addresses that begin with `denied` are destroyed at accept, those with `capped` get a 429. */
const { tls, maxVersion, broadcasts = false, refuses } = config;
/** The key that the load generator always sends (RFC 6455, 1.3). */
const SAMPLE_KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const acceptedWith = (key) =>
  `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${createHash(
    'sha1',
  )
    .update(key + GUID)
    .digest('base64')}\r\n\r\n`;
const ACCEPTED = Buffer.from(acceptedWith(SAMPLE_KEY));
const REFUSED = 'HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nContent-Length: 0\r\n\r\n';
const END_OF_HEAD = '\r\n\r\n';
const MASK = 4;
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
  this.write(chunk.indexOf(SAMPLE_KEY) < 0 ? acceptedWith(keyOf(chunk)) : ACCEPTED);
  this.removeListener('data', onHead);
  this.unanswered = 0;
  this.on('data', onFrames);
  this.on('close', onClose);
  peers.add(this);
}

const keyOf = (head) => /^sec-websocket-key: *(\S+)/im.exec(head.latin1Slice())[1];

function onClose() {
  peers.delete(this);
}

/** All frames of a load have one length, so that counting bytes counts frames. */
function onFrames(chunk) {
  if (this.unanswered === 0) this.frames = framesLike(chunk);
  const { received, sent, replies } = this.frames;
  const bytes = this.unanswered + chunk.length;
  const count = Math.floor(bytes / received);
  this.unanswered = bytes - count * received;
  if (count === 0) return;
  const answer = replies.subarray(0, count * sent);
  if (!broadcasts) return this.write(answer);
  for (const peer of peers) peer.write(answer);
}

const kinds = new Map();

/** The lengths of the frames that begin with `chunk`, and as many replies as are ever due at once. */
function framesLike(chunk) {
  const short = chunk[1] & 0x7f;
  const [header, payload] = short === 126 ? [4, chunk.readUInt16BE(2)] : [2, short];
  if (!kinds.has(payload)) {
    const reply = Buffer.alloc(header + payload, 'x');
    chunk.copy(reply, 0, 0, header);
    reply[1] &= 0x7f;
    const replies = Buffer.concat(Array.from({ length: MOST }, () => reply));
    kinds.set(payload, { received: header + MASK + payload, sent: reply.length, replies });
  }
  return kinds.get(payload);
}

function ignore() {}
