import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { SubscribeMessage } from '@nestjs/websockets';
import { SecureGateway, SecureWsModule, SecureWsStats } from 'nest-secure-ws';
import { selfSigned } from '../../support/certificates.js';
import 'reflect-metadata';

/** A server with TLS on a shared and a dedicated port, in its own process, which must survive its clients. */
const ownPort = Number(process.argv[2]);
const pair = selfSigned();

class Echo {
  @SubscribeMessage('big')
  big() {
    return { event: 'big', data: 'x'.repeat(2 ** 18) };
  }
}

@SecureGateway()
class SharedGateway extends Echo {}

@SecureGateway(ownPort)
class OwnGateway extends Echo {}

const connections = { rate: '100000/1s', maxPending: 1000, maxPendingPerIp: 1000, maxPerIp: 1000 };
/** Some attempts are admitted at once, others never. */
const guards = [
  ({ path, query }: { path: string; query: URLSearchParams }) =>
    query.has('wait') ? new Promise<boolean>(() => undefined) : path === '/',
];

@Module({
  imports: [SecureWsModule.forRoot({ connections, guards, tls: pair, listen: { host: '127.0.0.1' } })],
  providers: [SharedGateway, OwnGateway],
})
class AppModule {}

const app = await NestFactory.create(AppModule, { logger: false, httpsOptions: pair });
await app.listen(0, '127.0.0.1');

process.on('message', () => process.send?.(app.get(SecureWsStats).snapshot()));
process.send?.({ ready: (app.getHttpServer().address() as { port: number }).port });
