import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Child } from '../support/child.js';
import { frame, RawClient, upgradeHead } from '../support/raw-client.js';

const APP = 'test/e2e/survival.app.ts';
let child: Child;
let port: number;

beforeAll(async () => {
  child = await Child.start(APP, [], { QUIET: '1' });
  ({ port } = child.ready as { port: number });
});
afterAll(() => child.end());

async function stillServes(): Promise<void> {
  const client = await RawClient.open({ port }, { path: '/handlers' });
  client.send('echo', 'alive');
  expect(await client.json()).toEqual({ event: 'echo', data: 'alive' });
  client.destroy();
  expect(child.isAlive).toBe(true);
}

describe('the process', () => {
  it('installs no process-wide handler', async () => {
    expect((child.ready as { installed: number }).installed).toBe(0);
    await stillServes();
  });

  it('survives handlers, streams, filters and interceptors that fail', async () => {
    const client = await RawClient.open({ port }, { path: '/handlers' });
    const events = [
      'throws',
      'rejects',
      'nothing',
      'stream',
      'mapped',
      'toJSON',
      'filter',
      'arrow',
      'arrow instance',
      'interceptor',
    ];
    for (const event of events) {
      client.send(event);
      expect(await client.json()).toMatchObject({ event: 'exception' });
    }
    client.write(frame('x', { opcode: 9 }));
    expect((await client.frame())?.opcode).toBe(10);
    client.send('teardown');
    client.send('echo');
    expect(await client.json()).toMatchObject({ event: 'echo' });
    client.destroy();
    await stillServes();
  });

  it.each(['throws', 'rejects', 'late'])('survives failing hooks: %s', async (how) => {
    const rejected = await RawClient.open({ port }, { path: `/hooks/${how}` });
    expect(await rejected.closeFrame()).toMatchObject({ code: 1011 });
    rejected.destroy();
    const left = await RawClient.open({ port }, { path: `/leaving/${how}` });
    left.reset();
    await new Promise((resolve) => setTimeout(resolve, 30));
    await stillServes();
  });

  it('survives request-scoped gateways that cannot be constructed', async () => {
    for (let i = 0; i < 6; i++) {
      const client = await RawClient.open({ port }, { path: '/scoped' });
      client.send('echo');
      await client.frame();
      client.destroy();
    }
    await stillServes();
  });

  it('survives parsers that throw and reject', async () => {
    const client = await RawClient.open({ port }, { path: '/parser' });
    for (const text of ['a', 'ab']) {
      client.write(frame(text));
      expect(await client.json()).toMatchObject({ event: 'exception' });
    }
    client.destroy();
    await stillServes();
  });

  it.each(['port', 'front'] as const)(
    'survives a reset at every point of a handshake and of a message: %s',
    async (way) => {
      const { [way]: port } = child.ready as Record<typeof way, number>;
      const head = Buffer.from(upgradeHead(port, { path: '/handlers' }));
      const bytes = Buffer.concat([head, frame('{"event":"echo","data":"x"}'), frame('{"event":"rejects"}')]);
      for (let from = 0; from <= bytes.length; from += 20) {
        const cuts = Array.from({ length: Math.min(20, bytes.length + 1 - from) }, (_, i) => from + i);
        await Promise.all(
          cuts.map(async (cut) => {
            const client = await RawClient.connect({ port });
            client.socket.write(bytes.subarray(0, cut), () => client.reset());
            await client.until(() => client.closed);
          }),
        );
      }
      await stillServes();
    },
  );
});

describe('a process with an invalid setting', () => {
  it('exits with a code and the name of the variable', async () => {
    const started = Child.start(APP, [], { WEBSOCKETS_MAX_SIZE: 'lots' });
    await expect(started).rejects.toThrow(
      /ended with 1:[\s\S]*WEBSOCKETS_MAX_SIZE \(messages\.maxSize\): "lots" is not a size/,
    );
  });
});
