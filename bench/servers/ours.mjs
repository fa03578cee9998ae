// Every protection at its default, except for what `config.limits` raises above a row's load.
import { createServer } from 'node:net';
import { Inject } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { WebSocketGateway } from '@nestjs/websockets';
import {
  SecureWsBroadcaster,
  SecureWsDashboardModule,
  SecureWsMetricsModule,
  SecureWsModule,
  SecureWsStats,
} from 'nest-secure-ws';
import { config, measured } from './agent.mjs';
import { gateway, moduleOf } from './gateway.mjs';

const dedicatedPort = config.dedicated ? await freePort() : undefined;
/** Reads messages itself, to measure the library without Nest's path to a handler. */
class ListenerGateway {
  handleConnection(socket) {
    socket.on('message', onMessage);
  }
}
WebSocketGateway({ path: '/' })(ListenerGateway);

function onMessage(raw) {
  const { event, data } = JSON.parse(raw.toString());
  this.send(JSON.stringify({ event, data }));
}

const HandlerGateway = gateway(
  ({ broadcaster }, data) => broadcaster.emit('shout', data),
  ...(dedicatedPort ? [dedicatedPort, { path: '/' }] : [{ path: '/' }]),
);
Inject(SecureWsBroadcaster)(HandlerGateway.prototype, 'broadcaster');
const Gateway = config.listener ? ListenerGateway : HandlerGateway;

const listen = dedicatedPort ? { listen: { host: '127.0.0.1' } } : {};
const tls = config.tls ? { tls: config.tls } : {};
const DASHBOARD = { token: 'a-token-of-at-least-thirty-two-characters' };
const seen = config.observed ? [SecureWsMetricsModule.forRoot(), SecureWsDashboardModule.forRoot(DASHBOARD)] : [];
const begun = performance.now();
const imports = [SecureWsModule.forRoot({ ...listen, ...tls, ...config.limits }), ...seen];
const app = await NestFactory.create(moduleOf([Gateway], imports), { logger: false });
await app.listen(0, '127.0.0.1');
measured({
  port: dedicatedPort ?? app.getHttpServer().address().port,
  stats: () => app.get(SecureWsStats).snapshot(),
  begun,
});

function freePort() {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}
