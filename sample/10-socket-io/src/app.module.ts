import { Controller, Get, Module } from '@nestjs/common';
import { SecureWsModule } from 'nest-secure-ws';
import { ChatGateway } from './chat.gateway.js';
import { byName } from './guard.js';

@Controller()
class PageController {
  @Get()
  page(): string {
    return 'An ordinary page beside socket.io.\n';
  }
}

/** socket.io keeps its adapter, rooms and protocol; its upgrades are checked before they reach it. */
@Module({
  imports: [
    SecureWsModule.forRoot({
      foreign: [{ path: '/socket.io/', prefix: true, guards: [byName], connections: { max: 1000, maxPerIp: 20 } }],
    }),
  ],
  controllers: [PageController],
  providers: [ChatGateway],
})
export class AppModule {}
