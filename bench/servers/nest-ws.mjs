import { NestFactory } from '@nestjs/core';
import { WsAdapter } from '@nestjs/platform-ws';
import { config, measured } from './agent.mjs';
import { gateway, moduleOf } from './gateway.mjs';

const OPEN = 1;

function broadcast({ server }, data) {
  const text = JSON.stringify({ event: 'shout', data });
  for (const peer of server.clients) if (peer.readyState === OPEN) peer.send(text);
}

const Gateway = gateway(broadcast, { path: '/', perMessageDeflate: Boolean(config.compression) });
const begun = performance.now();
const https = config.tls ? { httpsOptions: config.tls } : {};
const app = await NestFactory.create(moduleOf([Gateway]), { logger: false, ...https });
app.useWebSocketAdapter(new WsAdapter(app));
await app.listen(0, '127.0.0.1');
measured({ port: app.getHttpServer().address().port, begun });
