import { describe, expect, it } from '@jest/globals';
import { type CanActivate, type ExecutionContext, Injectable, type Type } from '@nestjs/common';
import { ConnectedSocket, SubscribeMessage, WebSocketGateway } from '@nestjs/websockets';
import {
  allow,
  PathParam,
  SecureGateway,
  type SecureSocket,
  SecureWsBroadcaster,
  type UpgradeAttempt,
  UseAdmissionGuards,
} from 'nest-secure-ws';
import { eventually, PLATFORMS, type Platform, startApp, type TestApp } from '../support/app.js';
import { openedByTests } from '../support/opened.js';
import { freePort } from '../support/ports.js';
import { RawClient, type Response, upgradeHead } from '../support/raw-client.js';

const opened = openedByTests();
const { clients } = opened;

const start = async (gateways: readonly Type[], platform: Platform = 'express'): Promise<TestApp> => {
  opened.app = await startApp({ gateways, platform });
  return opened.app;
};

async function open(port: number, path: string): Promise<RawClient> {
  const client = await RawClient.open({ port }, { path });
  clients.push(client);
  return client;
}

async function ask(port: number, path: string): Promise<Response> {
  const client = await RawClient.connect({ port });
  clients.push(client);
  return client.upgrade(upgradeHead(port, { path }));
}

const where = (socket: SecureSocket) => ({
  event: 'where',
  data: { path: socket.path, route: socket.route, params: { ...socket.params } },
});

async function whereIs(port: number, path: string): Promise<unknown> {
  const client = await open(port, path);
  client.send('where');
  return ((await client.json()) as { data: unknown }).data;
}

describe('a gateway path with parameters', () => {
  it.each(PLATFORMS)('gives handlers and guards its parameters and its route (%s)', async (platform) => {
    const seen: unknown[] = [];
    @SecureGateway({ path: '/rooms/:id/users/:user' })
    @UseAdmissionGuards(({ params, route, path }: UpgradeAttempt) => {
      seen.push([{ ...params }, route, path]);
      return params['id'] === 'closed' ? false : allow({ principal: params['user'] });
    })
    class RoomGateway {
      @SubscribeMessage('param')
      param(@PathParam('id') id: string, @PathParam() all: object, @PathParam('none') none: unknown) {
        return { event: 'param', data: [id, all, none === undefined] };
      }
      @SubscribeMessage('where')
      where(@ConnectedSocket() socket: SecureSocket) {
        return where(socket);
      }
    }
    const { port } = await start([RoomGateway], platform);
    const client = await open(port, '/rooms/a%2Fb/users/J%C3%BCrgen?x=1');
    client.send('where');
    expect(await client.json()).toEqual({
      event: 'where',
      data: {
        path: '/rooms/a%2Fb/users/J%C3%BCrgen',
        route: '/rooms/:id/users/:user',
        params: { id: 'a/b', user: 'Jürgen' },
      },
    });
    client.send('param');
    expect(await client.json()).toEqual({ event: 'param', data: ['a/b', { id: 'a/b', user: 'Jürgen' }, true] });
    expect(seen).toEqual([[{ id: 'a/b', user: 'Jürgen' }, '/rooms/:id/users/:user', '/rooms/a%2Fb/users/J%C3%BCrgen']]);
    expect((await ask(port, '/rooms/closed/users/x')).status).toBe(403);
  });

  it('is matched after literals and before wildcards; malformed escapes are 400, unknown paths 404', async () => {
    const gateway = (path: string): Type => {
      @SecureGateway({ path })
      class PathGateway {
        @SubscribeMessage('where')
        where(@ConnectedSocket() socket: SecureSocket) {
          return where(socket);
        }
      }
      return PathGateway;
    };
    const app = await start(['/files/*rest', '/rooms/:id', '/rooms/lobby', '/chat'].map(gateway));
    const { port } = app;
    expect(await whereIs(port, '/rooms/lobby')).toMatchObject({ route: '/rooms/lobby', params: {} });
    expect(await whereIs(port, '/rooms/5')).toMatchObject({ route: '/rooms/:id', params: { id: '5' } });
    expect(await whereIs(port, '/files/a/b%20c')).toMatchObject({ route: '/files/*rest', params: { rest: 'a/b c' } });
    expect(await whereIs(port, '/chat')).toEqual({ path: '/chat', route: '/chat', params: {} });
    for (const [path, status] of [
      ['/rooms/%', 400],
      ['/rooms/%C3', 400],
      [`/rooms/${'x'.repeat(257)}`, 400],
      ['/files/a/%zz', 400],
      ['/rooms', 404],
      ['/rooms/', 404],
      ['/rooms/5/', 404],
      ['/rooms/5/6', 404],
      ['/files', 404],
      ['/files/', 404],
      ['/Rooms/5', 404],
      ['/chat/', 404],
      ['/%63hat', 404],
      ['//rooms/5', 404],
    ] as const) {
      const { status: got, raw } = await ask(port, path);
      expect([path, got]).toEqual([path, status]);
      expect(raw).not.toContain('%');
    }
    for (const client of clients.splice(0)) client.destroy();
    await eventually(() => app.stats().slots === 0 && app.stats().pending === 0);
  });

  it('shares limits, rooms and counters among all its paths', async () => {
    let joined = 0;
    @SecureGateway({ path: '/rooms/:id', connections: { max: 2 } })
    class RoomGateway {
      handleConnection(socket: SecureSocket) {
        socket.join('all');
        joined++;
      }
    }
    const app = await start([RoomGateway]);
    const [first, second] = [await open(app.port, '/rooms/1'), await open(app.port, '/rooms/2')];
    expect((await ask(app.port, '/rooms/3')).status).toBe(503);
    await eventually(() => joined === 2);
    app.app.get(SecureWsBroadcaster).of(RoomGateway).to('all').emit('hello');
    expect(await first.json()).toMatchObject({ event: 'hello' });
    expect(await second.json()).toMatchObject({ event: 'hello' });
  });

  it('gives Nest guards its parameters in request.params', async () => {
    @Injectable()
    class RoomGuard implements CanActivate {
      canActivate(context: ExecutionContext): boolean {
        return context.switchToHttp().getRequest<{ params: { id: string } }>().params.id === '7';
      }
    }
    @SecureGateway({ path: '/rooms/:id' })
    @UseAdmissionGuards(RoomGuard)
    class RoomGateway {}
    const { port } = await start([RoomGateway]);
    expect((await ask(port, '/rooms/7')).status).toBe(101);
    expect((await ask(port, '/rooms/8')).status).toBe(403);
  });
});

