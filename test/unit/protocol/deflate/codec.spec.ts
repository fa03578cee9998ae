import { constants, deflateRawSync } from 'node:zlib';
import { afterAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import * as ws from 'ws';
import { canStep } from '../../../../lib/compat/zlib.js';
import { Compression } from '../../../../lib/protocol/deflate/compression.js';
import {
  DeflateContext,
  InflateContext,
  InflateTask,
  SCRATCH_BYTES,
  Unfinished,
} from '../../../../lib/protocol/deflate/contexts.js';
import { storedBlocks } from '../../../../lib/protocol/deflate/message-end.js';
import {
  type PerMessageDeflate,
  SYNC_DEFLATE_BYTES,
  SYNC_INFLATE_BYTES,
  shareCompressed,
} from '../../../../lib/protocol/deflate/per-message-deflate.js';
import { zlibPool } from '../../../../lib/protocol/deflate/pool.js';
import type { CompressionMode } from '../../../../lib/protocol/deflate/settings.js';
import { SharedMessage } from '../../../../lib/protocol/deflate/shared-message.js';
import type { ProtocolError } from '../../../../lib/protocol/frame.js';
import { runs } from '../../../support/runs.js';
import { parse } from '../support.js';
import { furthestBackReference } from './distances.js';
import {
  BROWSER_OFFER,
  budgetOf,
  closeCodeOf,
  DEFAULTS,
  deflated,
  deflatedShared,
  inflated,
  noiseOf,
  peerWith,
  responseOf,
  resultOf,
  type TheirDeflate,
  textOf,
} from './support.js';

const MODES: CompressionMode[] = ['shared', 'dedicated'];
const { Z_SYNC_FLUSH } = constants;

const compressed = (data: Buffer, windowBits = 12): Buffer =>
  deflateRawSync(data, { windowBits, finishFlush: Z_SYNC_FLUSH }).subarray(0, -4);

const peers: PerMessageDeflate[] = [];
const keep = (peer: PerMessageDeflate): PerMessageDeflate => {
  peers.push(peer);
  return peer;
};
afterAll(() => {
  for (const peer of peers) peer.close();
});

describe('examples of RFC 7692, 7.2.3', () => {
  it.each([
    ['7.2.3.1: one block', 'f248cdc9c90700', 'Hello'],
    ['7.2.3.3: a block without compression', '000500faff48656c6c6f00', 'Hello'],
    ['7.2.3.4: a final block', 'f348cdc9c9070000', 'Hello'],
    ['7.2.3.5: two blocks', 'f2480500 0000ffff cac9c90700', 'Hello'],
    ['7.2.3.6: an empty message', '00', ''],
    ['a final empty stored block', '0100000000ffff00', undefined],
    ['final empty stored blocks after a final block', 'f348cdc9c90700 010000ffff 00', 'Hello'],
  ] as [string, string, string | undefined][])('%s', async (_, hex, expected) => {
    const message = Buffer.from(hex.replaceAll(' ', ''), 'hex');
    for (const mode of MODES) {
      const { data, error } = await resultOf(keep(peerWith({ mode })), message);
      expect([data?.toString(), error?.code]).toEqual([expected, expected === undefined ? 1007 : undefined]);
    }
  });

  it('7.2.3.2: shares the window between messages in dedicated mode only', async () => {
    const [first, second] = ['f248cdc9c90700', 'f200110000'].map((hex) => Buffer.from(hex, 'hex'));
    const dedicated = keep(peerWith({ mode: 'dedicated' }));
    expect((await inflated(dedicated, first!)).toString()).toBe('Hello');
    expect((await inflated(dedicated, second!)).toString()).toBe('Hello');
    const shared = peerWith();
    expect((await inflated(shared, first!)).toString()).toBe('Hello');
    expect(await closeCodeOf(shared, second!)).toBe(1007);
  });
});

describe('inflating what was deflated restores the message', () => {
  const message = fc.oneof(
    fc.uint8Array({ maxLength: 600 }).map((bytes) => Buffer.from(bytes)),
    fc.string({ unit: 'binary', maxLength: 300 }).map((text) => Buffer.from(text)),
    fc.tuple(fc.nat(SYNC_DEFLATE_BYTES * 3), fc.nat(1000)).map(([length, seed]) => textOf(length, seed + 1)),
    fc.tuple(fc.nat(SYNC_INFLATE_BYTES * 2), fc.nat(1000)).map(([length, seed]) => noiseOf(length, seed + 1)),
    fc.nat(SYNC_INFLATE_BYTES * 4).map((length) => Buffer.alloc(length, 'a')),
  );
  const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 6 });

  it.each(MODES)('in %s mode, for any settings and any fragmentation, in both directions', async (mode) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(message, cuts), { minLength: 1, maxLength: 5 }),
        fc.integer({ min: 9, max: 15 }),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 0, max: 9 }),
        async (messages, windowBits, memLevel, level) => {
          const settings = { mode, windowBits, memLevel, level };
          const server = new Compression({ ...DEFAULTS, ...settings }, budgetOf(64));
          const client = new Compression({ ...DEFAULTS, ...settings }, budgetOf(64), 'client');
          const ours = server.accept(BROWSER_OFFER)!;
          const theirs = client.offer().accept(responseOf(ours));
          if (theirs === undefined || typeof theirs === 'string') throw new Error(theirs);
          for (const [from, to] of [
            [ours, theirs],
            [theirs, ours],
          ] as const) {
            for (const [data, sent] of messages) {
              const parts: Buffer[] = [];
              let last = 0;
              for (const cut of sent.map((at) => Math.floor(at * data.length)).sort((a, b) => a - b)) {
                parts.push(await deflated(from, data.subarray(last, cut), false));
                last = cut;
              }
              parts.push(await deflated(from, data.subarray(last)));
              expect((await inflated(to, Buffer.concat(parts))).equals(data)).toBe(true);
            }
          }
          ours.close();
          theirs.close();
          expect([server.budget.used, client.budget.used]).toEqual([0, 0]);
        },
      ),
      { numRuns: runs(60) },
    );
  });

  it.each(MODES)('in %s mode, exchanged with the implementation in ws', async (mode) => {
    const ours = keep(peerWith({ mode }));
    const { PerMessageDeflate } = ws as unknown as { PerMessageDeflate: new (options: object) => TheirDeflate };
    const theirs = new PerMessageDeflate({ isServer: false, maxPayload: 0 });
    const { params } = ours.profile.agreement;
    theirs.accept([Object.fromEntries(Object.entries(params).map(([k, v]) => [k, [v === true ? v : `${v}`]]))]);
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

  it('compresses strings as UTF-8, an empty message to one byte, and similar messages better with a context', async () => {
    const shared = peerWith();
    expect((await inflated(shared, await deflated(shared, 'grüße 🙂'))).toString()).toBe('grüße 🙂');
    expect((await deflated(shared, '')).toString('hex')).toBe('00');
    const dedicated = keep(peerWith({ mode: 'dedicated' }));
    const [first, second] = [await deflated(dedicated, textOf(2000)), await deflated(dedicated, textOf(2000))];
    expect(second.length).toBeLessThan(first.length / 10);
    expect(await deflated(shared, textOf(2000))).toEqual(await deflated(shared, textOf(2000)));
  });

  it('respects the agreed window, with run lengths only where the window is too small for zlib', async () => {
    const far = Buffer.concat([noiseOf(300), Buffer.alloc(400, 'x'), noiseOf(300)]);
    for (const bits of [8, 9, 12]) {
      const context = new DeflateContext({ windowBits: bits, memLevel: 5, level: 6 }, 4096);
      const transport = context.deflateSync(far, true);
      expect(furthestBackReference(transport)).toBeLessThanOrEqual(2 ** bits);
      expect((await inflated(peerWith(), transport)).equals(far)).toBe(true);
      context.close();
    }
  });

  it('storedBlocks() writes DEFLATE without zlib', async () => {
    for (const data of [Buffer.alloc(0), noiseOf(1), noiseOf(65_535), noiseOf(65_536), noiseOf(200_000)]) {
      expect((await inflated(peerWith(), storedBlocks(data).subarray(0, -4))).equals(data)).toBe(true);
    }
  });
});

