import { NestFactory } from '@nestjs/core';
import { IoAdapter } from '@nestjs/platform-socket.io';
import { config, measured } from './agent.mjs';
import { gateway, moduleOf } from './gateway.mjs';

const perMessageDeflate = config.compression ? { threshold: 256 } : false;
const Gateway = gateway(({ server }, data) => server.emit('shout', data), { perMessageDeflate });
const app = await NestFactory.create(moduleOf([Gateway]), { logger: false });
app.useWebSocketAdapter(new IoAdapter(app));
await app.listen(0, '127.0.0.1');
measured({ port: app.getHttpServer().address().port });
