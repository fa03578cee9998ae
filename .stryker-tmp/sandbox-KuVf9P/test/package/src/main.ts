// @ts-nocheck
import { NestFactory } from '@nestjs/core';
import { AppModule } from './app.module.js';
import 'reflect-metadata';

const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'] });
app.enableShutdownHooks(undefined, { useProcessExit: true });
await app.listen(0, '127.0.0.1');
console.log(await app.getUrl());
