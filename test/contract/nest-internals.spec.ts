import { afterEach, describe, expect, it } from '@jest/globals';
import {
  type ArgumentsHost,
  Catch,
  type ExceptionFilter,
  Injectable,
  type OnApplicationBootstrap,
  type OnModuleDestroy,
  Scope,
  UseFilters,
  type WebSocketAdapter,
  type WsMessageHandler,
} from '@nestjs/common';
import { HttpAdapterHost, ModulesContainer } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { SubscribeMessage, WebSocketGateway } from '@nestjs/websockets';
import * as nest from '../../lib/compat/nest.js';

const called: string[] = [];
const connected: ((...args: unknown[]) => void)[] = [];
const bound: WsMessageHandler[][] = [];
const left: ((reason: unknown) => void)[] = [];

/** Records the calls of Nest to an adapter. */
class Recorder implements WebSocketAdapter {
  set forceCloseConnections(_: boolean) {
    called.push('forceCloseConnections');
  }
  create(port: number, options?: { path?: string }): object {
    called.push(`create ${port} ${options?.path}`);
    return { path: options?.path };
  }
  bindClientConnect(_: object, callback: (...args: unknown[]) => void): void {
    called.push('bindClientConnect');
    connected.push(callback);
  }
  bindClientDisconnect(_: object, callback: (reason: unknown) => void): void {
    called.push('bindClientDisconnect');
    left.push(callback);
  }
  bindMessageHandlers(_: object, handlers: WsMessageHandler[]): void {
    called.push('bindMessageHandlers');
    bound.push(handlers);
  }
  close(): void {
    called.push('close');
  }
  async dispose(): Promise<void> {
    called.push('dispose');
  }
}

class Naming implements ExceptionFilter {
  constructor(readonly name: string) {}
  catch(_: unknown, host: ArgumentsHost): void {
    called.push(`filter ${this.name} ${host.getType()} ${host.getArgs().length}`);
  }
}
const [First, Second] = [new Naming('first'), new Naming('second')];
Catch()(Naming);

@UseFilters(First, Second)
@WebSocketGateway({ path: '/one' })
class OneGateway implements OnApplicationBootstrap, OnModuleDestroy {
  handleConnection(client: unknown, request: unknown): void {
    called.push(`handleConnection ${client} ${request}`);
  }
  handleDisconnect(client: unknown, reason: unknown): void {
    called.push(`handleDisconnect ${client} ${reason}`);
  }
  onApplicationBootstrap(): void {
    called.push('onApplicationBootstrap');
  }
  onModuleDestroy(): void {
    called.push('onModuleDestroy');
  }
  @SubscribeMessage('value') value(_client: unknown, data: unknown) {
    return data;
  }
  @SubscribeMessage('throws') throws() {
    throw new Error('x');
  }
}

@WebSocketGateway({ path: '/one' })
class SameGateway {}

@WebSocketGateway(8123, { path: '/two' })
class TwoGateway {}

@Injectable({ scope: Scope.REQUEST })
class PerRequest {}

@WebSocketGateway({ path: '/scoped' })
class ScopedGateway {
  constructor(readonly request: PerRequest) {}
}

const closing: { close(): unknown }[] = [];
afterEach(async () => {
  for (const each of closing.splice(0)) await each.close();
  for (const list of [called, connected, bound, left]) list.splice(0);
});

async function started(...providers: (abstract new (...args: never[]) => unknown)[]) {
  const testing = await Test.createTestingModule({ providers: providers as never[] }).compile();
  const app = testing.createNestApplication({ logger: false });
  app.useWebSocketAdapter(new Recorder());
  await app.init();
  closing.push(app);
  return app;
}

