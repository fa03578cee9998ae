// Connections of one address that send legal upgrade heads and never end them. A process of its own, told over IPC.
import { connect } from 'node:net';
import { answer } from '../support/rpc.mjs';
import { source } from './peer.mjs';

const CROWD = source(0, { net: 3 });
let sockets = [];

answer({ start, open: () => sockets.filter(({ destroyed }) => !destroyed).length, stop });

/** Each sends `lines` header lines of `length` bytes. Resolves when all have begun to connect. */
async function start({ port, count, lines, length }) {
  const line = (i) => `${`x${i}: `.padEnd(length - 2, 'v')}\r\n`;
  const head = Buffer.from(
    `GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n${Array.from({ length: lines }, (_, i) => line(i)).join('')}`,
    'latin1',
  );
  sockets = Array.from({ length: count }, () => {
    const socket = connect({ port, host: '127.0.0.1', localAddress: CROWD, noDelay: true });
    socket.on('error', () => undefined);
    socket.on('connect', () => socket.write(head));
    socket.resume();
    return socket;
  });
}

function stop() {
  for (const socket of sockets) socket.destroy();
}
