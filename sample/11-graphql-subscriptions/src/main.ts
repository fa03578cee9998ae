import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { AppModule } from './app.module.js';

const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'] });
app.enableShutdownHooks(undefined, { useProcessExit: true });
await app.listen(process.env['PORT'] ?? '3012', process.env['HOST'] ?? '127.0.0.1');
console.log(`Listening on ${await app.getUrl()}`);
