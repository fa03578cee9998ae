// A WebSocket server of one kind in its own process: argument `kind`, then options of nest-secure-ws as JSON.
import 'reflect-metadata';
import { createServer, type Server } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { type INestApplication, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { IoAdapter } from '@nestjs/platform-socket.io';
import { WsAdapter } from '@nestjs/platform-ws';
import { MessageBody, SubscribeMessage, WebSocketGateway } from '@nestjs/websockets';
import { SecureWsModule } from 'nest-secure-ws';
import { WebSocketServer } from 'ws';

const [kind = '', options = '{}', host = '127.0.0.1'] = process.argv.slice(2);
let connections = 0;

@WebSocketGateway({ path: '/' })
class EchoGateway {
  @SubscribeMessage('echo')
  echo(@MessageBody() data: unknown) {
    return { event: 'echo', data };
  }
}

@WebSocketGateway()
class IoGateway {
  @SubscribeMessage('echo')
  echo(@MessageBody() data: unknown) {
    return { event: 'echo', data };
  }
}

@Module({ providers: [EchoGateway] })
class StockModule {}

@Module({ providers: [IoGateway] })
class IoModule {}

@Module({
  imports: [SecureWsModule.forRoot(kind.startsWith('ours') ? JSON.parse(options) : {})],
  providers: [EchoGateway],
})
class OurModule {}

async function nest(module: object, prepare: (app: INestApplication) => void): Promise<Server> {
  const app = await NestFactory.create(module as never, { logger: false });
  prepare(app);
  await app.listen(0, host);
  return app.getHttpServer() as Server;
}

function bare(perMessageDeflate: boolean): Server {
  const server = createServer((_, response) => response.writeHead(426).end());
  const sockets = new WebSocketServer({ server, perMessageDeflate });
  sockets.on('connection', (socket) => {
    socket.on('error', () => undefined);
    // Echoing an inflated bomb would compress it again.
    if (!perMessageDeflate) socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
  });
  return server.listen(0, '127.0.0.1');
}

/** Over TLS, with the certificate of the options. */
function secure(): Server {
  const server = createSecureServer(JSON.parse(options));
  new WebSocketServer({ server }).on('connection', (socket) => socket.on('error', () => undefined));
  return server.listen(0, '127.0.0.1') as unknown as Server;
}

/** Ends its process at the first invalid frame. */
function fragile(): Server {
  const server = createServer();
  new WebSocketServer({ server }).on('connection', (socket) => socket.on('error', () => process.exit(9)));
  return server.listen(0, '127.0.0.1');
}

/** Refuses every upgrade. */
const guarded = (): Server =>
  createServer((_, response) => response.writeHead(404).end())
    .on('upgrade', (_, socket) => {
      socket.on('error', () => undefined);
      socket.end('HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
    })
    .listen(0, '127.0.0.1');

/** Redirects every upgrade. */
const redirecting = (): Server =>
  createServer((_, response) => response.writeHead(302, { Location: options }).end())
    .on('upgrade', (_, socket) => {
      socket.on('error', () => undefined);
      socket.end(`HTTP/1.1 302 Found\r\nLocation: ${options}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
    })
    .listen(0, '127.0.0.1');

const KINDS: Record<string, () => Server | Promise<Server>> = {
  bare: () => bare(false),
  compressing: () => bare(true),
  fragile,
  secure,
  guarded,
  redirecting,
  stock: () => nest(StockModule, (app) => app.useWebSocketAdapter(new WsAdapter(app))),
  'socket.io': () => nest(IoModule, (app) => app.useWebSocketAdapter(new IoAdapter(app))),
  ours: () => nest(OurModule, () => undefined),
  // Node checks its connections every 30 seconds.
  'ours, impatient with HTTP': () =>
    nest(OurModule, (app) => {
      (app.getHttpServer() as Server).headersTimeout = 1000;
    }),
};

const server = await KINDS[kind]!();
server.on('connection', () => connections++);
if (!server.listening) await new Promise((resolve) => server.once('listening', resolve));
process.on('message', () => server.getConnections((_, open) => process.send!({ connections, open })));
process.send!({ ready: (server.address() as AddressInfo).port });
