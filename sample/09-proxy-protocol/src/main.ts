import 'reflect-metadata';
import { ConfigService } from '@nestjs/config';
import { NestFactory } from '@nestjs/core';
import { AppModule } from './app.module.js';

const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'] });
app.enableShutdownHooks(undefined, { useProcessExit: true });
const config: ConfigService = app.get(ConfigService);
await app.listen(config.get<string>('PORT', '3010'), config.get<string>('HOST', '127.0.0.1'));
console.log(`Listening on ${await app.getUrl()}`);
