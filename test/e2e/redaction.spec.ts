import diagnostics_channel from 'node:diagnostics_channel';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { type ArgumentsHost, type CanActivate, Catch, Logger, mixin, type Type, UseFilters } from '@nestjs/common';
import { BaseWsExceptionFilter, ConnectedSocket, MessageBody, SubscribeMessage } from '@nestjs/websockets';
import {
  type FaultEvent,
  type RefusedEvent,
  SecureGateway,
  type SecureSocket,
  UseAdmissionGuards,
} from 'nest-secure-ws';
import { Observable } from 'rxjs';
import { eventually, PLATFORMS, startApp, type TestApp } from '../support/app.js';
import { RawClient, upgradeHead } from '../support/raw-client.js';

/** Errors of the application's code that repeat values of the upgrade request. */

const TOKEN = 'canary-horse';
const failure = ({ query }: SecureSocket) => new Error(`no session ${query.get('token')}`);

@Catch()
class FailingFilter extends BaseWsExceptionFilter {
  override catch(_: unknown, host: ArgumentsHost): void {
    throw failure(host.getArgByIndex(0));
  }
}

@Catch()
class OwnFilter extends BaseWsExceptionFilter {}

@SecureGateway({ path: '/values', keepRequest: true, messages: { handlerTimeout: '1s' } })
class ValuesGateway {
  handleDisconnect(socket: SecureSocket): void {
    throw failure(socket);
  }
  @SubscribeMessage('throw') throws(@ConnectedSocket() socket: SecureSocket) {
    throw failure(socket);
  }
  @SubscribeMessage('reject') async rejects(@ConnectedSocket() socket: SecureSocket) {
    await Promise.resolve();
    throw failure(socket);
  }
  @SubscribeMessage('observable') emits(@ConnectedSocket() socket: SecureSocket) {
    return new Observable((observer) => observer.error(failure(socket)));
  }
  @SubscribeMessage('reply') replies(@ConnectedSocket() socket: SecureSocket) {
    return {
      toJSON() {
        throw failure(socket);
      },
    };
  }
  @SubscribeMessage('filter') @UseFilters(FailingFilter) filtered() {
    throw new Error('first');
  }
  @SubscribeMessage('own filter') @UseFilters(OwnFilter) own(@ConnectedSocket() socket: SecureSocket) {
    throw failure(socket);
  }
  @SubscribeMessage('header') header(@ConnectedSocket() socket: SecureSocket) {
    throw new Error(`cookie ${socket.request!.headers.cookie}`);
  }
  @SubscribeMessage('late') async late(@ConnectedSocket() socket: SecureSocket) {
    await new Promise((resolve) => setTimeout(resolve, 1500));
    throw failure(socket);
  }
  @SubscribeMessage('listener') listens(@ConnectedSocket() socket: SecureSocket) {
    socket.on('ping', () => {
      throw failure(socket);
    });
    return { event: 'ready' };
  }
  @SubscribeMessage('plain') plain(@MessageBody() text: string) {
    throw new Error(`connect ECONNREFUSED ${text}`);
  }
}

function roleGuard(role: string): Type<CanActivate> {
  class RoleGuard implements CanActivate {
    canActivate(): boolean {
      return role === 'none';
    }
  }
  return mixin(RoleGuard);
}
const anonymousGuard = (): Type<CanActivate> => mixin(class extends roleGuard('admin') {});

@SecureGateway({ path: '/admin' })
@UseAdmissionGuards(roleGuard('admin'))
class AdminGateway {}

@SecureGateway({ path: '/derived' })
@UseAdmissionGuards(anonymousGuard())
class DerivedGateway {}

const faults: FaultEvent[] = [];
const refusals: RefusedEvent[] = [];
const heard = (event: unknown) => void faults.push(event as FaultEvent);
const refused = (event: unknown) => void refusals.push(event as RefusedEvent);

describe.each(PLATFORMS)('on %s', (platform) => {
  let app: TestApp;
  let error: jest.SpiedFunction<Logger['error']>;
  beforeAll(async () => {
    diagnostics_channel.subscribe('nest-secure-ws:fault', heard);
    diagnostics_channel.subscribe('nest-secure-ws:refused', refused);
    jest.spyOn(Logger.prototype, 'warn').mockImplementation(() => {});
    error = jest.spyOn(Logger.prototype, 'error').mockImplementation(() => {});
  });
  afterAll(() => {
    diagnostics_channel.unsubscribe('nest-secure-ws:fault', heard);
    diagnostics_channel.unsubscribe('nest-secure-ws:refused', refused);
    jest.restoreAllMocks();
  });

  it.each([
    ['throw', 'handler'],
    ['reject', 'handler'],
    ['observable', 'handler'],
    ['reply', 'handler'],
    ['filter', 'filter'],
    ['own filter', 'handler'],
    ['header', 'handler'],
    ['late', 'handler'],
    ['listener', 'socket'],
    ['end', 'handleDisconnect'],
    ['plain', 'handler'],
  ])('%s: the log and a printed event repeat no value of the request', async (event, where) => {
    app = await startApp({ platform, gateways: [ValuesGateway] });
    error.mockClear();
    faults.length = 0;
    const headers = { Cookie: `sid=${TOKEN}` };
    const client = await RawClient.open({ port: app.port }, { path: `/values?token=${TOKEN}`, headers });
    if (event !== 'end') client.send(event, 'db-1.internal');
    if (event === 'listener') {
      await client.frame();
      client.write(Buffer.from([0x89, 0x80, 0, 0, 0, 0]));
    }
    if (event === 'end') client.destroy();
    await eventually(() => faults.length > 0 && error.mock.calls.length > 0);
    const [fault] = faults;
    const line = String(error.mock.calls[0]![0]);
    expect(fault).toMatchObject({ where, path: '/values' });
    expect(line).toMatch(new RegExp(`^${where} failed path=/values: Error: `));
    expect(line).not.toMatch(/canary|horse/);
    if (event === 'plain') expect(line).toContain('connect ECONNREFUSED db-1.internal');
    else expect(line).toContain('…');
    expect(fault!.request).toMatchObject({ rawQuery: `token=${TOKEN}` });
    const printed = inspect({ ...fault!, error: undefined }) + JSON.stringify(fault) + inspect({ ...fault, error: 0 });
    expect(printed).not.toMatch(/canary|horse/);
    client.destroy();
    await app.close();
  });

  it('a guard that Nest’s mixin() has renamed has the name of its class in the log', async () => {
    app = await startApp({ platform, gateways: [AdminGateway, DerivedGateway], options: { bans: { failures: null } } });
    for (const path of ['/admin', '/derived']) {
      refusals.length = 0;
      const client = await RawClient.connect({ port: app.port });
      expect(await client.upgrade(upgradeHead(app.port, { path }))).toMatchObject({ status: 403 });
      expect(refusals).toMatchObject([{ reason: 'guard', detail: expect.stringMatching(/^RoleGuard\b/) }]);
      client.destroy();
    }
    await app.close();
  });
});
