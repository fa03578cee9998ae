// Connections of a few addresses that send valid upgrade heads without their end. Its own process, controlled over IPC.
import { connect } from 'node:net';
import { answer } from '../support/rpc.mjs';
import { source } from './peer.mjs';

/** The delay between bytes sent one by one (ms). */
const DRIP = 200;
let sockets = [];
let dripping;

answer({ start, open: () => sockets.filter(({ destroyed }) => !destroyed).length, stop });

/**
 * Each sends `lines` header lines of `length` bytes, at once or byte by byte. Resolves when all have started to connect.
 */
async function start({ port, count, lines, length, addresses = 1, drip = false }) {
  const line = (i) => `${`x${i}: `.padEnd(length - 2, 'v')}\r\n`;
  const head = Buffer.from(
    `GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n${Array.from({ length: lines }, (_, i) => line(i)).join('')}`,
    'latin1',
  );
  sockets = Array.from({ length: count }, (_, at) => {
    const from = source(at, { net: 3, sources: addresses });
    const socket = connect({ port, host: '127.0.0.1', localAddress: from, noDelay: true });
    socket.on('error', () => undefined);
    if (!drip) socket.on('connect', () => socket.write(head));
    socket.resume();
    return socket;
  });
  if (!drip) return;
  let sent = 0;
  dripping = setInterval(() => {
    const byte = head.subarray(sent, ++sent);
    for (const socket of sockets) if (socket.writable && !socket.connecting) socket.write(byte);
  }, DRIP);
}

function stop() {
  clearInterval(dripping);
  for (const socket of sockets) socket.destroy();
}
