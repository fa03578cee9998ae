import 'reflect-metadata';
import {
  type CallHandler,
  type CanActivate,
  type ExecutionContext,
  Module,
  type NestInterceptor,
  UseInterceptors,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { ConnectedSocket, SubscribeMessage } from '@nestjs/websockets';
import { SecureGateway, type SecureSocket, SecureWsModule, UseAdmissionGuards } from 'nest-secure-ws';
import { ClsModule, ClsServiceManager } from 'nestjs-cls';
import { Observable } from 'rxjs';

/** Gateways whose guards, interceptors and handlers store the user in nestjs-cls. */
const cls = ClsServiceManager.getClsService<{ user: string }>();
const userOf = (socket: SecureSocket): string => socket.query.get('user') ?? 'nobody';
const spin = (ms: number): void => {
  for (const until = performance.now() + ms; performance.now() < until; );
};

class UserGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const { query } = context.switchToHttp().getRequest<{ query: Record<string, string> }>();
    cls.enter();
    cls.set('user', query['user'] ?? 'nobody');
    return true;
  }
}

class UserInterceptor implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const user = userOf(context.switchToWs().getClient<SecureSocket>());
    return new Observable((observer) =>
      cls.run(() => {
        cls.set('user', user);
        return next.handle().subscribe(observer);
      }),
    );
  }
}

function answer(client: SecureSocket): object {
  spin(1);
  return { event: 'who', data: [userOf(client), cls.isActive() ? cls.get('user') : 'nobody'] };
}

@SecureGateway({ path: '/guarded' })
@UseAdmissionGuards(UserGuard)
class GuardedGateway {
  @SubscribeMessage('who') who(@ConnectedSocket() client: SecureSocket) {
    return answer(client);
  }
}

@SecureGateway({ path: '/intercepted' })
class InterceptedGateway {
  @SubscribeMessage('who') @UseInterceptors(new UserInterceptor()) who(@ConnectedSocket() client: SecureSocket) {
    return answer(client);
  }
  @SubscribeMessage('run') run(@ConnectedSocket() client: SecureSocket) {
    return cls.run(async () => {
      cls.set('user', userOf(client));
      await new Promise(setImmediate);
      return answer(client);
    });
  }
}

@Module({
  imports: [SecureWsModule.forRoot({ messages: { rate: '100000/1s' } }), ClsModule.forRoot({ global: true })],
  providers: [GuardedGateway, InterceptedGateway],
})
class AppModule {}

const adapters = process.argv[2] === 'fastify' ? [new FastifyAdapter()] : [];
const app = await NestFactory.create(AppModule, ...(adapters as []), { logger: false });
await app.listen(0, '127.0.0.1');
process.send?.({ ready: { port: (app.getHttpServer().address() as { port: number }).port } });
