// @ts-nocheck
import { MessageBody, SubscribeMessage } from '@nestjs/websockets';
import { MessageRate, Principal, SecureGateway, SecureWsBroadcaster, UseAdmissionGuards } from 'nest-secure-ws';
import type { User } from './sessions.js';
import { TokenGuard } from './token.guard.js';

@SecureGateway({ path: '/chat' })
@UseAdmissionGuards(TokenGuard)
export class ChatGateway {
  constructor(private readonly broadcaster: SecureWsBroadcaster) {}

  @SubscribeMessage('say')
  @MessageRate('5/1s')
  say(@MessageBody() text: unknown, @Principal() user: User): void {
    this.broadcaster.emit('said', { by: user.id, text: String(text).slice(0, 500) });
  }
}
