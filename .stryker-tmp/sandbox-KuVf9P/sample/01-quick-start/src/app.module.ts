// @ts-nocheck
import { Module } from '@nestjs/common';
import { ConfigModule } from '@nestjs/config';
import { SecureWsModule } from 'nest-secure-ws';
import { EchoGateway } from './echo.gateway.js';
import { PageController } from './page.controller.js';

@Module({
  imports: [ConfigModule.forRoot(), SecureWsModule.forRoot()],
  controllers: [PageController],
  providers: [EchoGateway],
})
export class AppModule {}
