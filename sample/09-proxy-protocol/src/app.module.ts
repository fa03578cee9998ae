import { Module } from '@nestjs/common';
import { ConfigModule } from '@nestjs/config';
import { SecureWsModule } from 'nest-secure-ws';
import { PageController } from './page.controller.js';
import { WhoGateway } from './who.gateway.js';

/** The trusted proxies and the PROXY protocol are configured in .env. */
@Module({
  imports: [ConfigModule.forRoot(), SecureWsModule.forRoot()],
  controllers: [PageController],
  providers: [WhoGateway],
})
export class AppModule {}
