import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { MessageBody, SubscribeMessage } from '@nestjs/websockets';
import { SecureGateway, SecureWsModule, SecureWsStats } from 'nest-secure-ws';
import 'reflect-metadata';

/** A shared and a dedicated port, in a process without one internal of Node. */
const ownPort = Number(process.argv[2]);

class Echo {
  @SubscribeMessage('echo')
  echo(@MessageBody() data: unknown) {
    return { event: 'echo', data };
  }
}

@SecureGateway()
class SharedGateway extends Echo {}

@SecureGateway(ownPort)
class OwnGateway extends Echo {}

@Module({
  imports: [SecureWsModule.forRoot({ listen: { host: '127.0.0.1' }, connections: { deniedIps: ['127.0.9.9'] } })],
  providers: [SharedGateway, OwnGateway],
})
class AppModule {}

const app = await NestFactory.create(AppModule, { logger: ['error', 'warn', 'debug'] });
await app.listen(0, '127.0.0.1');
const stats = app.get(SecureWsStats);
process.on('message', async (message) => {
  if (message === 'close') {
    await app.close();
    process.send?.('closed');
    process.disconnect();
  } else process.send?.({ ...stats.snapshot(), compatibility: stats.settings().compatibility });
});
process.send?.({ ready: (app.getHttpServer().address() as { port: number }).port });
