import { AsyncLocalStorage } from 'node:async_hooks';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { plainFrame } from '../../../lib/protocol/encoder.js';
import { FIN, Opcode, type Role } from '../../../lib/protocol/frame.js';
import { FrameRun } from '../../../lib/protocol/frame-run.js';
import { runs } from '../../support/runs.js';
import { turn } from '../../support/time.js';
import { parserOf, Recorder } from '../protocol/support.js';
import { type Bare, bareConnection, type Kernel } from './support.js';

/**
 * FrameWriter over Node's streams and a fake kernel that accepts writes immediately, later or with an error: in any
 * order of events, every frame is written once and in order, and nothing waits for an event that has already happened.
 */

type Step =
  | { readonly do: 'text' | 'binary' | 'fragments' | 'shared'; readonly size: number; readonly callback: boolean }
  | { readonly do: 'blob' | 'ping'; readonly size: number }
  | { readonly do: 'kernel'; readonly kernel: Kernel }
  | { readonly do: 'release' | 'turn' | 'tick' | 'wheel' | 'hold' | 'flush' };

/** Sizes around every limit: short frames, `highWaterMark`, the copy limit, a TLS record, the largest single write. */
const size = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 0, max: 300 }) },
  fc.constantFrom(125, 126, 15_990, 16_000, 16_384, 16_385, 32_768, 32_769, 65_535, 65_536, 81_000, 200_000),
);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constantFrom('text', 'binary', 'fragments', 'shared'),
      size,
      callback: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('blob', 'ping'), size: fc.integer({ min: 0, max: 125 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('kernel'), kernel: fc.constantFrom('now', 'later') }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constantFrom('release', 'turn', 'tick', 'wheel', 'hold', 'flush') }) },
) as fc.Arbitrary<Step>;

/** What the application sent, in the order in which it must arrive, and the calls of its callbacks. */
class Model {
  readonly expected: string[] = [];
  readonly called: (Error | undefined | null)[][] = [];
  readonly blobs: Promise<unknown>[] = [];
  private deferred: string[] | undefined;
  private count = 0;

  constructor(readonly bare: Bare) {}

  async take(step: Step): Promise<void> {
    const { connection, socket, clock } = this.bare;
    const { output } = connection;
    switch (step.do) {
      case 'text': {
        const text = this.payload(step.size);
        this.expect(`text ${text}`);
        if (step.callback || this.deferred !== undefined) output.send(text, {}, this.callback(step.callback));
        else output.sendText(text);
        return;
      }
      case 'binary': {
        const text = this.payload(step.size);
        this.expect(`binary ${text}`);
        return output.send(Buffer.from(text), {}, this.callback(step.callback));
      }
      case 'fragments': {
        const text = this.payload(step.size);
        this.expect(`text ${text}`);
        output.send(text.slice(0, 1), { fin: false }, this.callback(step.callback));
        // A message shared by many peers waits for the last fragment.
        if (connection.context.role === 'server' && step.callback) this.share(5);
        output.send(text.slice(1), { fin: true }, this.callback(step.callback));
        this.undefer();
        return;
      }
      case 'shared':
        return this.share(step.size);
      case 'blob': {
        const text = this.payload(step.size);
        this.expect(`binary ${text}`);
        const blob = new Blob([text]);
        this.blobs.push(blob.arrayBuffer());
        return output.send(blob, {}, this.callback(true));
      }
      case 'ping': {
        const text = `${this.count++}`.padEnd(step.size, 'p').slice(0, 125);
        this.expected.push(`ping ${Buffer.from(text).toString('hex')}`);
        return output.control(Opcode.PING, Buffer.from(text), this.callback(true));
      }
      case 'kernel':
        socket.kernel = () => step.kernel;
        return;
      case 'release':
        return socket.release();
      case 'turn':
        return turn();
      case 'tick':
        return new Promise((resolve) => process.nextTick(resolve));
      case 'wheel':
        return clock.pass(50);
      case 'hold':
        return output.hold();
      case 'flush':
        return output.flush();
    }
  }

