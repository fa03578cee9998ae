import { ConnectedSocket, MessageBody, SubscribeMessage, WebSocketGateway, WebSocketServer } from '@nestjs/websockets';
import { foreignAdmission } from 'nest-secure-ws';
import type { Server, Socket } from 'socket.io';

interface User {
  readonly name: string;
}

/** A gateway of Nest's socket.io adapter. Polling is off: only upgrades are guarded. */
@WebSocketGateway({ transports: ['websocket'] })
export class ChatGateway {
  @WebSocketServer() private readonly server!: Server;

  @SubscribeMessage('say')
  say(@MessageBody() text: string, @ConnectedSocket() socket: Socket): void {
    const user = foreignAdmission(socket.request)?.principal as User;
    this.server.emit('said', { name: user.name, text });
  }
}
