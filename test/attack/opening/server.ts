import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { SecureGateway, SecureWsModule } from 'nest-secure-ws';
import 'reflect-metadata';

const ownPort = Number(process.argv[2]);

@SecureGateway()
class SharedGateway {}

@SecureGateway(ownPort)
class OwnGateway {}

const connections = { rate: '100000/1s', maxPending: 1000, maxPendingPerIp: 1000 };

@Module({
  imports: [SecureWsModule.forRoot({ connections, listen: { host: '127.0.0.1' } })],
  providers: [SharedGateway, OwnGateway],
})
class AppModule {}

const app = await NestFactory.create(AppModule, { logger: false });
await app.listen(0, '127.0.0.1');

let peak = 0;
setInterval(() => {
  peak = Math.max(peak, process.memoryUsage.rss());
}, 2).unref();

/** Replies with the peak memory since the last request, and the present memory. */
process.on('message', () => {
  global.gc?.();
  const now = process.memoryUsage.rss();
  process.send?.({ peak: Math.max(peak, now), now });
  peak = 0;
});
process.send?.({ ready: (app.getHttpServer().address() as { port: number }).port });
