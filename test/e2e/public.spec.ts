import type { IncomingMessage } from 'node:http';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { BadRequestException, Catch, type ExceptionFilter, Logger, UseFilters } from '@nestjs/common';
import { ConnectedSocket, MessageBody, SubscribeMessage, WsException } from '@nestjs/websockets';
import { allow, SecureGateway, type SecureSocket, UseAdmissionGuards } from 'nest-secure-ws';
import { Observable, throwError } from 'rxjs';
import { startApp, type TestApp } from '../support/app.js';
import { RawClient } from '../support/raw-client.js';

/** The public properties of a connection, and handlers that fail in different ways. */
@Catch()
class Throwing implements ExceptionFilter {
  catch(): never {
    throw new Error('a filter throws');
  }
}

const circular: Record<string, unknown> = { status: 'error', message: 'in a circle' };
circular['self'] = circular;

const OnlySession = {
  canActivate(context: { switchToHttp(): { getRequest(): { user?: { name: string } } } }): boolean {
    return context.switchToHttp().getRequest().user?.name === 'ada';
  },
};

@SecureGateway({ path: '/public' })
@UseAdmissionGuards(() => allow({ principal: { name: 'ada' } }), OnlySession)
class PublicGateway {
  static request: IncomingMessage;

  handleConnection(socket: SecureSocket, request: IncomingMessage): void {
    PublicGateway.request = request;
    socket.on('message', () => {
      throw new Error('a listener of the application throws');
    });
  }

  @SubscribeMessage('about') about(@ConnectedSocket() { path, query, origin, secure, principal }: SecureSocket) {
    return { event: 'about', data: { path, query: [...query], origin, secure, principal } };
  }
  @SubscribeMessage('list') list(@MessageBody() length: number) {
    throw new BadRequestException(Array.from({ length }, (_, at) => `field ${at} must be something else`));
  }
  @SubscribeMessage('circular') circular() {
    throw new WsException(circular);
  }
  @SubscribeMessage('late') @UseFilters(new Throwing()) late() {
    return throwError(() => new Error('first'));
  }
  @SubscribeMessage('unfollowed') unfollowed() {
    return new Observable(() => {
      throw new Error('nobody can subscribe');
    });
  }
}

@SecureGateway({ path: '/throws' })
class ThrowsGateway {
  handleConnection(): void {
    throw new Error('nobody is welcome');
  }
}

let app: TestApp;
let client: RawClient;
let request: IncomingMessage;
const headers = { Origin: 'http://app.example', 'X-Twice': ['1', '2'], 'X-UPPER': 'Value' };
beforeAll(async () => {
  app = await startApp({
    gateways: [PublicGateway, ThrowsGateway],
    options: { connections: { allowedOrigins: ['http://app.example'] } },
  });
  client = await RawClient.open({ port: app.port }, { path: '/public?a=1&b=%20&a=2', headers });
  await answer('about');
  request = PublicGateway.request;
});
afterAll(async () => {
  client.destroy();
  await app.close();
});

async function answer(event: string, data?: unknown): Promise<unknown> {
  client.send(event, data);
  return client.json();
}
const exception = (message: unknown) => ({ event: 'exception', data: { status: 'error', message } });

describe('a connection', () => {
  it('has the properties of its handshake', async () => {
    const query = [
      ['a', '1'],
      ['b', ' '],
      ['a', '2'],
    ];
    const about = { path: '/public', query, origin: 'http://app.example', secure: false, principal: { name: 'ada' } };
    expect(await answer('about')).toEqual({ event: 'about', data: about });
  });

  it('gives hooks the request with its headers, which they may replace', () => {
    expect(request.url).toBe('/public?a=1&b=%20&a=2');
    expect(request.headers).toMatchObject({ 'x-upper': 'Value', 'x-twice': '1, 2', origin: 'http://app.example' });
    expect(request.headers).toBe(request.headers);
    request.headers = { 'x-upper': 'other' };
    expect(request.headers).toEqual({ 'x-upper': 'other' });
  });

  it('ends with 1011 when a hook throws, without its message', async () => {
    const other = await RawClient.open({ port: app.port }, { path: '/throws', headers });
    expect(await other.closeFrame()).toEqual({ code: 1011, reason: 'internal error' });
    other.destroy();
    expect(app.stats().faults.handleConnection).toBe(1);
  });

  it('survives listeners of the application that throw, and counts them', async () => {
    const before = app.stats().faults.socket ?? 0;
    await answer('about');
    expect(app.stats().faults.socket).toBe(before + 1);
  });
});

it('a client whose subprotocols are not accepted is logged once, without their names', async () => {
  const warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation(() => {});
  const own = await startApp({
    gateways: [PublicGateway],
    options: { connections: { allowedOrigins: ['*'], subprotocols: ['chat'] } },
  });
  const offers = ['other', 'bearer.canary', 'chat, bearer.canary', ''];
  for (const offer of offers) {
    const protocols = offer === '' ? {} : { 'Sec-WebSocket-Protocol': offer };
    const each = await RawClient.open({ port: own.port }, { path: '/public', headers: { ...headers, ...protocols } });
    each.destroy();
  }
  await own.close();
  const lines = warn.mock.calls.map(([line]) => String(line)).filter((line) => line.includes('subprotocol'));
  warn.mockRestore();
  expect(lines).toEqual([
    expect.stringMatching(
      /^A client of \/public offered subprotocols.*connections\.subprotocols \(WEBSOCKETS_SUBPROTOCOLS\)/,
    ),
  ]);
  expect(lines[0]).not.toMatch(/other|canary/);
});

describe('error replies', () => {
  it('contain as many messages of a list as fit into 1 KiB', async () => {
    expect(await answer('list', 2)).toEqual(
      exception(['field 0 must be something else', 'field 1 must be something else']),
    );
    const long = (await answer('list', 500)) as { data: { message: string[] } };
    expect(long.data.message[0]).toBe('field 0 must be something else');
    expect(long.data.message.length).toBeGreaterThan(5);
    expect(Buffer.byteLength(JSON.stringify(long))).toBeLessThanOrEqual(1024);
  });

  it('contain the message of an error that cannot be serialised', async () => {
    expect(await answer('circular')).toEqual(exception('in a circle'));
  });

  it('are sent for failed observables, even if their filter throws', async () => {
    const before = app.stats().faults.filter ?? 0;
    expect(await answer('late')).toEqual(exception('Internal server error'));
    expect(app.stats().faults.filter).toBe(before + 1);
    expect(await answer('unfollowed')).toEqual(exception('Internal server error'));
    expect(await answer('about')).toMatchObject({ event: 'about' });
  });
});
