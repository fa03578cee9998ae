// The same application on uWebSockets.js: parse, answer.
import { measured } from './agent.mjs';
import { loadUws } from './uws-binary.mjs';

const uws = loadUws();
const decoder = new TextDecoder();

uws
  .App()
  .ws('/*', {
    maxPayloadLength: 1024 * 1024,
    message(socket, raw) {
      const { data } = JSON.parse(decoder.decode(raw));
      socket.send(JSON.stringify({ event: 'echo', data }));
    },
  })
  .listen('127.0.0.1', 0, (listening) => measured({ port: uws.us_socket_local_port(listening) }));
