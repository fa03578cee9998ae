import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ConnectedSocket, MessageBody, SubscribeMessage } from '@nestjs/websockets';
import { SecureGateway, type SecureSocket, SecureWsBroadcaster, SecureWsModule, SecureWsStats } from 'nest-secure-ws';
import 'reflect-metadata';

/** Sends as much as requested to a client that may not read. */
@SecureGateway()
class FillGateway {
  constructor(private readonly broadcaster: SecureWsBroadcaster) {}

  @SubscribeMessage('fill')
  fill(
    @MessageBody() [how, character, length, count]: [string, string, number, number],
    @ConnectedSocket() socket: SecureSocket,
  ): void {
    for (let at = 0; at < count; at++) {
      const text = character.repeat(length - 10) + String(at).padStart(10);
      if (how === 'send') socket.send(text);
      else if (how === 'bytes') socket.send(Buffer.from(text));
      else if (how === 'event') socket.sendEvent(text);
      else this.broadcaster.emit('fill', text);
    }
  }
}

const { tls, compression } = JSON.parse(process.argv[2] ?? '{}') as { tls?: object; compression?: 'off' };
const options = {
  buffers: { maxBuffered: '512mb', budget: '512mb', maxPerIp: '512mb' } as const,
  compression: { mode: compression ?? 'shared' } as const,
};

@Module({ imports: [SecureWsModule.forRoot(options)], providers: [FillGateway] })
class AppModule {}

const app = await NestFactory.create(AppModule, {
  logger: false,
  ...(tls === undefined ? {} : { httpsOptions: tls }),
});
await app.listen(0, '127.0.0.1');

/** Resident bytes after garbage collection, and the bytes counted as held. */
async function memory(): Promise<{ rss: number; held: number }> {
  for (let i = 0; i < 4; i++) {
    global.gc?.();
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  return { rss: process.memoryUsage.rss(), held: app.get(SecureWsStats).snapshot().heldBytes };
}

process.on('message', async () => process.send?.(await memory()));
process.send?.({ ready: (app.getHttpServer().address() as { port: number }).port });
