import { Controller, Get, Module } from '@nestjs/common';
import { ConfigModule } from '@nestjs/config';
import { SecureWsModule } from 'nest-secure-ws';
import { BlockedGuard, ChatGateway, RoomGateway, TokenGuard } from './chat.gateway';

@Controller()
export class AppController {
  @Get() hello(): string {
    return 'hello';
  }
}

@Module({
  imports: [ConfigModule.forRoot(), SecureWsModule.forRoot({ shutdown: { drainTimeout: '5s' } })],
  controllers: [AppController],
  providers: [ChatGateway, RoomGateway, TokenGuard, BlockedGuard],
})
export class AppModule {}
