import { Module } from '@nestjs/common';
import { ConfigModule } from '@nestjs/config';
import { beforeBuiltIn, SecureWsModule } from 'nest-secure-ws';
import { ChatGateway } from './chat.gateway.js';
import { MaintenanceGuard } from './maintenance.guard.js';
import { Sessions } from './sessions.js';
import { TokenGuard } from './token.guard.js';

@Module({
  imports: [
    ConfigModule.forRoot(),
    // Every limit comes from .env. This guard runs before the built-in checks, for every gateway.
    SecureWsModule.forRoot({ guards: [beforeBuiltIn(MaintenanceGuard)] }),
  ],
  providers: [ChatGateway, TokenGuard, Sessions, MaintenanceGuard],
})
export class AppModule {}