describe('invalid compressed data', () => {
  const samples: [string, Buffer][] = [
    ['text', compressed(textOf(400))],
    ['short text', compressed(Buffer.from('Hello'))],
    ['stored blocks', compressed(noiseOf(300))],
    ['a final block', Buffer.from('f348cdc9c9070000', 'hex')],
    ['large text', compressed(textOf(SYNC_INFLATE_BYTES + 5000))],
  ];

  it.each(samples)('is 1007 when %s is cut at any byte', async (_, transport) => {
    const step = Math.max(1, Math.floor(transport.length / 400));
    for (const mode of MODES) {
      for (let cut = transport.length - 1; cut >= 0; cut -= cut > transport.length - 20 ? 1 : step) {
        const peer = peerWith({ mode });
        // One byte of a stored block is an empty message (7.2.3.6).
        const code = cut === 1 && transport[0] === 0 ? 0 : 1007;
        expect([cut, await closeCodeOf(peer, transport.subarray(0, cut))]).toEqual([cut, code]);
        peer.close();
      }
    }
  });

  it.each([
    ['a reserved block type', 'ff'],
    ['a wrong length', '000500fa0048656c6c6f00'],
    ['no bytes', ''],
    ['a message after a final block', 'f348cdc9c9070000f248cdc9c90700'],
    ['a block with bytes after a final block', 'f348cdc9c90700' + '000100feff41' + '00'],
    ['garbage after a final block', 'f348cdc9c90700deadbeef00'],
    ['no empty block after a final block', 'f348cdc9c90700'],
  ])('is 1007: %s', async (_, hex) => {
    for (const mode of MODES) {
      const peer = peerWith({ mode });
      expect(await closeCodeOf(peer, Buffer.from(hex, 'hex'))).toBe(1007);
      peer.close();
    }
  });

  it('never throws, and never affects the next message of another peer', async () => {
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
            closeCodeOf(peerWith(), Buffer.from(bytes)),
            closeCodeOf(peerWith(), bent),
          ]);
          for (const code of outcomes) expect([0, 1007]).toContain(code);
          expect((await inflated(other, good)).equals(textOf(500))).toBe(true);
        },
      ),
      { numRuns: runs(200) },
    );
  });

  it('leaks no byte of one message into the next', async () => {
    const secret = noiseOf(4096, 99);
    const dictionary = deflateRawSync(secret, { dictionary: secret, windowBits: 15, finishFlush: Z_SYNC_FLUSH });
    expect(dictionary.length).toBeLessThan(100);
    const peer = peerWith({}, [{ name: 'permessage-deflate', params: [] }]);
    expect((await inflated(peer, compressed(secret, 15))).equals(secret)).toBe(true);
    expect(await closeCodeOf(peer, dictionary.subarray(0, -4))).toBe(1007);
    // Short enough that the window would still hold the message before.
    const short = secret.subarray(0, 1000);
    const alone = await deflated(peerWith(), short);
    await deflated(peerWith(), short);
    expect(await deflated(peerWith(), short)).toEqual(alone);
  });
});

