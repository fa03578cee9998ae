// The minimum of a correct application on bare `ws`: parse, switch on the event, serialise, send.
import { createServer } from 'node:https';
import { WebSocket, WebSocketServer } from 'ws';
import { config, measured } from './agent.mjs';

const TUNED = {
  serverNoContextTakeover: true,
  clientNoContextTakeover: true,
  serverMaxWindowBits: 12,
  clientMaxWindowBits: 12,
  threshold: 256,
  zlibDeflateOptions: { memLevel: 5, windowBits: 12 },
};

const perMessageDeflate = config.compression === 'tuned' ? TUNED : Boolean(config.compression);
const https = config.tls && createServer(config.tls).listen(0, '127.0.0.1');
const where = https ? { server: https } : { host: '127.0.0.1', port: 0 };
const server = new WebSocketServer({ ...where, perMessageDeflate });

server.on('connection', (socket) => {
  socket.on('message', onMessage);
  socket.on('error', ignore);
});
server.on('listening', () => measured({ port: server.address().port }));

function onMessage(raw) {
  const message = parse(raw);
  switch (message?.event) {
    case 'echo':
      return this.send(JSON.stringify({ event: 'echo', data: message.data }));
    case 'shout':
      return shout(JSON.stringify({ event: 'shout', data: message.data }));
  }
}

function parse(raw) {
  try {
    return JSON.parse(raw.toString());
  } catch {
    return undefined;
  }
}

function shout(text) {
  for (const peer of server.clients) if (peer.readyState === WebSocket.OPEN) peer.send(text);
}

function ignore() {}
