import { Module } from '@nestjs/common';
import { ConfigModule } from '@nestjs/config';
import { SecureWsModule } from 'nest-secure-ws';
import { ChatGateway } from './chat.gateway.js';
import { OperatorController } from './operator.controller.js';

/** The cluster is configured in .env; the code does not depend on it. */
@Module({
  imports: [ConfigModule.forRoot(), SecureWsModule.forRoot()],
  controllers: [OperatorController],
  providers: [ChatGateway],
})
export class AppModule {}
