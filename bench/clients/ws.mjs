import { once } from 'node:events';
import { WebSocket } from 'ws';
import { config, measured } from './agent.mjs';

const sockets = [];
for (let at = 0; at < config.count; at++) {
  const socket = new WebSocket(`ws://127.0.0.1:${config.port}/`, { perMessageDeflate: false });
  await once(socket, 'open');
  sockets.push(socket);
}

measured(sockets, (socket, take) => {
  socket.removeAllListeners('message');
  socket.on('message', (data) => take(data.toString()));
});
