import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { upgradeRequest } from '../load/peer.mjs';

/** A socket that resolves when connected, discards what it reads, and never throws. */
export function dial({ port, from }) {
  const socket = connect({ port, host: '127.0.0.1', localAddress: from, allowHalfOpen: true });
  socket.on('error', () => {});
  return new Promise((resolve) => {
    socket.once('connect', () => resolve(socket));
    socket.once('close', () => resolve(socket));
  });
}

/** A socket after its 101, or an error. */
export async function upgraded(target) {
  const socket = await dial(target);
  socket.write(upgradeRequest(target.port));
  const answer = await firstBytes(socket);
  if (!answer.startsWith('HTTP/1.1 101')) {
    socket.destroy();
    throw new Error(`no 101: ${answer.split('\r\n')[0] || 'closed'}`);
  }
  return socket;
}

/** The first bytes from the other side, or nothing when it ends instead. */
export function firstBytes(socket) {
  return new Promise((resolve) => {
    socket.once('data', (chunk) => resolve(chunk.latin1Slice()));
    onceOver(socket, () => resolve(''));
  });
}

/** Calls back when the other side has ended or the socket is closed, at once if it already is. */
export function onceOver(socket, callback) {
  if (socket.destroyed || socket.readableEnded) return callback();
  socket.once('end', callback);
  socket.once('close', callback);
}

/** Waits until the server ends the connection; false when it has not within `timeout` ms. The socket is closed afterwards. */
export async function endedByServer(socket, timeout) {
  socket.resume();
  const deadline = new AbortController();
  const ended = new Promise((resolve) => onceOver(socket, () => resolve(true)));
  const late = sleep(timeout, false, { signal: deadline.signal }).catch(() => true);
  const result = await Promise.race([ended, late]);
  deadline.abort();
  socket.destroy();
  return result;
}
