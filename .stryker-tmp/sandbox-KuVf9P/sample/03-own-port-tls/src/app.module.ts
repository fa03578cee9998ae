// @ts-nocheck
import { Module } from '@nestjs/common';
import { SecureWsModule } from 'nest-secure-ws';
import { FeedGateway } from './feed.gateway.js';

/** The files are named in .env; they are read again when they change. */
@Module({ imports: [SecureWsModule.forRoot()], providers: [FeedGateway] })
export class AppModule {}