describe('inflation limits', () => {
  const sizes = [100, SYNC_INFLATE_BYTES, SYNC_INFLATE_BYTES + 1, 300_000];

  it.each(MODES)('inflates up to maxSize and no byte more in %s mode', async (mode) => {
    for (const size of sizes) {
      for (const data of [Buffer.alloc(size, 'a'), noiseOf(size)]) {
        const transport = compressed(data);
        for (const [maxSize, code] of [
          [size, 0],
          [size - 1, 1009],
        ] as const) {
          const peer = peerWith({ mode, maxSize });
          expect([size, maxSize, await closeCodeOf(peer, transport)]).toEqual([size, maxSize, code]);
          peer.close();
        }
      }
    }
  });

  it.each(MODES)('stops at maxRatio in %s mode', async (mode) => {
    const transport = compressed(Buffer.alloc(20_000, 'a'));
    const enough = Math.ceil(20_000 / transport.length);
    for (const [maxRatio, code] of [
      [enough, 0],
      [enough - 1, 1009],
    ] as const) {
      const peer = peerWith({ mode, maxRatio });
      expect(await closeCodeOf(peer, transport)).toBe(code);
      peer.close();
    }
  });
});

describe('compressed text', () => {
  const large = Buffer.concat([Buffer.alloc(SCRATCH_BYTES * 2, 'ü'), Buffer.from([0xff]), Buffer.alloc(500_000, 'x')]);

  it.each([
    ['an invalid byte', Buffer.from([0x61, 0xff])],
    ['a truncated character', Buffer.from('a€').subarray(0, 3)],
    ['an encoded surrogate', Buffer.from([0xed, 0xa0, 0x80])],
    ['an invalid byte in the middle of a large message', large],
    ['a truncated character at the end of a large message', Buffer.from(`${'x'.repeat(200_000)}€`).subarray(0, -1)],
  ])('that is not UTF-8 is 1007, but valid as binary: %s', async (_, data) => {
    for (const mode of MODES) {
      const peer = keep(peerWith({ mode }));
      expect(await closeCodeOf(peer, compressed(data))).toBe(0);
      expect(await closeCodeOf(peer, compressed(data), true)).toBe(1007);
    }
  });

  it.each(['ascii', 'grüße 🙂', 'ü'.repeat(100_000), 'x'.repeat(100_000)])(
    'is inflated as it was sent',
    async (text) => {
      const result = await resultOf(peerWith(), compressed(Buffer.from(text)), true);
      expect(result.data?.toString()).toBe(text);
    },
  );

  it('is refused at the first invalid byte, before the rest is inflated', async () => {
    const early = Buffer.concat([Buffer.from([0xff]), Buffer.alloc(1_000_000, 'x')]);
    for (const mode of MODES) {
      const result = await resultOf(keep(peerWith({ mode })), compressed(early), true);
      expect(result.error?.code).toBe(1007);
      expect(result.outputBytes).toBeLessThanOrEqual(2 * SCRATCH_BYTES);
    }
  });
});

