import { UsePipes, ValidationPipe } from '@nestjs/common';
import { ConnectedSocket, MessageBody, SubscribeMessage } from '@nestjs/websockets';
import { MessageRate, SecureGateway, type SecureSocket, SecureWsBroadcaster } from 'nest-secure-ws';
import { RoomDto, SayDto } from './messages.js';

/** A connection leaves its rooms automatically when it ends. */
@SecureGateway({ path: '/rooms' })
@UsePipes(new ValidationPipe({ whitelist: true }))
export class RoomsGateway {
  constructor(private readonly broadcaster: SecureWsBroadcaster) {}

  @SubscribeMessage('join')
  join(@MessageBody() { room }: RoomDto, @ConnectedSocket() socket: SecureSocket) {
    socket.join(room);
    return { event: 'rooms', data: [...socket.rooms] };
  }

  @SubscribeMessage('leave')
  leave(@MessageBody() { room }: RoomDto, @ConnectedSocket() socket: SecureSocket) {
    socket.leave(room);
    return { event: 'rooms', data: [...socket.rooms] };
  }

  /** Only members of a room may send to it. */
  @SubscribeMessage('say')
  @MessageRate('10/1s')
  say(@MessageBody() { room, text }: SayDto, @ConnectedSocket() socket: SecureSocket): void {
    if (socket.rooms.has(room)) this.broadcaster.of(RoomsGateway).to(room).emit('said', { room, text });
  }
}
