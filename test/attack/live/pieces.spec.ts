import { afterEach, describe, expect, it } from '@jest/globals';
import { eventually, type TestApp } from '../../support/app.js';
import { Random } from '../../support/random.js';
import { deflated, frame, type RawClient } from '../../support/raw-client.js';
import { sleep } from '../../support/time.js';
import { Frames, isQuiet, LiveGateway, openClient, startLive, unmetered } from './live.js';

/** Messages of every kind in chunks of any size, while reading pauses and resumes: each is handled once and in order. */

let app: TestApp;
let client: RawClient;
afterEach(async () => {
  client.destroy();
  await eventually(() => isQuiet(app));
  await app.close();
});

/** The frames of one message, with control frames between them. */
function framed(text: string, next: (below: number) => number): Buffer {
  const isCompressed = next(3) === 0;
  const payload = isCompressed ? deflated(text) : Buffer.from(text);
  const pieces: Buffer[] = [];
  const count = 1 + next(4);
  for (let at = 0; at < count; at++) {
    const piece = payload.subarray((payload.length * at) / count, (payload.length * (at + 1)) / count);
    const [isFirst, fin] = [at === 0, at === count - 1];
    pieces.push(frame(piece, { opcode: isFirst ? 1 : 0, fin, rsv1: isFirst && isCompressed }));
    if (next(3) === 0) pieces.push(frame('ping', { opcode: 9 }));
  }
  return Buffer.concat(pieces);
}

describe('messages in chunks of any size', () => {
  it.each([1, 2, 3, 4])('are handled once and in order (seed %d)', async (seed) => {
    const random = new Random(seed);
    const next = (below: number): number => random.below(below);
    app = await startLive({
      messages: unmetered({ maxQueue: 1 + next(20), concurrency: 1, maxQueueBytes: seed % 2 ? '1mb' : '40kb' }),
      keepalive: { pingInterval: null },
    });
    client = await openClient(app, {}, { headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate' } });
    await eventually(() => LiveGateway.sockets.length === 1);
    const socket = LiveGateway.sockets[0]!;
    const COUNT = 300;
    const sizes = [0, 10, 100, 1000, 20_000, 90_000];
    const messages = Array.from({ length: COUNT }, (_, at) => {
      const data = [at, 'x'.repeat(sizes[next(sizes.length)]!)];
      return framed(JSON.stringify({ event: next(2) === 0 ? 'size' : 'wait', data }), next);
    });
    const pings = messages.reduce((sum, bytes) => sum + (bytes.toString('latin1').split('\x89\x84').length - 1), 0);
    let [replies, pongs] = [0, 0];
    new Frames(client, (opcode) => {
      if (opcode === 10) pongs++;
      else if (opcode === 1) replies++;
    });
    const heard: number[] = [];
    socket.on('message', (data) => heard.push(Number(/\[(\d+)/.exec(data.toString().slice(0, 60))?.[1])));
    const bytes = Buffer.concat(messages);
    for (let at = 0; at < bytes.length; ) {
      const length = next(4) === 0 ? 1 + next(10) : 1 + next(70_000);
      client.write(bytes.subarray(at, at + length));
      at += length;
      if (next(5) === 0) socket.pause();
      else if (next(3) === 0) socket.resume();
      if (next(4) === 0) await sleep(0);
    }
    socket.resume();
    await eventually(() => replies === COUNT);
    expect(heard).toEqual(Array.from({ length: COUNT }, (_, at) => at));
    await eventually(() => pongs > 0 && pongs <= pings);
    expect([client.ended, socket.isPaused, socket.connection.held]).toEqual([false, false, 0]);
  });
});