describe('Nest and its WebSocket adapter', () => {
  it('sets forceCloseConnections first, creates one server per port and path, and bootstraps afterwards', async () => {
    await started(OneGateway, SameGateway, TwoGateway);
    expect(called[0]).toBe('forceCloseConnections');
    expect(called.filter((each) => each.startsWith('create')).sort()).toEqual(['create 0 /one', 'create 8123 /two']);
    expect(called.filter((each) => each === 'bindClientConnect')).toHaveLength(3);
    expect(called.at(-1)).toBe('onApplicationBootstrap');
  });

  it('calls hooks directly after the connect callback, then binds handlers, then the disconnect', async () => {
    await started(OneGateway);
    called.splice(0);
    connected[0]!('client', 'request');
    expect(called).toEqual(['handleConnection client request', 'bindMessageHandlers', 'bindClientDisconnect']);
    left[0]!(4000);
    expect(called.at(-1)).toBe('handleDisconnect client 4000');
  });

  it('binds handlers that take data and event and return a promise', async () => {
    await started(OneGateway);
    connected[0]!({});
    const value = bound[0]!.find(({ message }) => message === 'value')!;
    await expect((value.callback as (...args: unknown[]) => Promise<unknown>)(7, 'value')).resolves.toBe(7);
  });

  it('applies the first filter of a class last', async () => {
    await started(OneGateway);
    connected[0]!({});
    const throws = bound[0]!.find(({ message }) => message === 'throws')!;
    await (throws.callback as (...args: unknown[]) => Promise<unknown>)(7, 'throws');
    expect(called.at(-1)).toBe('filter second ws 4');
  });

  it('closes in this order: beforeClose, hooks, adapter.close for each server, dispose', async () => {
    const app = await started(OneGateway, TwoGateway);
    const { httpAdapter } = app.get(HttpAdapterHost);
    (httpAdapter as unknown as { beforeClose(): void }).beforeClose = () => called.push('beforeClose');
    called.splice(0);
    await closing.pop()!.close();
    expect(called).toEqual(['beforeClose', 'onModuleDestroy', 'close', 'close', 'dispose']);
  });

  it('provides instances of request-scoped gateways through getInstanceByContextId', async () => {
    const app = await started(ScopedGateway, PerRequest);
    const wrappers = [...app.get(ModulesContainer).values()].flatMap(({ providers }) => [...providers.values()]);
    const wrapper = wrappers.find(({ metatype }) => metatype === ScopedGateway)!;
    expect(wrapper.isDependencyTreeStatic()).toBe(false);
    expect(Object.getPrototypeOf(wrapper.instance)).toBe(ScopedGateway.prototype);
    const seen: unknown[] = [];
    const lookUp = wrapper.getInstanceByContextId.bind(wrapper);
    wrapper.getInstanceByContextId = (...args) => {
      const host = lookUp(...args);
      seen.push(host.instance);
      return host;
    };
    connected[0]!({});
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect((seen.at(-1) as ScopedGateway).request).toBeInstanceOf(PerRequest);
  });

  it('stores the metadata of its decorators under the expected keys', () => {
    expect([
      Reflect.getMetadata(nest.GATEWAY_METADATA, TwoGateway),
      Reflect.getMetadata(nest.PORT_METADATA, TwoGateway),
      Reflect.getMetadata(nest.GATEWAY_OPTIONS, TwoGateway),
      Reflect.getMetadata(nest.EXCEPTION_FILTERS_METADATA, OneGateway),
    ]).toEqual([true, 8123, { path: '/two' }, [First, Second]]);
    const { value } = OneGateway.prototype;
    expect([
      Reflect.getMetadata(nest.MESSAGE_MAPPING_METADATA, value),
      Reflect.getMetadata(nest.MESSAGE_METADATA, value),
    ]).toEqual([true, 'value']);
    expect([nest.scopeOf(PerRequest), nest.scopeOf(OneGateway)]).toEqual([Scope.REQUEST, undefined]);
    // Nest calls these internal: a change there needs a change here.
    expect(Object.entries(nest).filter(([name]) => name.endsWith('METADATA') || name === 'GATEWAY_OPTIONS')).toEqual(
      expect.arrayContaining([
        ['GATEWAY_METADATA', 'websockets:is_gateway'],
        ['MESSAGE_METADATA', 'message'],
        ['INTERCEPTORS_METADATA', '__interceptors__'],
        ['EXCEPTION_FILTERS_METADATA', '__exceptionFilters__'],
      ]),
    );
  });
});

it('Fastify keeps its secondary servers under this symbol', () => {
  const instance = new FastifyAdapter().getInstance() as unknown as Record<symbol, unknown>;
  const holders = [instance, Object.getPrototypeOf(instance) as object];
  const symbol = holders
    .flatMap((holder) => Object.getOwnPropertySymbols(holder))
    .find(({ description }) => description === 'fastify.serverBindings');
  expect(symbol && instance[symbol]).toEqual([]);
});
