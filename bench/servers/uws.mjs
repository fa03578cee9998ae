// The same application on uWebSockets.js: parse, answer; its own publish and subscribe for broadcasts.
import { measured } from './agent.mjs';
import { loadUws } from './uws-binary.mjs';

const uws = loadUws();
const decoder = new TextDecoder();

const app = uws.App();

app
  .ws('/*', {
    maxPayloadLength: 1024 * 1024,
    open(socket) {
      socket.subscribe('all');
    },
    message(socket, raw) {
      const { event, data } = JSON.parse(decoder.decode(raw));
      if (event === 'echo') socket.send(JSON.stringify({ event, data }));
      else if (event === 'shout') app.publish('all', JSON.stringify({ event, data }));
    },
  })
  .listen('127.0.0.1', 0, (listening) => measured({ port: uws.us_socket_local_port(listening) }));
