import { Module } from '@nestjs/common';
import { ConfigModule } from '@nestjs/config';
import { SecureWsModule } from 'nest-secure-ws';
import { ChatGateway } from './chat.gateway.js';
import { OperatorController } from './operator.controller.js';

/** That there are two processes stands in .env, and nowhere in the code. */
@Module({
  imports: [ConfigModule.forRoot(), SecureWsModule.forRoot()],
  controllers: [OperatorController],
  providers: [ChatGateway],
})
export class AppModule {}