  /** From now on the kernel accepts everything and no clock ticks: past events must suffice. */
  async settle(): Promise<void> {
    const { connection, socket } = this.bare;
    connection.writer?.flush();
    socket.kernel = () => 'now';
    await Promise.all(this.blobs);
    for (let left = 20; left > 0; left--) {
      socket.release();
      await turn();
    }
  }

  get received(): string[] {
    const recorder = new Recorder();
    const role = this.bare.connection.context.role === 'server' ? 'client' : 'server';
    const parser = parserOf(recorder, { role, limits: { maxSize: 1e7, maxFragments: 1e6 } });
    for (const chunk of this.bare.socket.taken) parser.push(chunk);
    const whole = recorder.events.filter(([kind]) => kind !== 'fragment');
    return whole.map(([kind, data]) => `${kind} ${kind === 'binary' ? Buffer.from(data as string, 'hex') : data}`);
  }

  private share(length: number): void {
    const text = this.payload(length);
    const { role } = this.bare.connection.context;
    if (role === 'client') return;
    if (this.bare.connection.isOpen) (this.deferred ?? this.expected).push(`text ${text}`);
    this.bare.connection.output.sendShared(runOf(text), text.length);
  }

  private undefer(): void {
    this.expected.push(...(this.deferred ?? []));
    this.deferred = undefined;
  }

  private expect(what: string): void {
    this.expected.push(what);
  }

  private payload(length: number): string {
    return `${this.count++}:`.padEnd(length, 'x');
  }

  private callback(is: boolean): ((error?: Error) => void) | undefined {
    if (!is) return undefined;
    const calls: (Error | undefined | null)[] = [];
    this.called.push(calls);
    return (error) => void calls.push(error);
  }
}

const runOf = (text: string): FrameRun => new FrameRun(plainFrame(FIN | Opcode.TEXT, Buffer.from(text)));

const OPTIONS = {
  keepalive: { pingInterval: null },
  buffers: { maxBuffered: '512mb', stallTimeout: '1h' },
} as const;
const VARIANTS: readonly [Role, true | undefined][] = [
  ['server', undefined],
  ['server', true],
  ['client', undefined],
  ['client', true],
];

describe.each(VARIANTS)('FrameWriter of a %s (TLS: %s)', (role, encrypted) => {
  const start = (): Model => new Model(bareConnection({ role, options: OPTIONS, ...(encrypted && { encrypted }) }));

  it('writes each frame once, in order, calls back once, and holds nothing once all is written', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const model = start();
        const { connection, wheel, budget } = model.bare;
        for (const each of steps) await model.take(each);
        await model.settle();
        const { writer } = connection;
        expect(model.received).toEqual(model.expected);
        expect(model.called.map((calls) => calls.length)).toEqual(model.called.map(() => 1));
        expect(model.called.every(([error]) => error == null)).toBe(true);
        expect([writer?.pending ?? 0, writer?.held ?? 0]).toEqual([0, 0]);
        model.bare.clock.pass(100);
        expect([model.bare.socket.listenerCount('drain'), budget.held]).toEqual([0, 0]);
        connection.kill();
        await turn();
        expect([wheel.size, model.bare.ends.length]).toEqual([0, 1]);
      }),
      { numRuns: runs(500) },
    );
  });

  it.each(['close', 'end', 'kill', 'give up', 'error', 'peer'] as const)(
    'calls every callback once and holds nothing after %s, whatever was sent before',
    async (how) => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 20 }), fc.array(step, { maxLength: 8 }), async (steps, after) => {
          const model = start();
          const { connection, socket, wheel, budget, clock } = model.bare;
          for (const each of steps) await model.take(each);
          if (how === 'close') connection.close(1000, 'over');
          else if (how === 'end') connection.transportEnded();
          else if (how === 'kill') connection.kill();
          else if (how === 'give up') connection.endForMemory('test');
          else if (how === 'error') socket.kernel = () => 'error';
          else socket.destroy();
          const known = model.expected.length;
          const sent = model.called.length;
          for (const each of after) if (each.do !== 'ping' && each.do !== 'kernel') await model.take(each);
          if (how !== 'error') await model.settle();
          else {
            connection.writer?.flush();
            connection.output.send('for the error', {}, undefined);
            socket.release();
          }
          for (let left = 10; left > 0; left--) await turn();
          clock.pass(30_000);
          for (let left = 10; left > 0; left--) await turn();
          expect(model.called.map((calls) => calls.length)).toEqual(model.called.map(() => 1));
          // A send after the end calls back with an error.
          if (how !== 'error')
            for (const [error] of model.called.slice(sent)) expect(error?.message).toMatch(/not open|destroyed/);
          const received = model.received.filter((each) => !each.startsWith('close'));
          // The peer received a prefix of what was sent, or all of it after an orderly end.
          expect(received).toEqual(model.expected.slice(0, received.length));
          if (how === 'close' || how === 'end') expect(received).toHaveLength(known);
          expect([budget.held, wheel.size, model.bare.ends.length]).toEqual([0, 0, 1]);
        }),
        { numRuns: runs(100) },
      );
    },
  );
});

