// @ts-nocheck
import 'reflect-metadata';
import { ConfigService } from '@nestjs/config';
import { NestFactory } from '@nestjs/core';
import { FeedModule } from './feed.module.js';

const app = await NestFactory.create(FeedModule, { logger: ['error', 'warn'] });
app.enableShutdownHooks(undefined, { useProcessExit: true });
await app.listen(app.get(ConfigService).get('PORT', 3007));
console.log(`Listening on ${await app.getUrl()}`);
