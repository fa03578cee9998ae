import { NestFactory } from '@nestjs/core';
import { IoAdapter } from '@nestjs/platform-socket.io';
import { config, measured } from './agent.mjs';
import { gateway, moduleOf } from './gateway.mjs';

// Compressed pings would have to be inflated to be recognised, and peers that do not answer are closed after 45 s.
const compressed = { perMessageDeflate: { threshold: 256 }, pingInterval: 3_600_000 };
const options = config.compression ? compressed : { perMessageDeflate: false };
const Gateway = gateway(({ server }, data) => server.emit('shout', data), options);
const app = await NestFactory.create(moduleOf([Gateway]), { logger: false });
app.useWebSocketAdapter(new IoAdapter(app));
await app.listen(0, '127.0.0.1');
measured({ port: app.getHttpServer().address().port });