describe('a dedicated port', () => {
  it('serves every path for a gateway without one, and the paths of the others', async () => {
    const port = freePort();
    @WebSocketGateway(port)
    class AnyGateway {
      @SubscribeMessage('where')
      where(@ConnectedSocket() socket: SecureSocket) {
        return where(socket);
      }
    }
    @WebSocketGateway(port, { path: '/known' })
    class KnownGateway {
      @SubscribeMessage('where')
      where(@ConnectedSocket() socket: SecureSocket) {
        return where(socket);
      }
    }
    await start([AnyGateway, KnownGateway]);
    expect(await whereIs(port, '/ocpp/CP-001')).toEqual({ path: '/ocpp/CP-001', route: '/', params: {} });
    expect(await whereIs(port, '/')).toEqual({ path: '/', route: '/', params: {} });
    expect(await whereIs(port, '/known')).toEqual({ path: '/known', route: '/known', params: {} });
  });

  it('serves only the path of its gateway', async () => {
    const port = freePort();
    @WebSocketGateway(port, { path: '/' })
    class RootGateway {}
    await start([RootGateway]);
    expect((await ask(port, '/')).status).toBe(101);
    expect((await ask(port, '/x')).status).toBe(404);
  });
});

describe('ambiguous paths', () => {
  const gateway = (path: string, name: string): Type => {
    @SecureGateway({ path })
    class PathGateway {}
    Object.defineProperty(PathGateway, 'name', { value: name });
    return PathGateway;
  };

  it('stop the start with all problems in one error', async () => {
    const paths = ['/rooms/:id', '/rooms/:room', '/files/*', '/x/:a/:a', '/y/:id?', '/z/:id(\\d+)', '/v/a:b'];
    const failed = start(paths.map((path, i) => gateway(path, `Gateway${i}`)));
    await expect(failed).rejects.toThrow("path of Gateway1: '/rooms/:room' matches the same paths as '/rooms/:id'");
    await expect(failed).rejects.toThrow('path of Gateway2');
    await expect(failed).rejects.toThrow('path of Gateway3');
    await expect(failed).rejects.toThrow('path of Gateway5');
    await expect(failed).rejects.toThrow('path of Gateway6');
  });

  it('are allowed when equal: the gateways share a server', async () => {
    const { port } = await start([gateway('/rooms/:id', 'A'), gateway('/rooms/:id', 'B')]);
    expect((await ask(port, '/rooms/1')).status).toBe(101);
  });
});