describe('broadcasts of one turn of the event loop', () => {
  const texts = (count: number) => Array.from({ length: count }, (_, at) => `message ${at}`);
  const share = ({ connection }: Bare, text: string) => connection.output.sendShared(runOf(text), text.length);
  const expected = (list: readonly string[]) => list.map((text) => `text ${text}`);

  it.each([undefined, true] as const)('are one write, in order (TLS: %s)', async (encrypted) => {
    const model = new Model(bareConnection({ options: OPTIONS, ...(encrypted && { encrypted }) }));
    const { bare } = model;
    const all = texts(300);
    for (let round = 0; round < 3; round++) {
      for (const [at, text] of all.slice(round * 100, (round + 1) * 100).entries()) {
        share(bare, text);
        // A read within the turn is no new turn.
        if (at % 10 === 5) bare.scheduler.turn++;
      }
      expect(bare.socket.calls).toBe(round);
      await turn();
      expect(bare.socket.calls).toBe(round + 1);
    }
    expect(model.received).toEqual(expected(all));
    expect(bare.budget.held).toBe(0);
  });

  it('are written with the replies that are collected', () => {
    const model = new Model(bareConnection({ options: OPTIONS }));
    const { bare } = model;
    bare.connection.output.hold();
    bare.connection.output.sendText('reply');
    share(bare, 'message');
    bare.connection.output.sendText('another reply');
    expect(bare.socket.calls).toBe(0);
    bare.connection.output.flush();
    expect(bare.socket.calls).toBe(1);
    expect(model.received).toEqual(expected(['reply', 'message', 'another reply']));
  });

  it('wait behind what was sent before in the turn, and what is sent after them waits, too', async () => {
    const model = new Model(bareConnection({ options: OPTIONS }));
    const { bare } = model;
    const called: string[] = [];
    const send = (text: string) => bare.connection.output.send(text, {}, () => called.push(text));
    send('a');
    share(bare, 'b');
    send('c');
    expect(bare.socket.calls).toBe(1);
    await turn();
    await turn();
    expect(bare.socket.calls).toBe(2);
    expect(model.received).toEqual(expected(['a', 'b', 'c']));
    expect(called).toEqual(['a', 'c']);
  });

  it('wait for an empty Blob that is still being read', async () => {
    const model = new Model(bareConnection({ options: OPTIONS }));
    model.bare.connection.output.send(new Blob([]), {}, undefined);
    share(model.bare, 'after it');
    await model.settle();
    expect(model.received).toEqual(['binary ', 'text after it']);
  });

  it('ask a socket that sends at once for its unsent bytes once for each write', async () => {
    const { connection, socket } = bareConnection({ options: OPTIONS });
    const prototype = Object.getPrototypeOf(socket) as object;
    let reads = 0;
    Object.defineProperty(socket, 'writableLength', {
      get() {
        reads++;
        return Reflect.get(prototype, 'writableLength', socket) as number;
      },
    });
    share({ connection } as Bare, 'the first');
    await turn();
    for (const text of texts(50)) {
      reads = 0;
      share({ connection } as Bare, text);
      share({ connection } as Bare, text);
      await turn();
      expect(reads).toBe(1);
    }
    expect(socket.calls).toBe(51);
  });

  it('count the bytes that were in the socket before the first of them', async () => {
    const { connection, socket } = bareConnection({ options: OPTIONS });
    socket.kernel = () => 'later';
    socket.write('a response that is not sent yet', 'latin1');
    const before = socket.writableLength;
    share({ connection } as Bare, 'message');
    expect([before > 0, connection.output.pending]).toEqual([true, before + 9]);
    socket.release();
    socket.release();
    await turn();
    expect(connection.output.pending).toBe(9);
    socket.release();
    expect(connection.output.pending).toBe(0);
  });

  it('that are discarded count as unsent', async () => {
    const { connection, socket, budget } = bareConnection({ options: OPTIONS });
    socket.kernel = () => 'later';
    connection.output.send('in the socket', {}, undefined);
    share({ connection } as Bare, 'message');
    connection.output.send('behind it', {}, undefined);
    share({ connection } as Bare, 'message');
    const { pending } = connection.output;
    connection.output.drop();
    expect(pending).toBe(15 + 9 + 11 + 9);
    expect(connection.output.pending + connection.output.lostBytes).toBe(pending);
    connection.kill();
    await turn();
    expect(budget.held).toBe(0);
  });

  it('to a peer that does not read are counted, and it is closed when there are too many', async () => {
    const options = {
      keepalive: { pingInterval: null },
      buffers: { maxBuffered: 100_000, writeLimit: 10_000 },
    } as const;
    const { connection, socket, budget } = bareConnection({ options });
    socket.kernel = () => 'later';
    const text = 'x'.repeat(1000);
    let most = 0;
    for (let at = 0; at < 300 && connection.isOpen; at++) {
      share({ connection } as Bare, text);
      // What is queued for the end of the turn is counted as well.
      if (connection.isOpen) expect(connection.output.pending).toBe((at + 1) * 1004);
      most = Math.max(most, connection.output.held);
      if (at % 3 === 2) await turn();
    }
    expect([connection.isOpen, connection.isGivenUp, connection.cause]).toEqual([false, true, 'slow reader']);
    expect(most).toBeGreaterThan(90_000);
    expect(most).toBeLessThan(110_000);
    connection.kill();
    await turn();
    expect(budget.held).toBe(0);
  });
});

it('A callback runs in the async context of its send, also when Node calls it after the write of another send', async () => {
  const context = new AsyncLocalStorage<string>();
  for (const kernel of ['now', 'later'] as const) {
    const bare = bareConnection();
    const { connection, socket, scheduler } = bare;
    socket.kernel = () => kernel;
    const seen: [string, string | undefined][] = [];
    const send = (name: string): void =>
      context.run(name, () => connection.output.send('x', {}, () => seen.push([name, context.getStore()])));
    // The first of each turn is written at once, the others at the end of the turn.
    for (let count = 0; count < 3; count++) {
      send(`${count} first`);
      send(`${count} second`);
      scheduler.turn++;
      if (count === 1) await turn();
    }
    for (let turns = 0; turns < 6; turns++) {
      context.run('kernel', () => socket.release());
      await turn();
    }
    expect(seen.map(([name]) => name)).toEqual([0, 1, 2].flatMap((count) => [`${count} first`, `${count} second`]));
    for (const [name, store] of seen) expect(store).toBe(name);
    socket.destroy();
  }
});
