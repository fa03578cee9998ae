import { NestFactory } from '@nestjs/core';
import { AppModule } from './app.module.js';
import 'reflect-metadata';

// Without await at the top: the same source is compiled to CommonJS, too.
async function start(): Promise<void> {
  const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'] });
  app.enableShutdownHooks(undefined, { useProcessExit: true });
  await app.listen(0, '127.0.0.1');
  console.log(await app.getUrl());
}

void start();
