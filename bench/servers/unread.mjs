// Sends as much as requested to a peer that may not read. Only the buffer limits are raised.
import { Inject } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { SubscribeMessage, WebSocketGateway } from '@nestjs/websockets';
import { SecureWsBroadcaster, SecureWsModule, SecureWsStats } from 'nest-secure-ws';
import { config, measured } from './agent.mjs';
import { moduleOf } from './gateway.mjs';

/** Digits that make each message different. */
const DIGITS = 10;

class Filler {
  fill(socket, [how, character, length, count]) {
    for (let at = 0; at < count; at++) {
      const text = character.repeat(length - DIGITS) + String(at).padStart(DIGITS);
      if (how === 'send') socket.send(text);
      else if (how === 'bytes') socket.send(Buffer.from(text));
      else if (how === 'event') socket.sendEvent('fill', text);
      else this.broadcaster.emit('fill', text);
    }
  }
}
SubscribeMessage('fill')(Filler.prototype, 'fill', Object.getOwnPropertyDescriptor(Filler.prototype, 'fill'));
WebSocketGateway({ path: '/' })(Filler);
Inject(SecureWsBroadcaster)(Filler.prototype, 'broadcaster');

const LARGE = '512mb';
const options = { buffers: { maxBuffered: LARGE, budget: LARGE, maxPerIp: LARGE }, compression: { mode: 'off' } };
const app = await NestFactory.create(moduleOf([Filler], [SecureWsModule.forRoot(options)]), {
  logger: false,
  ...(config.tls === undefined ? {} : { httpsOptions: config.tls }),
});
await app.listen(0, '127.0.0.1');
measured({ port: app.getHttpServer().address().port, stats: () => app.get(SecureWsStats).snapshot() });
