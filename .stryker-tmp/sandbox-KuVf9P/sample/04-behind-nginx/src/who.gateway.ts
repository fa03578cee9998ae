// @ts-nocheck
import { ConnectedSocket, SubscribeMessage } from '@nestjs/websockets';
import { ClientIp, SecureGateway, type SecureSocket } from 'nest-secure-ws';

@SecureGateway({ path: '/who' })
export class WhoGateway {
  @SubscribeMessage('who')
  who(@ClientIp() ip: string, @ConnectedSocket() { secure }: SecureSocket) {
    return { event: 'who', data: { ip, secure } };
  }
}
