import { Injectable, Module, type OnModuleDestroy } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { SecureWsModule, SecureWsStats } from 'nest-secure-ws';
import { LiveGateway } from './live.js';
import 'reflect-metadata';

/** A resource that handlers use until they finish; closed with the module. */
@Injectable()
class Database implements OnModuleDestroy {
  onModuleDestroy(): void {
    console.log(`database closed with ${LiveGateway.running} handlers running`);
  }
}

const free = { rate: '100000/1s', maxPerIp: 10_000, maxPending: 10_000, maxPendingPerIp: 10_000 };
const options = JSON.parse(process.argv[2] ?? '{}');

@Module({
  imports: [SecureWsModule.forRoot({ ...options, connections: { ...free, ...options.connections } })],
  providers: [LiveGateway, Database],
})
class AppModule {}

const app = await NestFactory.create(AppModule, { logger: false });
app.enableShutdownHooks(undefined, { useProcessExit: true });
await app.listen(0, '127.0.0.1');

let peak = 0;
let most = 0;
const stats = app.get(SecureWsStats);
setInterval(() => {
  peak = Math.max(peak, process.memoryUsage.rss());
  most = Math.max(most, stats.snapshot().heldBytes);
}, 10).unref();

/** Resident memory after garbage collection. */
async function settled(): Promise<number> {
  for (let i = 0; i < 4; i++) {
    global.gc?.();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return process.memoryUsage.rss();
}

process.on('message', async (request) => {
  if (request === 'rest') {
    peak = most = 0;
    process.send?.(await settled());
  } else if (request === 'gate') {
    LiveGateway.closeGate();
    setTimeout(() => LiveGateway.openGate(), 1000);
    process.send?.('closed');
  } else process.send?.({ ...stats.snapshot(), peak, most });
});
process.send?.({ ready: (app.getHttpServer().address() as { port: number }).port });
