import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { IoAdapter } from '@nestjs/platform-socket.io';
import { AppModule } from './app.module.js';

const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'] });
app.useWebSocketAdapter(new IoAdapter(app));
app.enableShutdownHooks(undefined, { useProcessExit: true });
await app.listen(process.env['PORT'] ?? '3011', process.env['HOST'] ?? '127.0.0.1');
console.log(`Listening on ${await app.getUrl()}`);
