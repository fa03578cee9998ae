import {
  ArgumentsHost,
  BadRequestException,
  CanActivate,
  Catch,
  ExecutionContext,
  Injectable,
  OnModuleDestroy,
  UseFilters,
  UseGuards,
  UsePipes,
  ValidationPipe,
} from '@nestjs/common';
import {
  BaseWsExceptionFilter,
  ConnectedSocket,
  MessageBody,
  OnGatewayConnection,
  OnGatewayDisconnect,
  OnGatewayInit,
  SubscribeMessage,
  WebSocketServer,
  WsException,
} from '@nestjs/websockets';
import { IsString, MaxLength } from 'class-validator';
import {
  Admission,
  AdmissionGuard,
  allow,
  ClientIp,
  MessageRate,
  PathParam,
  Principal,
  refuse,
  SecureGateway,
  SecureSocket,
  SecureWsBroadcaster,
  UpgradeAttempt,
  UseAdmissionGuards,
} from 'nest-secure-ws';
import { interval, map, Observable, take } from 'rxjs';
import type { WebSocketServer as Server } from 'ws';

export interface User {
  readonly id: string;
}

export class SayDto {
  @IsString()
  @MaxLength(20)
  text!: string;
}

@Injectable()
export class TokenGuard implements AdmissionGuard {
  admit({ query }: UpgradeAttempt): Admission {
    const id = query.get('token');
    return id === null ? refuse(401, 'Unauthorized') : allow({ principal: { id } });
  }
}

/** A Nest guard, as an application has it for HTTP. */
@Injectable()
export class BlockedGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<{ ip: string; query: Record<string, string> }>();
    return request.ip === '127.0.0.1' && request.query['token'] !== 'blocked';
  }
}

@Injectable()
export class DeniedGuard implements CanActivate {
  canActivate(): boolean {
    return false;
  }
}

@Catch(WsException)
export class ChatFilter extends BaseWsExceptionFilter {
  override catch(exception: WsException, host: ArgumentsHost): void {
    super.catch(exception, host);
  }
}

/** The hooks and handlers called, in order. */
export const history: string[] = [];

@SecureGateway({ path: '/chat', messages: { maxQueue: 4 } })
@UseAdmissionGuards(TokenGuard, BlockedGuard)
@UsePipes(ValidationPipe)
export class ChatGateway implements OnGatewayInit, OnGatewayConnection, OnGatewayDisconnect, OnModuleDestroy {
  @WebSocketServer() server!: Server;

  constructor(private readonly broadcaster: SecureWsBroadcaster) {}

  afterInit(server: Server): void {
    history.push(`init ${server === this.server}`);
  }

  async handleConnection(client: SecureSocket<User>): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 5));
    client.join('all');
    history.push(`connected ${client.principal.id}`);
  }

  handleDisconnect(client: SecureSocket<User>, code?: number): void {
    history.push(`left ${client.principal.id} ${code}`);
  }

  onModuleDestroy(): void {
    history.push('destroyed');
  }

  @SubscribeMessage('say')
  @MessageRate('5/1s')
  say(@MessageBody() { text }: SayDto, @Principal() user: User, @ClientIp() ip: string) {
    return { event: 'said', data: { text, by: user.id, ip } };
  }

  @SubscribeMessage('shout')
  shout(@MessageBody() text: string): void {
    this.broadcaster.to('all').emit('shouted', text);
  }

  @SubscribeMessage('count')
  count(): Observable<unknown> {
    return interval(1).pipe(
      take(3),
      map((data) => ({ event: 'counted', data })),
    );
  }

  @SubscribeMessage('denied') @UseGuards(DeniedGuard) denied(): void {}

  @SubscribeMessage('bad') bad(): never {
    throw new BadRequestException('be polite');
  }

  @SubscribeMessage('bug') bug(): never {
    throw new Error('the password is swordfish');
  }

  @SubscribeMessage('filtered') @UseFilters(ChatFilter) filtered(): never {
    throw new WsException('not today');
  }

  @SubscribeMessage('filtered bug') @UseFilters(new BaseWsExceptionFilter()) filteredBug(): never {
    throw new Error('the password is swordfish');
  }

  @SubscribeMessage('slow') async slow() {
    await new Promise((resolve) => setTimeout(resolve, 200));
    history.push('slow is done');
    return { event: 'slow' };
  }

  @SubscribeMessage(0) zero() {
    return { event: 0 };
  }
}

@SecureGateway({ path: '/rooms/:room' })
export class RoomGateway {
  @SubscribeMessage('where') where(@ConnectedSocket() socket: SecureSocket, @PathParam('room') room: string) {
    return { event: 'here', data: [room, socket.params['room']] };
  }
}
