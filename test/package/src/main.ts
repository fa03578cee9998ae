import { NestFactory } from '@nestjs/core';
import { AppModule } from './app.module.js';
import 'reflect-metadata';

// No top-level await, because the same source is also compiled to CommonJS.
async function start(): Promise<void> {
  const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'] });
  app.enableShutdownHooks(undefined, { useProcessExit: true });
  await app.listen(0, '127.0.0.1');
  console.log(await app.getUrl());
}

void start();
