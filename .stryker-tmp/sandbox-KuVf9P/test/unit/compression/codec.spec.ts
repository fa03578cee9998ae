// @ts-nocheck
import { deflateRawSync } from 'node:zlib';
import { afterAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import * as ws from 'ws';
import { Compression } from '../../../lib/compression/compression.js';
import { DeflateContext } from '../../../lib/compression/deflate-context.js';
import { InflateContext, type Inflated, Unfinished } from '../../../lib/compression/inflate-context.js';
import { storedBlocks } from '../../../lib/compression/message-end.js';
import { type CompressionMode, SYNC_DEFLATE_BYTES, SYNC_INFLATE_BYTES } from '../../../lib/compression/settings.js';
import { compressShared, sharePayload } from '../../../lib/compression/shared-payload.js';
import { canStep } from '../../../lib/compression/zlib-step.js';
import { furthestBackReference } from './distances.js';
import {
  BROWSER_OFFER,
  budgetOf,
  closeCodeOf,
  DEFAULTS,
  deflated,
  inflated,
  inflatedInParts,
  peerWith,
} from './support.js';

const MODES: CompressionMode[] = ['shared', 'dedicated'];
const Z_SYNC_FLUSH = 2;

/** Repeatable text that compresses like JSON does. */
const textOf = (length: number, seed = 1): Buffer => {
  let text = '';
  for (let i = seed; text.length < length; i = (i * 48271) % 2147483647) text += `{"id":${i},"name":"user ${i % 17}"}`;
  return Buffer.from(text.slice(0, length));
};

/** Repeatable bytes that do not compress. */
const noiseOf = (length: number, seed = 1): Buffer => {
  const noise = Buffer.alloc(length);
  for (let i = 0, x = seed; i < length; i++) noise[i] = (x = (x * 48271) % 2147483647) >> 8;
  return noise;
};

const compressed = (data: Buffer, windowBits = 12): Buffer =>
  deflateRawSync(data, { windowBits, finishFlush: Z_SYNC_FLUSH }).subarray(0, -4);

interface TheirDeflate {
  accept(params: Record<string, (string | true)[]>[]): void;
  compress(data: Buffer, fin: boolean, done: (error: Error | null, result: Buffer) => void): void;
  decompress(data: Buffer, fin: boolean, done: (error: Error | null, result: Buffer) => void): void;
  cleanup(): void;
}

const peers: { cleanup(): void }[] = [];
const keep = <T extends { cleanup(): void }>(peer: T): T => {
  peers.push(peer);
  return peer;
};
afterAll(() => {
  for (const peer of peers) peer.cleanup();
});

describe('examples of RFC 7692, 7.2.3', () => {
  it.each([
    ['7.2.3.1: one block', [['f248cdc9c90700', true]], 'Hello'],
    [
      '7.2.3.1: two fragments',
      [
        ['f248cd', false],
        ['c9c90700', true],
      ],
      'Hello',
    ],
    ['7.2.3.3: a block without compression', [['000500faff48656c6c6f00', true]], 'Hello'],
    ['7.2.3.4: a final block', [['f348cdc9c9070000', true]], 'Hello'],
    ['7.2.3.5: two blocks', [['f248050000 00ffffcac9c90700'.replace(' ', ''), true]], 'Hello'],
    ['7.2.3.6: an empty message', [['00', true]], ''],
    ['a final empty stored block', [['0100000000ffff00', true]], undefined],
    ['final empty stored blocks behind a final block', [['f348cdc9c90700' + '010000ffff' + '00', true]], 'Hello'],
  ] as [string, [string, boolean][], string | undefined][])('%s', async (_, fragments, expected) => {
    for (const mode of MODES) {
      const peer = keep(peerWith({ mode }));
      const parts: Buffer[] = [];
      const code = await closeCodeOf(
        (async () => {
          for (const [hex, fin] of fragments) parts.push(await inflated(peer, Buffer.from(hex, 'hex'), fin));
          return Buffer.concat(parts);
        })(),
      );
      if (expected === undefined) expect(code).toBe(1007);
      else expect([code, Buffer.concat(parts).toString()]).toEqual([0, expected]);
    }
  });

  it('7.2.3.2: shares the window between messages in dedicated mode only', async () => {
    const [first, second] = ['f248cdc9c90700', 'f200110000'].map((hex) => Buffer.from(hex, 'hex'));
    const dedicated = keep(peerWith({ mode: 'dedicated' }));
    expect((await inflated(dedicated, first!)).toString()).toBe('Hello');
    expect((await inflated(dedicated, second!)).toString()).toBe('Hello');
    const shared = peerWith();
    expect((await inflated(shared, first!)).toString()).toBe('Hello');
    expect(await closeCodeOf(inflated(shared, second!))).toBe(1007);
  });
});

describe('what goes in comes out', () => {
  const message = fc.oneof(
    fc.uint8Array({ maxLength: 600 }).map((bytes) => Buffer.from(bytes)),
    fc.string({ unit: 'binary', maxLength: 300 }).map((text) => Buffer.from(text)),
    fc.tuple(fc.nat(SYNC_DEFLATE_BYTES * 3), fc.nat(1000)).map(([length, seed]) => textOf(length, seed + 1)),
    fc.tuple(fc.nat(SYNC_INFLATE_BYTES * 2), fc.nat(1000)).map(([length, seed]) => noiseOf(length, seed + 1)),
    fc.nat(SYNC_INFLATE_BYTES * 4).map((length) => Buffer.alloc(length, 'a')),
  );
  const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 6 });

  it.each(MODES)('in %s mode, for any tuning and any split into fragments, both ways', async (mode) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(message, cuts, cuts), { minLength: 1, maxLength: 5 }),
        fc.integer({ min: 9, max: 15 }),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 0, max: 9 }),
        async (messages, windowBits, memLevel, level) => {
          const settings = { mode, windowBits, memLevel, level };
          const server = new Compression({ ...DEFAULTS, ...settings }, budgetOf(64));
          const client = new Compression({ ...DEFAULTS, ...settings }, budgetOf(64), false);
          const ours = server.accept(BROWSER_OFFER)!;
          const theirs = client.offer().accept([
            {
              name: 'permessage-deflate',
              params: Object.entries(ours.params).map(([k, v]) => [k, v === true ? v : `${v}`]),
            },
          ]);
          if (theirs === undefined || typeof theirs === 'string') throw new Error(theirs);
          for (const [from, to] of [
            [ours, theirs],
            [theirs, ours],
          ] as const) {
            for (const [data, sent, received] of messages) {
              const parts: Buffer[] = [];
              let last = 0;
              for (const cut of sent.map((at) => Math.floor(at * data.length)).sort((a, b) => a - b)) {
                parts.push(await deflated(from, data.subarray(last, cut), false));
                last = cut;
              }
              parts.push(await deflated(from, data.subarray(last)));
              const transport = Buffer.concat(parts);
              const places = received.map((at) => Math.floor(at * transport.length));
              expect((await inflatedInParts(to, transport, places)).equals(data)).toBe(true);
            }
          }
          ours.cleanup();
          theirs.cleanup();
          expect([server.budget.used, client.budget.used]).toEqual([0, 0]);
        },
      ),
      { numRuns: 60 },
    );
  });

  it.each(MODES)('in %s mode, against the implementation in ws', async (mode) => {
    const ours = keep(peerWith({ mode }));
    const { PerMessageDeflate } = ws as unknown as { PerMessageDeflate: new (options: object) => TheirDeflate };
    const theirs = new PerMessageDeflate({ isServer: false, maxPayload: 0 });
    theirs.accept([Object.fromEntries(Object.entries(ours.params).map(([k, v]) => [k, [v === true ? v : `${v}`]]))]);
    for (const data of [
      textOf(5),
      textOf(3000),
      textOf(3000),
      noiseOf(200_000),
      textOf(200_000, 7),
      textOf(1),
      textOf(70_000),
    ]) {
      const transport = await deflated(ours, data);
      const there = await new Promise<Buffer>((resolve, reject) =>
        theirs.decompress(transport, true, (error, result) => (error ? reject(error) : resolve(result))),
      );
      expect(there.equals(data)).toBe(true);
      const back = await new Promise<Buffer>((resolve) => theirs.compress(data, true, (_, result) => resolve(result)));
      expect((await inflated(ours, back)).equals(data)).toBe(true);
    }
    theirs.cleanup();
  });

  it('compresses strings as UTF-8, empty messages to one byte, and similar ones better with a context', async () => {
    const shared = peerWith();
    expect((await inflated(shared, await deflated(shared, 'grüße 🙂'))).toString()).toBe('grüße 🙂');
    expect((await deflated(shared, '')).toString('hex')).toBe('00');
    const dedicated = keep(peerWith({ mode: 'dedicated' }));
    const [first, second] = [await deflated(dedicated, textOf(2000)), await deflated(dedicated, textOf(2000))];
    expect(second.length).toBeLessThan(first.length / 10);
    expect(await deflated(shared, textOf(2000))).toEqual(await deflated(shared, textOf(2000)));
  });

  it('keeps to the agreed window, run lengths where it is too small for zlib', async () => {
    const far = Buffer.concat([noiseOf(300), Buffer.alloc(400, 'x'), noiseOf(300)]);
    for (const bits of [8, 9, 12]) {
      const context = new DeflateContext({ windowBits: bits, memLevel: 5, level: 6 }, 4096);
      const transport = context.deflateSync(far, true);
      expect(furthestBackReference(transport)).toBeLessThanOrEqual(2 ** bits);
      expect((await inflated(peerWith(), transport)).equals(far)).toBe(true);
      context.close();
    }
  });

  it('stored blocks need no zlib', async () => {
    for (const data of [Buffer.alloc(0), noiseOf(1), noiseOf(65_535), noiseOf(65_536), noiseOf(200_000)]) {
      expect((await inflated(peerWith(), storedBlocks(data).subarray(0, -4))).equals(data)).toBe(true);
    }
  });
});

