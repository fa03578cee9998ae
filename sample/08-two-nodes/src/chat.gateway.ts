import { ConnectedSocket, MessageBody, SubscribeMessage } from '@nestjs/websockets';
import {
  allow,
  MessageRate,
  SecureGateway,
  type SecureSocket,
  SecureWsBroadcaster,
  type UpgradeAttempt,
  UseAdmissionGuards,
} from 'nest-secure-ws';

/** The client chooses its name. A real application authenticates its users: see 02-guards-and-env. */
const byName = ({ query }: UpgradeAttempt) => allow({ principal: query.get('name') ?? 'somebody' });

@SecureGateway({ path: '/chat' })
@UseAdmissionGuards(byName)
export class ChatGateway {
  constructor(private readonly broadcaster: SecureWsBroadcaster) {}

  /** Sends to everyone in the room, in both processes. */
  @SubscribeMessage('say')
  @MessageRate('10/1s')
  say(@MessageBody() text: unknown, @ConnectedSocket() socket: SecureSocket<string>): void {
    if (typeof text === 'string')
      this.broadcaster.to('lobby').except(socket).emit('said', { by: socket.principal, text, at: process.pid });
  }

  @SubscribeMessage('enter')
  async enter(@ConnectedSocket() socket: SecureSocket) {
    socket.join('lobby');
    return { event: 'entered', data: { process: process.pid, members: await this.broadcaster.count('lobby') } };
  }

  @SubscribeMessage('online')
  async online(@MessageBody() name: unknown) {
    return { event: 'online', data: await this.broadcaster.isOnline(String(name)) };
  }
}
