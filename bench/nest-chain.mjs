// node bench/nest-chain.mjs
// The cost of Nest's own path to a handler per message (proxy, context, pipes; no socket, no adapter): microseconds of CPU.
import { setImmediate as turn } from 'node:timers/promises';
import { NestFactory } from '@nestjs/core';
import { gateway, moduleOf } from './servers/gateway.mjs';
import { spread } from './support/stats.mjs';

const MESSAGES = 100_000;
const ROUNDS = 7;

/** Takes the bound handler from Nest, and does nothing else. */
class Probe {
  create = () => ({});
  bindClientConnect = (_server, connected) => setImmediate(connected, { on: () => undefined });
  bindMessageHandlers = (_client, handlers) => {
    this.echo = handlers.find(({ message }) => message === 'echo').callback;
  };
  close = () => undefined;
  dispose = () => undefined;
}

const probe = new Probe();
const app = await NestFactory.create(moduleOf([gateway(() => undefined, { path: '/' })]), { logger: false });
app.useWebSocketAdapter(probe);
await app.init();
await turn();

/** One message per turn of the event loop, as when each arrives alone. */
async function cpuOf(handle) {
  const before = process.cpuUsage();
  for (let i = 0; i < MESSAGES; i++) {
    await handle('a small message');
    await turn();
  }
  const { user, system } = process.cpuUsage(before);
  return (user + system) / MESSAGES;
}

const samples = [];
for (let round = 0; round <= ROUNDS; round++) {
  const empty = await cpuOf(async () => undefined);
  const chain = await cpuOf((data) => probe.echo(data, 'echo'));
  if (round > 0) samples.push(chain - empty);
}
const { min, median, max } = spread(samples);
console.log(`Nest's chain for one message: ${median.toFixed(2)} µs (${min.toFixed(2)}–${max.toFixed(2)})`);
await app.close();