describe('broken data', () => {
  const samples: [string, Buffer][] = [
    ['text', compressed(textOf(400))],
    ['short text', compressed(Buffer.from('Hello'))],
    ['stored blocks', compressed(noiseOf(300))],
    ['a final block', Buffer.from('f348cdc9c9070000', 'hex')],
    ['large text', compressed(textOf(SYNC_INFLATE_BYTES + 5000))],
  ];

  it.each(samples)('is 1007 when %s is cut anywhere', async (_, transport) => {
    const step = Math.max(1, Math.floor(transport.length / 400));
    for (const mode of MODES) {
      for (let cut = transport.length - 1; cut >= 0; cut -= cut > transport.length - 20 ? 1 : step) {
        const peer = peerWith({ mode });
        // One byte of a stored block is an empty message (7.2.3.6).
        const code = cut === 1 && transport[0] === 0 ? 0 : 1007;
        expect([cut, await closeCodeOf(inflated(peer, transport.subarray(0, cut)))]).toEqual([cut, code]);
        peer.cleanup();
      }
    }
  });

  it.each([
    ['a reserved block type', 'ff'],
    ['a wrong length', '000500fa0048656c6c6f00'],
    ['nothing', ''],
    ['text behind a final block', 'f348cdc9c9070000f248cdc9c90700'],
    ['a block with bytes behind a final block', 'f348cdc9c90700' + '000100feff41' + '00'],
    ['rubbish behind a final block', 'f348cdc9c90700deadbeef00'],
    ['nothing behind a final block', 'f348cdc9c90700'],
  ])('is 1007: %s', async (_, hex) => {
    for (const mode of MODES) {
      const peer = peerWith({ mode });
      expect(await closeCodeOf(inflated(peer, Buffer.from(hex, 'hex')))).toBe(1007);
      peer.cleanup();
    }
  });

  it('never throws, and never spoils the next message of another peer', async () => {
    const good = compressed(textOf(500));
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 200 }),
        fc.nat(good.length - 1),
        fc.nat(255),
        async (bytes, at, byte) => {
          const bent = Buffer.from(good);
          bent[at] = byte;
          const other = peerWith();
          const outcomes = await Promise.all([
            closeCodeOf(inflated(peerWith(), Buffer.from(bytes))),
            closeCodeOf(inflated(peerWith(), bent)),
          ]);
          for (const code of outcomes) expect([0, 1007]).toContain(code);
          expect((await inflated(other, good)).equals(textOf(500))).toBe(true);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('gives no byte of one message to the next', async () => {
    const secret = noiseOf(4096, 99);
    const dictionary = deflateRawSync(secret, { dictionary: secret, windowBits: 15, finishFlush: Z_SYNC_FLUSH });
    expect(dictionary.length).toBeLessThan(100);
    const peer = peerWith({}, [{ name: 'permessage-deflate', params: [] }]);
    expect((await inflated(peer, compressed(secret, 15))).equals(secret)).toBe(true);
    expect(await closeCodeOf(inflated(peer, dictionary.subarray(0, -4)))).toBe(1007);
    // Short enough that the window would reach back to the one before.
    const short = secret.subarray(0, 1000);
    const alone = await deflated(peerWith(), short);
    await deflated(peerWith(), short);
    expect(await deflated(peerWith(), short)).toEqual(alone);
  });
});

describe('bounds', () => {
  const sizes = [100, SYNC_INFLATE_BYTES, SYNC_INFLATE_BYTES + 1, 300_000];

  it.each(MODES)('inflates up to maxSize and not a byte more in %s mode', async (mode) => {
    for (const size of sizes) {
      for (const data of [Buffer.alloc(size, 'a'), noiseOf(size)]) {
        const transport = compressed(data);
        for (const [maxSize, code] of [
          [size, 0],
          [size - 1, 1009],
        ] as const) {
          const peer = peerWith({ mode, maxSize });
          expect([size, maxSize, await closeCodeOf(inflated(peer, transport))]).toEqual([size, maxSize, code]);
          peer.cleanup();
        }
      }
    }
  });

  it.each(MODES)('counts a fragmented message as one in %s mode', async (mode) => {
    const transport = compressed(Buffer.alloc(5000, 'a'));
    const peer = peerWith({ mode, maxSize: 4999 });
    expect(await closeCodeOf(inflatedInParts(peer, transport, [1, 2, 5]))).toBe(1009);
    peer.cleanup();
  });

  it.each(MODES)('stops at maxRatio in %s mode', async (mode) => {
    const transport = compressed(Buffer.alloc(20_000, 'a'));
    const enough = Math.ceil(20_000 / transport.length);
    for (const [maxRatio, code] of [
      [enough, 0],
      [enough - 1, 1009],
    ] as const) {
      const peer = peerWith({ mode, maxRatio });
      expect(await closeCodeOf(inflated(peer, transport))).toBe(code);
      peer.cleanup();
    }
  });

  it('holds what came of a fragmented message, and nothing when it ended', async () => {
    const peer = peerWith();
    const transport = compressed(textOf(1000));
    const slab = Buffer.alloc(65_536);
    expect((await inflated(peer, slab.fill(transport.subarray(0, 1), 0, 1).subarray(0, 1), false)).length).toBe(0);
    slab.fill(0);
    expect(peer.heldBytes).toBe(1);
    await inflated(peer, transport.subarray(1, 50), false);
    expect(peer.heldBytes).toBe(50);
    expect((await inflated(peer, transport.subarray(50))).equals(textOf(1000))).toBe(true);
    expect(peer.heldBytes).toBe(0);
    await inflated(peer, transport.subarray(0, 50), false);
    peer.cleanup();
    expect(peer.heldBytes).toBe(0);
  });
});

describe('turns', () => {
  it('answers decompress after it returned, compress of a small message before', async () => {
    const peer = peerWith();
    const order: string[] = [];
    await new Promise<void>((resolve) => {
      peer.decompress(compressed(textOf(100)), true, () => {
        order.push('inflated');
        resolve();
      });
      order.push('returned');
    });
    peer.compress('x', true, () => order.push('deflated'));
    order.push('returned');
    expect(order).toEqual(['returned', 'inflated', 'deflated', 'returned']);
  });

  it('lets the event loop turn in a long chain of small messages', async () => {
    const peer = peerWith();
    const transport = compressed(Buffer.alloc(10_000, 'a'));
    let turns = 0;
    let running = true;
    const count = () => {
      turns++;
      if (running) setImmediate(count);
    };
    setImmediate(count);
    for (let i = 0; i < 500; i++) await inflated(peer, transport);
    running = false;
    expect(turns).toBeGreaterThan(5);
  });

  it('does not pile up the stack of a sender that empties its queue from within the callback', async () => {
    const peer = peerWith();
    let left = 20_000;
    await new Promise<void>((resolve) => {
      const next = (): void => {
        if (--left === 0) resolve();
        else peer.compress('x', true, next);
      };
      next();
    });
    expect(left).toBe(0);
  });

  it('runs two large jobs at once, one of a connection, and goes round', async () => {
    const big = compressed(noiseOf(600_000));
    const [greedy, honest] = [peerWith(), peerWith()];
    const order: string[] = [];
    const note = (name: string) => (result: Promise<Buffer>) => result.then(() => order.push(name));
    await Promise.all([
      note('greedy 1')(inflated(greedy, big)),
      note('greedy 2')(inflated(greedy, big)),
      note('greedy 3')(inflated(greedy, big)),
      note('greedy 4')(inflated(greedy, big)),
      note('honest')(inflated(honest, compressed(noiseOf(70_000)))),
    ]);
    expect(order.indexOf('honest')).toBeLessThan(2);
  });
});

describe('dedicated contexts', () => {
  it('fit the budget, and later connections get none', () => {
    const one = new Compression({ ...DEFAULTS, mode: 'dedicated' }, budgetOf(64));
    one.accept(BROWSER_OFFER);
    const cost = one.budget.used;
    expect(cost).toBeGreaterThan(100 * 1024);
    const compression = new Compression({ ...DEFAULTS, mode: 'dedicated' }, budgetOf((2.5 * cost) / 1024 / 1024));
    const [a, b, c] = [1, 2, 3].map(() => compression.accept(BROWSER_OFFER)!);
    expect([a, b, c].map((peer) => peer?.params.server_no_context_takeover)).toEqual([undefined, undefined, true]);
    expect([a?.broadcastBits, c?.broadcastBits]).toEqual([undefined, 12]);
    expect(compression.budget.used).toBe(2 * cost);
    a?.cleanup();
    a?.cleanup();
    expect(compression.budget.used).toBe(cost);
    const d = compression.accept(BROWSER_OFFER);
    expect(d?.params.server_no_context_takeover).toBeUndefined();
    for (const peer of [b, c, d]) peer?.cleanup();
    expect(compression.budget.used).toBe(0);
  });

  it('cost only the direction that keeps one', () => {
    const used = (params: [string, true][]): number => {
      const compression = new Compression({ ...DEFAULTS, mode: 'dedicated' }, budgetOf(64));
      compression.accept([{ name: 'permessage-deflate', params }]);
      return compression.budget.used;
    };
    const [both, receiving, sending, neither] = [
      used([]),
      used([['server_no_context_takeover', true]]),
      used([['client_no_context_takeover', true]]),
      used([
        ['server_no_context_takeover', true],
        ['client_no_context_takeover', true],
      ]),
    ];
    expect(neither).toBe(0);
    expect(receiving).toBeGreaterThan(0);
    expect(sending).toBeGreaterThan(receiving);
    expect(both).toBe(sending + receiving);
  });

  it('end their work without harm when the connection ends', async () => {
    const peer = peerWith({ mode: 'dedicated' });
    await deflated(peer, 'warm');
    const results = Promise.allSettled([
      deflated(peer, noiseOf(500_000)),
      inflated(peer, compressed(noiseOf(500_000))),
      inflated(peerWith(), compressed(noiseOf(500_000))),
    ]);
    peer.cleanup();
    const settled = await results;
    expect(settled.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'fulfilled']);
    expect(await closeCodeOf(inflated(peer, compressed(textOf(10))))).toBe(1007);
    await expect(deflated(peer, 'x')).rejects.toThrow('ended');
  });

  it('takes the shared way for a large message that waited longer than its connection lived', async () => {
    const peer = peerWith();
    const waiting = [1, 2, 3].map(() => deflated(peer, noiseOf(100_000)));
    peer.cleanup();
    const settled = await Promise.allSettled(waiting);
    expect(settled.slice(1).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  });
});

describe('one message for many', () => {
  it('is compressed for a window, and read by everyone with that window or a larger one', async () => {
    const payload = textOf(9000);
    const small = compressShared(payload, { ...DEFAULTS, windowBits: 9 })!;
    for (const bits of [9, 12, 15]) {
      const context = new InflateContext(bits, 4096, false);
      expect((context.inflateSync(small, 10_000) as Buffer).equals(payload)).toBe(true);
      context.close();
    }
    expect(furthestBackReference(small)).toBeLessThanOrEqual(512);
    expect(compressShared(noiseOf(SYNC_DEFLATE_BYTES + 1), DEFAULTS)).toBeUndefined();
  });

  it('when large is compressed once for each window, in the order of each peer', async () => {
    const payload = noiseOf(200_000);
    sharePayload(payload);
    const compression = new Compression(DEFAULTS, budgetOf(1));
    const peers = [1, 2, 3].map(() => compression.accept(BROWSER_OFFER)!);
    const [a, b, c] = await Promise.all(peers.map((peer) => deflated(peer, payload)));
    expect(b).toBe(a);
    expect(c).toBe(a);
    expect(await deflated(peers[0]!, payload)).toBe(a);
    expect((await inflated(peers[0]!, a!)).equals(payload)).toBe(true);
    const narrow = peerWith({}, [{ name: 'permessage-deflate', params: [['server_max_window_bits', '9']] }]);
    expect(await deflated(narrow, payload)).not.toBe(a);
    expect(await deflated(peers[0]!, payload, false)).not.toBe(a);
  });
});

describe('what is used of Node beyond its public calls', () => {
  it('is there: small messages are worked on synchronously', () => {
    expect(canStep()).toBe(true);
  });

  it.each([true, false])('finds the same with and without it, context kept: %s', async (takesOver) => {
    const wires = [
      compressed(textOf(3000)),
      Buffer.from('f348cdc9c9070000', 'hex'),
      compressed(textOf(3000)).subarray(0, 99),
    ];
    for (const transport of wires) {
      const [atOnce, later] = [new InflateContext(12, 64, takesOver), new InflateContext(12, 64, takesOver)];
      const expected = await new Promise<Inflated>((resolve) => later.inflate(transport, 5000, resolve));
      expect(atOnce.inflateSync(transport, 5000)).toEqual(expected);
      atOnce.close();
      later.close();
    }
  });

  it('goes on with what it began', async () => {
    const data = noiseOf(200_000);
    const context = new InflateContext(15, 4096, true);
    const first = context.inflateSync(compressed(data, 15), 200_000);
    if (!(first instanceof Unfinished)) throw new Error('too small');
    const whole = await new Promise<Inflated>((resolve) => context.inflate(first.rest, 200_000, resolve));
    expect(data.equals(whole as Buffer)).toBe(true);
    context.close();
  });
});
