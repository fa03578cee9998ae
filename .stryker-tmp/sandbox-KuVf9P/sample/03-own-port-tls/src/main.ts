// @ts-nocheck
import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { AppModule } from './app.module.js';
import { PORT } from './feed.gateway.js';

const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'] });
app.enableShutdownHooks(undefined, { useProcessExit: true });
await app.init();
console.log(`Listening on wss://localhost:${PORT}/feed`);
