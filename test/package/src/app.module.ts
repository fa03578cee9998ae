import { Module, UsePipes, ValidationPipe } from '@nestjs/common';
import { ConnectedSocket, MessageBody, SubscribeMessage, type WsResponse } from '@nestjs/websockets';
import { IsString, MaxLength } from 'class-validator';
import {
  type Admission,
  type AdmissionGuard,
  allow,
  ClientIp,
  MessageRate,
  Principal,
  refuse,
  SecureGateway,
  SecureSocket,
  SecureWsModule,
  type SecureWsOptions,
  type SecureWsOptionsFactory,
  UpgradeAttempt,
  UseAdmissionGuards,
} from 'nest-secure-ws';

export interface User {
  readonly id: string;
}

export class SayDto {
  @IsString()
  @MaxLength(20)
  text!: string;
}

export class TokenGuard implements AdmissionGuard {
  admit({ query }: UpgradeAttempt): Admission {
    const id = query.get('token');
    return id === null ? refuse(401, 'Unauthorized') : allow({ principal: { id } satisfies User });
  }
}

@SecureGateway({ path: '/chat', messages: { maxQueue: 4 } })
@UseAdmissionGuards(TokenGuard)
@UsePipes(ValidationPipe)
export class ChatGateway {
  @SubscribeMessage('say')
  @MessageRate('5/1s')
  say(
    @MessageBody() { text }: SayDto,
    @ConnectedSocket() socket: SecureSocket<User>,
    @Principal() user: User,
    @ClientIp() ip: string,
  ): WsResponse<unknown> {
    return { event: 'said', data: { text, by: user.id, ip, same: socket.principal === user } };
  }
}

class Options implements SecureWsOptionsFactory {
  createSecureWsOptions(): SecureWsOptions {
    return { messages: { strikes: '3/1m' }, compression: { threshold: 16 } };
  }
}

@Module({ imports: [SecureWsModule.forRootAsync({ useClass: Options })], providers: [ChatGateway] })
export class AppModule {}
