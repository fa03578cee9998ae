import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { AppModule } from './app.module.js';

const app = await NestFactory.create<NestFastifyApplication>(AppModule, new FastifyAdapter(), {
  logger: ['error', 'warn'],
});
app.enableShutdownHooks(undefined, { useProcessExit: true });
// Without a host Fastify opens a server per loopback address: all of them are protected.
await app.listen(process.env['PORT'] ?? 3005);
console.log(`Listening on ${await app.getUrl()}`);
