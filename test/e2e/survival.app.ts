import { createServer } from 'node:net';
import {
  Catch,
  type ExceptionFilter,
  Inject,
  Injectable,
  Module,
  Scope,
  UseFilters,
  UseInterceptors,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { MessageBody, SubscribeMessage, WsException } from '@nestjs/websockets';
import { SecureGateway, type SecureSocket, SecureWsModule } from 'nest-secure-ws';
import 'reflect-metadata';
import { Observable, of, throwError } from 'rxjs';
import { map } from 'rxjs/operators';

/** An application whose code fails in every way, in its own process, which must keep serving. */
const HOOKS = ['throws', 'rejects', 'late'] as const;

@Injectable({ scope: Scope.REQUEST })
class Unreliable {
  static calls = 0;
  constructor() {
    if (Unreliable.calls++ % 2 === 0) throw new Error('cannot be made');
  }
}

@Catch()
class AsyncFilter implements ExceptionFilter {
  async catch(): Promise<void> {
    await null;
    throw new Error('a filter rejects');
  }
}

@Catch()
class ArrowFilter implements ExceptionFilter {
  catch = () => Promise.reject(new Error('a filter rejects'));
}

class Throws {
  intercept(): never {
    throw new Error('an interceptor throws');
  }
}

@SecureGateway({ path: '/handlers', messages: { strikes: '1000/1s' } })
class HandlersGateway {
  handleConnection(client: SecureSocket): void {
    client.on('ping', () => {
      throw new Error('a listener throws');
    });
  }
  @SubscribeMessage('echo') echo(@MessageBody() data: unknown) {
    return { event: 'echo', data };
  }
  @SubscribeMessage('throws') throws() {
    throw new Error('x');
  }
  @SubscribeMessage('rejects') async rejects() {
    throw new Error('x');
  }
  @SubscribeMessage('nothing') undefinedThrown() {
    throw undefined;
  }
  @SubscribeMessage('stream') stream() {
    return throwError(() => new WsException('x'));
  }
  @SubscribeMessage('mapped') mapped() {
    return of(1).pipe(
      map(() => {
        throw new Error('x');
      }),
    );
  }
  @SubscribeMessage('teardown') teardown() {
    return new Observable(() => () => {
      throw new Error('a teardown throws');
    });
  }
  @SubscribeMessage('toJSON') json() {
    return {
      toJSON() {
        throw new Error('x');
      },
    };
  }
  @SubscribeMessage('filter') @UseFilters(AsyncFilter) filter() {
    throw new Error('x');
  }
  @SubscribeMessage('arrow') @UseFilters(ArrowFilter) arrow() {
    throw new Error('x');
  }
  @SubscribeMessage('arrow instance') @UseFilters(new ArrowFilter()) arrowInstance() {
    throw new Error('x');
  }
  @SubscribeMessage('interceptor') @UseInterceptors(new Throws()) interceptor() {}
}

const hooked = HOOKS.map((how) => {
  const misbehave = (): unknown => {
    if (how === 'throws') throw new Error('a hook throws');
    if (how === 'rejects') return Promise.reject(new Error('a hook rejects'));
    return new Promise((_, reject) => setTimeout(reject, 5, new Error('a hook rejects late')));
  };
  @SecureGateway({ path: `/hooks/${how}` })
  class HookGateway {
    handleConnection(): unknown {
      return misbehave();
    }
    handleDisconnect = (): unknown => misbehave();
  }
  @SecureGateway({ path: `/leaving/${how}` })
  class LeavingGateway {
    handleDisconnect(): unknown {
      return misbehave();
    }
  }
  return [HookGateway, LeavingGateway];
});

@SecureGateway({ path: '/scoped' })
class ScopedGateway {
  constructor(@Inject(Unreliable) readonly moody: Unreliable) {}
  @SubscribeMessage('echo') echo() {
    return { event: 'echo' };
  }
}

const parser = (data: string | Buffer) =>
  data.length % 2 === 0 ? (Promise.reject(new Error('x')) as never) : JSON.parse('{');
@SecureGateway({ path: '/parser', messageParser: parser })
class ParserGateway {}

const limits = { connections: { maxPerIp: 10_000, rate: '100000/1s', maxPendingPerIp: 10_000, maxPending: 10_000 } };
@Module({
  imports: [SecureWsModule.forRoot(limits)],
  providers: [HandlersGateway, ...hooked.flat(), ScopedGateway, ParserGateway, Unreliable],
})
class AppModule {}

const app = await NestFactory.create(AppModule, process.env['QUIET'] === '1' ? { logger: false } : {});
await app.listen(0, '127.0.0.1');
/** Passes its connections to the application's server, as port multiplexers do. */
const front = createServer({ allowHalfOpen: true }, (socket) => app.getHttpServer().emit('connection', socket));
await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve));
const handlers = (name: string) => process.listenerCount(name);
process.send?.({
  ready: {
    port: (app.getHttpServer().address() as { port: number }).port,
    front: (front.address() as { port: number }).port,
    installed: handlers('uncaughtException') + handlers('unhandledRejection') + handlers('uncaughtExceptionMonitor'),
  },
});
