import { afterEach, describe, expect, it, jest } from '@jest/globals';
import fc from 'fast-check';
import { AddressEntry } from '../../../lib/admission/address-table.js';
import { HandshakeBudget, type HeadHolder } from '../../../lib/handshake/handshake-budget.js';
import {
  ADDRESS_BYTES,
  ENDS_PER_TURN,
  EndScheduler,
  type HeadReader,
  HeadScheduler,
  TURN_BYTES,
} from '../../../lib/handshake/head-scheduler.js';
import { FIELD_BYTES, skip, skipField } from '../../../lib/http/grammar.js';
import { firstLook } from '../../../lib/http/head-meter.js';
import { ByteAccumulator } from '../../../lib/http/partial-head.js';
import { parseAddress } from '../../../lib/net/address.js';
import type { HandleTransport } from '../../../lib/net/handle-transport.js';
import type { TransportReader } from '../../../lib/net/transport.js';
import { AcceptedConnections, type FirstBytesOwner, SOCKETS_PER_TICK } from '../../../lib/server/first-bytes.js';
import { runs } from '../../support/runs.js';

describe('skipField', () => {
  it('ends where a byte-by-byte scan ends, at any alignment of the bytes', () => {
    const byte = fc.oneof(
      { weight: 60, arbitrary: fc.integer({ min: 0x20, max: 0x7e }) },
      fc.constantFrom(9, 0x7f, 0x80, 0xff),
      fc.nat(255),
    );
    fc.assert(
      fc.property(fc.array(byte, { maxLength: 400 }), fc.nat(7), fc.nat(450), (bytes, offset, end) => {
        const memory = new ArrayBuffer(bytes.length + offset);
        const view = Buffer.from(memory, offset);
        view.set(bytes);
        expect(skipField(view, 0)).toBe(skip(view, FIELD_BYTES, 0));
        const limit = Math.min(end, bytes.length);
        expect(skipField(view, 0, limit)).toBe(Math.min(limit, skip(view, FIELD_BYTES, 0)));
      }),
      { numRuns: runs(3000) },
    );
  });

  it.each([0, 9, 10, 13, 31, 127])('stops at byte %i, or passes a tab, at every place of a long value', (byte) => {
    for (let at = 0; at < 200; at++) {
      const value = Buffer.alloc(200, 'v');
      value[at] = byte;
      expect(skipField(value, 0)).toBe(byte === 9 ? 200 : at);
    }
  });

  it('creates a view of words only for a value of more than 64 bytes, however many bytes follow it', () => {
    const { Int32Array: original } = globalThis;
    let views = 0;
    globalThis.Int32Array = class extends original {
      constructor(...args: [ArrayBuffer, number, number]) {
        super(...args);
        views++;
      }
    } as unknown as typeof original;
    try {
      const head = (length: number) => Buffer.from(`${'v'.repeat(length)}\r\n${'w'.repeat(1000)}`);
      expect([skipField(head(63), 0), views]).toEqual([63, 0]);
      expect([skipField(head(200), 0), views]).toEqual([200, 1]);
    } finally {
      globalThis.Int32Array = original;
    }
  });
});

describe('ByteAccumulator', () => {
  it('returns the stored bytes and counts them', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(1, 3, 100, 4095, 4096, 5000, 65_536), { maxLength: 12 }), (sizes) => {
        const store = new ByteAccumulator();
        const parts = sizes.map((size, i) => Buffer.alloc(size, i + 1));
        for (const part of parts) store.append(part);
        const all = Buffer.concat(parts);
        expect(store.length).toBe(all.length);
        expect(store.capacity).toBeGreaterThanOrEqual(all.length);
        expect(store.capacity).toBeLessThanOrEqual(3 * all.length + 512);
        expect(store.take(Buffer.from('tail')).equals(Buffer.concat([all, Buffer.from('tail')]))).toBe(true);
        expect([store.length, store.capacity]).toEqual([0, 0]);
      }),
      { numRuns: runs(300) },
    );
  });

  it('copies a part of a slab instead of keeping the slab alive', () => {
    const store = new ByteAccumulator();
    const slab = Buffer.allocUnsafeSlow(65_536);
    store.append(slab.subarray(0, 5000));
    expect(store.take(Buffer.alloc(0)).buffer.byteLength).toBeLessThan(65_536);
  });
});

