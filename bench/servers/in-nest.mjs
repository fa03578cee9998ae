// The floor of a Nest application: a server without Nest, in a process that has also started a Nest application. The
// application has the stock adapter and a gateway, and gets no connections: its heap is the only difference from the
// same server in a process of its own.
import { NestFactory } from '@nestjs/core';
import { WsAdapter } from '@nestjs/platform-ws';
import { config } from './agent.mjs';
import { gateway, moduleOf } from './gateway.mjs';

const app = await NestFactory.create(moduleOf([gateway(() => {}, { path: '/' })]), { logger: false });
app.useWebSocketAdapter(new WsAdapter(app));
await app.listen(0, '127.0.0.1');
await import(`./${config.server}`);
