import { Injectable, Module, type OnModuleInit } from '@nestjs/common';
import { SubscribeMessage } from '@nestjs/websockets';
import { SecureGateway, SecureWsModule } from 'nest-secure-ws';

/** Prints in its constructor and hook; doctor must not run the hook. */
@Injectable()
class Hooked implements OnModuleInit {
  constructor() {
    console.log('constructed, with a secret: canary-of-stdout');
    // An application's leftover timer must not keep the command running.
    setInterval(() => undefined, 1000);
  }

  onModuleInit(): void {
    process.exit(77);
  }
}

@SecureGateway({ path: '/chat', messages: { maxSize: '2kb' }, connections: { allowedOrigins: ['*'] } })
class ChatGateway {
  @SubscribeMessage('echo')
  echo(): string {
    return 'echo';
  }
}

@SecureGateway(18_443, { path: '/plain' })
class PlainGateway {}

@Module({
  imports: [SecureWsModule.forRoot({ connections: { maxPerIp: 7 } })],
  providers: [ChatGateway, PlainGateway, Hooked],
})
export class AppModule {}
