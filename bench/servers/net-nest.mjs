// The floor of a Nest handler: sockets of node:net, one frame after the other unmasked and parsed, Nest's own path to the handler, and
// its reply as one write. No limit, no check, no fragment, no close: the least that an adapter can do for these messages.
import 'reflect-metadata';
import { createServer } from 'node:net';
import { NestFactory } from '@nestjs/core';
import { acceptedWith, keyOf, MASK, sizeOf } from '../support/upgrade.mjs';
import { measured } from './agent.mjs';
import { gateway, moduleOf } from './gateway.mjs';

const END_OF_HEAD = '\r\n\r\n';
const FIN_TEXT = 0x81;

class NetAdapter {
  create() {
    this.server = createServer({ noDelay: true }, accept);
    this.server.accepted = (socket) => this.connected(socket);
    return this.server;
  }
  bindClientConnect(_server, connected) {
    this.connected = connected;
  }
  bindClientDisconnect() {}
  bindMessageHandlers(socket, handlers) {
    socket.handlers = new Map(handlers.map(({ message, callback }) => [message, callback]));
  }
  close() {}
  dispose() {}
}

function accept(socket) {
  socket.on('error', ignore);
  socket.owner = this;
  socket.on('data', onHead);
}

function onHead(chunk) {
  if (chunk.indexOf(END_OF_HEAD) < 0) return this.destroy();
  this.write(acceptedWith(keyOf(chunk)));
  this.removeListener('data', onHead);
  this.rest = undefined;
  this.replies = '';
  this.on('data', onFrames);
  this.reply = replyWith.bind(this);
  this.owner.accepted(this);
}

function onFrames(chunk) {
  const bytes = this.rest === undefined ? chunk : Buffer.concat([this.rest, chunk]);
  let at = 0;
  for (let size = sizeOf(bytes, at); at + size <= bytes.length; size = sizeOf(bytes, at)) {
    const short = (bytes[at + 1] & 0x7f) < 126;
    handle(this, unmasked(bytes, at + (short ? 2 : 4), at + size));
    at += size;
  }
  this.rest = at < bytes.length ? Buffer.from(bytes.subarray(at)) : undefined;
}

function unmasked(bytes, mask, end) {
  const start = mask + MASK;
  for (let at = start; at < end; at++) bytes[at] ^= bytes[mask + ((at - start) & 3)];
  return bytes.utf8Slice(start, end);
}

function handle(socket, text) {
  const { event, data } = JSON.parse(text);
  socket.handlers.get(event)(data, event).then(socket.reply);
}

/** The first reply of a turn is written in the next microtask with those that are ready by then. */
function replyWith(result) {
  const text = JSON.stringify(result);
  const { length } = text;
  const head = length < 126 ? [FIN_TEXT, length] : [FIN_TEXT, 126, length >> 8, length & 255];
  this.replies += String.fromCharCode(...head) + text;
  if (this.isDue) return;
  this.isDue = true;
  queueMicrotask(() => flush(this));
}

function flush(socket) {
  const { replies } = socket;
  socket.isDue = false;
  socket.replies = '';
  socket.write(replies, 'latin1');
}

function ignore() {}

const adapter = new NetAdapter();
const app = await NestFactory.create(moduleOf([gateway(ignore, { path: '/' })]), { logger: false });
app.useWebSocketAdapter(adapter);
await app.init();
adapter.server.listen(0, '127.0.0.1', () => measured({ port: adapter.server.address().port }));
