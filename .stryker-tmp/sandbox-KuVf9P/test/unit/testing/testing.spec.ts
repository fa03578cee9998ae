// @ts-nocheck
import { afterEach, describe, expect, it } from '@jest/globals';
import { MessageBody, SubscribeMessage } from '@nestjs/websockets';
import {
  type AdmissionGuard,
  allow,
  refuse,
  SecureGateway,
  type UpgradeAttempt,
  UseAdmissionGuards,
} from 'nest-secure-ws';
import { attempt, connectTo } from 'nest-secure-ws/testing';
import { freePort, startApp, type TestApp } from '../../support/app.js';
import { selfSigned } from '../../support/certificates.js';

class SessionGuard implements AdmissionGuard {
  admit({ cookies, query, ip }: UpgradeAttempt) {
    return cookies['session'] === 'a b' ? allow({ principal: `${query.get('name')}@${ip}` }) : refuse(401);
  }
}

@SecureGateway({ path: '/who' })
@UseAdmissionGuards(SessionGuard)
class WhoGateway {
  @SubscribeMessage('echo')
  echo(@MessageBody() data: unknown) {
    return { event: 'echo', data };
  }
}

const OWN = freePort();
@SecureGateway(OWN, { path: '/own', listen: { host: '127.0.0.1' } })
class OwnGateway extends WhoGateway {}

let running: TestApp | undefined;
afterEach(async () => {
  await running?.close();
  running = undefined;
});

describe('attempt()', () => {
  it('is what a guard sees', () => {
    const guard = new SessionGuard();
    expect(guard.admit(attempt({ ip: '10.1.2.3', path: '/who?name=ada', cookies: { session: 'a b' } }))).toEqual(
      allow({ principal: 'ada@10.1.2.3' }),
    );
    expect(guard.admit(attempt())).toEqual(refuse(401));
  });

  it('has a place for everything', () => {
    const aborter = new AbortController();
    const made = attempt({
      ip: '2001:db8::1',
      remoteAddress: '10.0.0.1',
      secure: true,
      host: 'App.example:8443',
      origin: 'https://app.example',
      headers: { 'X-Many': ['1', '2'] },
      protocols: ['v1', 'v2'],
      principal: 7,
      signal: aborter.signal,
    });
    expect(made).toMatchObject({
      ip: '2001:db8::1',
      remoteAddress: '10.0.0.1',
      secure: true,
      host: 'app.example:8443',
      origin: 'https://app.example',
      protocols: ['v1', 'v2'],
      principal: 7,
    });
    expect(made.headers['x-many']).toBe('1, 2');
    aborter.abort('no error');
    expect(made.signal.aborted).toBe(true);
    expect(made.signal.reason).toMatchObject({ name: 'AbortError' });
    expect(() => attempt({ ip: 'nowhere' })).toThrow(TypeError);
    expect(attempt({ ip: '' }).ip).toBe('');
  });
});

describe('connectTo()', () => {
  it('talks to a gateway on the application’s port', async () => {
    running = await startApp({ gateways: [WhoGateway] });
    const socket = await connectTo(running.app, '/who?name=ada', { headers: { Cookie: 'session=a%20b' } });
    socket.sendEvent('echo', 1);
    for await (const message of socket) {
      expect(message).toBe('{"event":"echo","data":1}');
      break;
    }
    socket.close();
    await socket.closed;
    await expect(connectTo(running.app, 'who')).rejects.toMatchObject({ status: 401 });
  });

  it.each([
    ['all addresses', { host: '0.0.0.0' }],
    ['all addresses of IPv6', { host: '::' }],
    ['the loopback of IPv6', { host: '::1' }],
    ['TLS', { https: selfSigned() }],
  ])('finds an application that listens on %s', async (_, listening) => {
    running = await startApp({ gateways: [WhoGateway], options: { proxy: { requireTls: false } }, ...listening });
    const headers = { Cookie: 'session=a%20b' };
    const socket = await connectTo(running.app, 'who', { headers, tls: { rejectUnauthorized: false } });
    socket.close();
    await socket.closed;
  });

  it('says when an application does not listen', async () => {
    running = await startApp({ gateways: [WhoGateway] });
    const { app } = running;
    await running.close();
    running = undefined;
    await expect(connectTo(app, '/who')).rejects.toThrow('does not listen');
  });

  it('talks to a port of a gateway’s own', async () => {
    running = await startApp({ gateways: [OwnGateway] });
    const socket = await connectTo(running.app, '/own', { port: OWN, headers: { Cookie: 'session=a%20b' } });
    socket.close();
    await socket.closed;
  });
});
