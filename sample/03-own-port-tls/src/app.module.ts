import { Module } from '@nestjs/common';
import { SecureWsModule } from 'nest-secure-ws';
import { FeedGateway } from './feed.gateway.js';

/** The certificate files are named in .env, and are reloaded when they change. */
@Module({ imports: [SecureWsModule.forRoot()], providers: [FeedGateway] })
export class AppModule {}
