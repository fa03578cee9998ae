import { connect } from 'nest-secure-ws';
import { config, measured } from './agent.mjs';

const sockets = [];
for (let at = 0; at < config.count; at++)
  sockets.push(await connect(`ws://127.0.0.1:${config.port}/`, { compression: { mode: 'off' } }));

measured(sockets, (socket, take) => {
  socket.removeAllListeners('message');
  socket.on('message', (data) => take(data.toString()));
});