/** Counts how often the scheduler pauses and resumes a reader. */
class Reader implements HeadReader {
  paused = 0;
  resumed = 0;
  constructor(readonly account: AddressEntry) {}
  pauseHead = () => void this.paused++;
  resumeHead = () => void this.resumed++;
}

describe('HeadScheduler', () => {
  const setUp = () => {
    const later: (() => void)[] = [];
    const turns = new HeadScheduler((run) => void later.push(run));
    const next = () => later.shift()?.();
    return { turns, next, later };
  };

  it('reads 64 KiB of an address per turn, its connections one after another', () => {
    const { turns, next, later } = setUp();
    const address = new AddressEntry('a');
    const readers = Array.from({ length: 5 }, () => new Reader(address));
    for (const reader of readers) turns.addBytes(reader, ADDRESS_BYTES);
    expect(readers.map(({ paused }) => paused)).toEqual([1, 1, 1, 1, 1]);
    for (let i = 0; i < 5; i++) {
      next();
      expect(readers.map(({ resumed }) => resumed)).toEqual([0, 1, 2, 3, 4].map((at) => Number(at <= i)));
      turns.addBytes(readers[i]!, 1);
      expect(readers[i]!.paused).toBe(1);
    }
    next();
    expect(later).toEqual([]);
  });

  it('reads 256 KiB of all addresses per turn, and no address waits behind another with many connections', () => {
    const { turns, next } = setUp();
    const crowd = Array.from({ length: 50 }, () => new Reader(crowded));
    for (const reader of crowd) turns.addBytes(reader, ADDRESS_BYTES);
    const others = Array.from({ length: 6 }, (_, i) => new Reader(new AddressEntry(String(i))));
    for (const reader of others) turns.addBytes(reader, 100);
    expect(others.every(({ paused }) => paused === 1)).toBe(true);
    next();
    expect(others.filter(({ resumed }) => resumed === 1)).toHaveLength(TURN_BYTES / ADDRESS_BYTES - 1);
    expect(crowd.filter(({ resumed }) => resumed === 1)).toHaveLength(1);
    next();
    expect(others.every(({ resumed }) => resumed === 1)).toBe(true);
    expect(crowd.filter(({ resumed }) => resumed === 1)).toHaveLength(2);
  });
  const crowded = new AddressEntry('crowd');

  it('forgets a removed reader', () => {
    const { turns, next, later } = setUp();
    const reader = new Reader(new AddressEntry('a'));
    turns.addBytes(reader, ADDRESS_BYTES);
    turns.remove(reader);
    next();
    expect([reader.resumed, later]).toEqual([0, []]);
  });
});

describe('HandshakeBudget', () => {
  it('drops the largest handshake of the address with the largest sum, even if each of its handshakes is small', () => {
    const dropped: string[] = [];
    let held = 0;
    const budget = new HandshakeBudget(1000, (delta) => {
      held += delta;
    });
    const holder = (name: string, account: AddressEntry): HeadHolder => {
      const each: HeadHolder = {
        heldBytes: 0,
        account,
        evict: () => {
          dropped.push(name);
          budget.set(each, 0);
        },
      };
      return each;
    };
    const honest = holder('honest', new AddressEntry('a'));
    budget.set(honest, 300);
    const crowd = new AddressEntry('b');
    for (let i = 0; i < 20; i++) budget.set(holder(`crowd ${i}`, crowd), 50 + i);
    expect(dropped.every((name) => name.startsWith('crowd'))).toBe(true);
    expect(dropped.length).toBeGreaterThan(5);
    expect(budget.held).toBe(held);
    expect(held).toBeLessThanOrEqual(1000);
    budget.set(honest, 0);
    budget.set(honest, 100);
    expect(honest.heldBytes).toBe(100);
  });

  it('counts a holder for the address that it moved to', () => {
    const dropped: string[] = [];
    const budget = new HandshakeBudget(100, () => undefined);
    const [first, second] = [new AddressEntry('a'), new AddressEntry('b')];
    const holder = (name: string, account: AddressEntry) => {
      const each = {
        heldBytes: 0,
        account,
        evict: () => {
          dropped.push(name);
          budget.set(each, 0);
        },
      };
      return each;
    };
    const [moving, other, third] = ['moving', 'other', 'third'].map((name) => holder(name, first)) as [
      ReturnType<typeof holder>,
      ReturnType<typeof holder>,
      ReturnType<typeof holder>,
    ];
    budget.set(moving, 40);
    budget.set(other, 30);
    moving.account = second;
    budget.set(moving, 45);
    budget.set(third, 26);
    // Now the first address holds 56 bytes and the second 45.
    expect(dropped).toEqual(['other']);
  });
});

