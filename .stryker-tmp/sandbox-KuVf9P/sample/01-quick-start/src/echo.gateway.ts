// @ts-nocheck
import { MessageBody, SubscribeMessage } from '@nestjs/websockets';
import { SecureGateway, SecureWsBroadcaster } from 'nest-secure-ws';

@SecureGateway()
export class EchoGateway {
  constructor(private readonly broadcaster: SecureWsBroadcaster) {}

  @SubscribeMessage('echo')
  echo(@MessageBody() data: unknown) {
    return { event: 'echo', data };
  }

  @SubscribeMessage('shout')
  shout(@MessageBody() data: unknown): void {
    this.broadcaster.emit('shout', data);
  }
}
