// @ts-nocheck
// Every protection at its default, apart from what `config.limits` raises above the load of a row.
import { createServer } from 'node:net';
import { Inject } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { SecureWsBroadcaster, SecureWsModule, SecureWsStats } from 'nest-secure-ws';
import { config, measured } from './agent.mjs';
import { gateway, moduleOf } from './gateway.mjs';

const ownPort = config.ownPort ? await freePort() : undefined;
const Gateway = gateway(
  ({ broadcaster }, data) => broadcaster.emit('shout', data),
  ...(ownPort ? [ownPort, { path: '/' }] : [{ path: '/' }]),
);
Inject(SecureWsBroadcaster)(Gateway.prototype, 'broadcaster');

const listen = ownPort ? { listen: { host: '127.0.0.1' } } : {};
const imports = [SecureWsModule.forRoot({ ...listen, ...config.limits })];
const app = await NestFactory.create(moduleOf([Gateway], imports), { logger: false });
await app.listen(0, '127.0.0.1');
measured({ port: ownPort ?? app.getHttpServer().address().port, stats: () => app.get(SecureWsStats).snapshot() });

function freePort() {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}