describe('dedicated contexts', () => {
  it('fit the budget; later connections get none', () => {
    const one = new Compression({ ...DEFAULTS, mode: 'dedicated' }, budgetOf(64));
    one.accept(BROWSER_OFFER);
    const cost = one.budget.used;
    expect(cost).toBeGreaterThan(100 * 1024);
    const compression = new Compression({ ...DEFAULTS, mode: 'dedicated' }, budgetOf((2.5 * cost) / 1024 / 1024));
    const [a, b, c] = [1, 2, 3].map(() => compression.accept(BROWSER_OFFER)!);
    expect([a, b, c].map((peer) => peer?.profile.agreement.params.server_no_context_takeover)).toEqual([
      undefined,
      undefined,
      true,
    ]);
    expect([a?.isShared, c?.isShared]).toEqual([false, true]);
    expect(compression.budget.used).toBe(2 * cost);
    a?.close();
    a?.close();
    expect(compression.budget.used).toBe(cost);
    const d = compression.accept(BROWSER_OFFER);
    expect(d?.profile.agreement.params.server_no_context_takeover).toBeUndefined();
    for (const peer of [b, c, d]) peer?.close();
    expect(compression.budget.used).toBe(0);
  });

  it('cost memory only in the direction that keeps a context', () => {
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

  it('process one message at a time, in order, small messages after large ones', async () => {
    const [sender, receiver] = [keep(peerWith({ mode: 'dedicated' })), keep(peerWith({ mode: 'dedicated' }))];
    const messages = [textOf(10), noiseOf(100_000), textOf(10), textOf(300, 2), noiseOf(70_000, 3), textOf(10)];
    const transports = await Promise.all(messages.map((data) => deflated(sender, data)));
    const received = await Promise.all(transports.map((transport) => inflated(receiver, transport)));
    expect(received.map((data, i) => data.equals(messages[i]!))).toEqual(messages.map(() => true));
  });

  it('call no callback after the connection has ended', async () => {
    const [peer, other] = [peerWith({ mode: 'dedicated' }), peerWith()];
    await deflated(peer, 'warm');
    let called = 0;
    const note = () => called++;
    void deflated(peer, noiseOf(500_000)).then(note);
    void inflated(peer, compressed(noiseOf(500_000))).then(note);
    for (let i = 0; i < 3; i++) void deflated(other, noiseOf(100_000)).then(note);
    const last = inflated(peerWith(), compressed(noiseOf(500_000)));
    peer.close();
    other.close();
    expect((await last).length).toBe(500_000);
    await inflated(peerWith(), compressed(noiseOf(500_000)));
    expect(called).toBe(0);
    expect(zlibPool.users).toBe(0);
  });
});

describe('a shared compressed message', () => {
  it('is compressed for one window, and readable with that window or a larger one', () => {
    const payload = textOf(9000);
    const narrow = peerWith({ windowBits: 9 }, [{ name: 'permessage-deflate', params: [] }]);
    const small = narrow.compressAtOnce(payload)!;
    for (const bits of [9, 12, 15]) {
      const context = new InflateContext(bits, 4096, false);
      expect(atOnce(context, small, 10_000)).toEqual(payload);
      context.close();
    }
    expect(furthestBackReference(small)).toBeLessThanOrEqual(512);
    expect(narrow.compressAtOnce(noiseOf(SYNC_DEFLATE_BYTES + 1))).toBeUndefined();
  });

  it('is compressed once per window when large, in the order of each peer', async () => {
    const payload = noiseOf(200_000);
    shareCompressed(payload);
    const compression = new Compression(DEFAULTS, budgetOf(1));
    const peers = [1, 2, 3].map(() => compression.accept(BROWSER_OFFER)!);
    const [a, b, c] = await Promise.all(peers.map((peer) => deflatedShared(peer, payload)));
    expect(b).toBe(a);
    expect(c).toBe(a);
    expect(await deflatedShared(peers[0]!, payload)).toBe(a);
    expect((await inflated(peers[0]!, a!)).equals(payload)).toBe(true);
    const narrow = peerWith({}, [{ name: 'permessage-deflate', params: [['server_max_window_bits', '9']] }]);
    expect(await deflatedShared(narrow, payload)).not.toBe(a);
    expect(await deflatedShared(peers[0]!, payload, false)).not.toBe(a);
  });

  it('is framed once without compression, and once per compression settings', async () => {
    const message = new SharedMessage(textOf(2000));
    const compression = new Compression(DEFAULTS, budgetOf(64));
    const [a, b] = [compression.accept(BROWSER_OFFER), compression.accept(BROWSER_OFFER)];
    const narrow = peerWith({}, [{ name: 'permessage-deflate', params: [['server_max_window_bits', '9']] }]);
    const dedicated = keep(peerWith({ mode: 'dedicated' }));
    const [plain, small] = [message.frameFor(undefined)!, message.frameFor(a)!];
    expect(message.frameFor(undefined)).toBe(plain);
    expect(message.frameFor(b)).toBe(small);
    expect(message.frameFor(narrow)).not.toBe(small);
    expect(message.frameFor(dedicated)).toBeUndefined();
    expect(message.frameFor(peerWith({ threshold: 2001 }))).toBe(plain);
    // The result for the last profile is kept: peers of other profiles before or after do not change what a peer gets.
    const other = message.frameFor(narrow);
    const order = [a, undefined, narrow, narrow, dedicated, b, dedicated, undefined, a, narrow];
    const frames = [small, plain, other, other, undefined, small, undefined, plain, small, other];
    for (const [at, peer] of order.entries()) expect(message.frameFor(peer)).toBe(frames[at]);
    expect(parse([plain.bytes()], { role: 'client' })).toEqual([['text', textOf(2000).toString()]]);
    const [, hex] = parse([small.bytes()], { role: 'client', deflate: true })[0] as ['compressed', string, 'text'];
    expect(await inflated(peerWith(), Buffer.from(hex, 'hex'))).toEqual(textOf(2000));
    expect(new SharedMessage(noiseOf(100_000)).frameFor(a)).toBeUndefined();
  });
});

describe('synchronous zlib steps (compat/zlib)', () => {
  it('are available: small messages are processed synchronously', () => {
    expect(canStep()).toBe(true);
  });

  it.each([true, false])('give the same results as the public zlib calls, context kept: %s', async (takesOver) => {
    const wires = [
      compressed(textOf(3000)),
      Buffer.from('f348cdc9c9070000', 'hex'),
      compressed(textOf(3000)).subarray(0, 99),
    ];
    for (const transport of wires) {
      const [now, later] = [new InflateContext(12, 64, takesOver), new InflateContext(12, 64, takesOver)];
      expect(atOnce(now, transport, 5000)).toEqual(await inThePool(later, transport, 5000));
      now.close();
      later.close();
    }
  });

  it('continue in the pool what they began', async () => {
    const data = noiseOf(200_000);
    const context = new InflateContext(15, 4096, true);
    const first = context.inflateSync(compressed(data, 15), 200_000, false);
    if (!(first instanceof Unfinished)) throw new Error('too small');
    expect(data.equals((await inThePool(context, first, 200_000)) as Buffer)).toBe(true);
    context.close();
  });
});

function atOnce(context: InflateContext, data: Buffer, limit: number): Buffer | ProtocolError {
  const outcome = context.inflateSync(data, limit, false);
  if (outcome instanceof Unfinished) throw new Error('too large');
  return outcome.result;
}

function inThePool(context: InflateContext, data: Buffer | Unfinished, limit: number): Promise<Buffer | ProtocolError> {
  return new Promise((resolve) => {
    const source = { isKept: true, take: () => context };
    const task = new InflateTask(source, data, limit, false, () => 0, resolve);
    const next = (isDone: boolean): void => {
      if (!isDone) task.step(next);
    };
    task.step(next);
  });
}
