import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { MessageBody, SubscribeMessage } from '@nestjs/websockets';
import { SecureGateway, SecureWsModule } from 'nest-secure-ws';
import 'reflect-metadata';

@SecureGateway()
class EchoGateway {
  @SubscribeMessage('echo')
  echo(@MessageBody() data: unknown) {
    return { event: 'echo', data };
  }
}

const options = { connections: { maxPerIp: 10_000, rate: '100000/1s', maxPending: 10_000, maxPendingPerIp: 10_000 } };

@Module({ imports: [SecureWsModule.forRoot(options)], providers: [EchoGateway] })
class AppModule {}

const app = await NestFactory.create(AppModule, { logger: false });
await app.listen(0, '127.0.0.1');

/** Heap in use after garbage collection. */
async function heap(): Promise<number> {
  for (let i = 0; i < 4; i++) {
    global.gc?.();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return process.memoryUsage().heapUsed;
}

process.on('message', async () => process.send?.(await heap()));
process.send?.({ ready: (app.getHttpServer().address() as { port: number }).port });