describe('EndScheduler', () => {
  const setUp = () => {
    const scheduled: (() => void)[] = [];
    const ends = new EndScheduler((run) => void scheduled.push(run));
    return { ends, scheduled, next: () => scheduled.shift()?.() };
  };

  it('ends a few connections per turn, in order, until all have ended', () => {
    const { ends, scheduled, next } = setUp();
    const ended: number[] = [];
    for (let at = 0; at < 100; at++) ends.add(() => void ended.push(at));
    expect([ended, scheduled.length]).toEqual([[], 1]);
    next();
    expect(ended).toEqual(Array.from({ length: ENDS_PER_TURN }, (_, at) => at));
    while (scheduled.length > 0) next();
    expect(ended).toEqual(Array.from({ length: 100 }, (_, at) => at));
  });

  it('ends a share of the queue per turn when many connections wait', () => {
    const { ends, next } = setUp();
    let ended = 0;
    for (let at = 0; at < 4000; at++) ends.add(() => void ended++);
    next();
    expect(ended).toBe(500);
  });

  it('continues in the next turn after an end that throws', () => {
    const { ends, scheduled, next } = setUp();
    let ended = 0;
    ends.add(() => {
      throw new Error('the end failed');
    });
    for (let at = 0; at < 2 * ENDS_PER_TURN; at++) ends.add(() => void ended++);
    expect(next).toThrow('the end failed');
    while (scheduled.length > 0) next();
    expect(ended).toBeGreaterThan(ENDS_PER_TURN);
  });
});

describe('firstLook', () => {
  const start = 'GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n';
  const line = `X: ${'x'.repeat(995)}\r\n`;

  it('is the first kilobyte of a long chunk without the end of a head, otherwise the whole chunk', () => {
    const unfinished = Buffer.from(start + line.repeat(60));
    expect(firstLook(unfinished)).toEqual(unfinished.subarray(0, 1024));
    for (const whole of [start, `${start}${line.repeat(60)}\r\n`, `${start}${line.repeat(30)}\r\n${line.repeat(30)}`])
      expect(firstLook(Buffer.from(whole)).toString('latin1')).toBe(whole);
  });
});

describe('AcceptedConnections', () => {
  afterEach(() => void jest.useRealTimers());

  /** AcceptedConnections whose owner records which connections became sockets. */
  function setUp() {
    const sockets: HandleTransport[] = [];
    const owner = {
      giveToNode: (transport: HandleTransport) => void sockets.push(transport),
    } as unknown as FirstBytesOwner;
    const accepted = new AcceptedConnections(owner);
    const peer = parseAddress('127.0.0.1', 64)!;
    const arrive = () => {
      let reader: TransportReader | undefined;
      const transport = {
        setReader: (given: TransportReader) => void (reader = given),
        read: () => undefined,
      } as unknown as HandleTransport;
      accepted.add(transport, peer);
      return { transport, leaves: () => reader!.onClose() };
    };
    return { sockets, accepted, arrive };
  }

  it('makes sockets of a few silent connections per tick, oldest first', () => {
    jest.useFakeTimers();
    const { sockets, arrive } = setUp();
    const all = Array.from({ length: 100 }, () => arrive().transport);
    const perTick: number[] = [];
    while (sockets.length < all.length) {
      const before = sockets.length;
      jest.advanceTimersByTime(10);
      perTick.push(sockets.length - before);
    }
    expect(Math.max(...perTick)).toBe(SOCKETS_PER_TICK);
    expect(sockets).toEqual(all);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('forgets closed connections, and flush() makes sockets of all others at once', () => {
    jest.useFakeTimers();
    const { sockets, accepted, arrive } = setUp();
    const [, second, ...rest] = Array.from({ length: 50 }, arrive);
    second!.leaves();
    accepted.flush();
    expect(sockets).toHaveLength(1 + rest.length);
    jest.advanceTimersByTime(100);
    expect([sockets.length, jest.getTimerCount()]).toEqual([1 + rest.length, 0]);
  });
});
