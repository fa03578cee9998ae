import { EventEmitter } from 'node:events';
import { getHeapSnapshot } from 'node:v8';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { SubscribeMessage } from '@nestjs/websockets';
import { SecureGateway, SecureWsModule, SecureWsStats, type UpgradeAttempt } from 'nest-secure-ws';
import 'reflect-metadata';

/** Counts every event emitter created, by class: sockets, requests, WebSockets. */
const made = new Map<string, number>();
const emitter = EventEmitter as unknown as { init(this: object, options: unknown): void };
const { init } = emitter;
emitter.init = function (options) {
  const { name } = this.constructor;
  made.set(name, (made.get(name) ?? 0) + 1);
  init.call(this, options);
};

@SecureGateway({ path: '/' })
class Gateway {
  @SubscribeMessage('x') x() {}
}

const connections = {
  maxPerIp: 1,
  deniedIps: ['127.0.9.0/24'],
  rate: '1000000/1s',
  maxPending: 500,
  maxPendingPerIp: 500,
};
const guards = [({ headers }: UpgradeAttempt) => headers['authorization'] === undefined];

/** The one connection that stays does not answer pings. */
const keepalive = { pingInterval: null };

@Module({ imports: [SecureWsModule.forRoot({ connections, guards, keepalive })], providers: [Gateway] })
class AppModule {}

const app = await NestFactory.create(AppModule, { logger: false });
await app.listen(0, '127.0.0.1');

async function heap(): Promise<number> {
  for (let turn = 0; turn < 4; turn++) {
    global.gc?.();
    await new Promise((resolve) => setTimeout(resolve, 40));
  }
  return process.memoryUsage().heapUsed;
}

/** The number of live objects of each of these classes. */
async function counts(names: readonly string[]): Promise<Record<string, number>> {
  const chunks: Buffer[] = [];
  for await (const chunk of getHeapSnapshot()) chunks.push(Buffer.from(chunk as Uint8Array));
  const { snapshot, nodes, strings } = JSON.parse(Buffer.concat(chunks).toString()) as {
    snapshot: { meta: { node_fields: string[]; node_types: string[][] } };
    nodes: number[];
    strings: string[];
  };
  const { node_fields: fields, node_types: types } = snapshot.meta;
  const object = types[0]!.indexOf('object');
  const found: Record<string, number> = Object.fromEntries(names.map((name) => [name, 0]));
  for (let at = 0; at < nodes.length; at += fields.length) {
    const name = strings[nodes[at + 1]!]!;
    if (nodes[at] === object && name in found) found[name]!++;
  }
  return found;
}

const answers = {
  heap,
  stats: () => app.get(SecureWsStats).snapshot(),
  made: () => Object.fromEntries(made),
  counts: (names: string[]) => counts(names),
};

process.on('message', async ([question, argument]: [keyof typeof answers, string[]]) => {
  process.send!((await answers[question](argument)) as object);
});
process.send!({ ready: (app.getHttpServer().address() as { port: number }).port });
