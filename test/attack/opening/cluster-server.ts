import cluster, { type Worker } from 'node:cluster';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { SecureWsModule } from 'nest-secure-ws';
import { echoes } from './setups.js';
import 'reflect-metadata';

/** A primary that accepts connections, and one worker with the application that gets them. */
if (cluster.isPrimary) {
  const worker: Worker = cluster.fork();
  worker.on('message', (message) => process.send?.(message));
  worker.on('exit', (code) => process.exit(code));
  process.on('disconnect', () => worker.process.kill());
} else {
  @Module({ imports: [SecureWsModule.forRoot()], providers: echoes() })
  class AppModule {}

  const app = await NestFactory.create(AppModule, { logger: false });
  await app.listen(0, '127.0.0.1');
  process.send?.({ ready: (app.getHttpServer().address() as { port: number }).port });
}
